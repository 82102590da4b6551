from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from assets.models import Asset
from employees.models import Employee
from smoke.models import SmokeMarked


class Loan(SmokeMarked):
    """An asset in the hands of an employee; open until it is returned."""

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="loans")
    employee = models.ForeignKey(Employee, on_delete=models.PROTECT, related_name="loans")
    assigned_at = models.DateTimeField(default=timezone.now, editable=False)
    returned_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-assigned_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["asset"], condition=Q(returned_at__isnull=True), name="one_open_loan_per_asset"
            ),
            models.CheckConstraint(
                condition=Q(returned_at__isnull=True) | Q(returned_at__gte=F("assigned_at")),
                name="returned_after_assigned",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asset} → {self.employee}"

    @property
    def status(self) -> str:
        return "open" if self.returned_at is None else "returned"
