from django.db import models
from django.utils import timezone

from smoke.models import SmokeMarked


class Import(SmokeMarked):
    """One workbook that was imported, kept as it came."""

    kind = models.CharField(max_length=20)
    workbook = models.FileField(upload_to="imports/%Y/%m/")
    rows = models.PositiveIntegerField()
    imported_by = models.CharField(max_length=150)
    imported_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.rows} {self.kind}"
