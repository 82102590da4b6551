from django.contrib.auth.models import User
from django.db import models, transaction
from django.utils import timezone

from ops import logs
from smoke.models import SmokeMarked, SmokeQuerySet


class AuditQuerySet(SmokeQuerySet):
    def record(self, action: str, subject: SmokeMarked, *, actor: User, detail: dict | None = None) -> None:
        """Record one change, in the change's own transaction: there is never one without the other."""
        if not transaction.get_connection(self.db).in_atomic_block:
            raise transaction.TransactionManagementError(
                "An audit entry needs the transaction of its change."
            )
        self.create(
            actor=actor.get_username(),
            action=action,
            subject_type=subject._meta.model_name,
            subject_id=subject.pk,
            detail=detail or {},
            request_id=logs.request_id.get(),
            smoke=subject.smoke,
        )


class AuditEntry(SmokeMarked):
    """One change, who made it and when. The database itself refuses to change or remove an entry."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.CharField(max_length=150)  # a name, not a key: an entry outlives its user
    action = models.CharField(max_length=40)
    subject_type = models.CharField(max_length=40)
    subject_id = models.BigIntegerField()
    detail = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        db_table = "audit_log"
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["subject_type", "subject_id"], name="audit_subject")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject_type} {self.subject_id}"
