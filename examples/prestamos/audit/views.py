from django.db import transaction
from django.db.models import QuerySet
from rest_framework import mixins, viewsets
from rest_framework.serializers import BaseSerializer

from audit.models import AuditEntry
from audit.serializers import AuditEntrySerializer
from smoke.models import is_smoke_user


class VisibleRows(viewsets.GenericViewSet):
    """The controlled user sees only smoke rows, everybody else only the others."""

    def get_queryset(self) -> QuerySet:
        return super().get_queryset().visible_to(self.request.user)


class AuditedViewSet(
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    VisibleRows,
):
    """Rows that can be made and changed, each change with its audit entry in one transaction."""

    http_method_names = ["get", "head", "options", "post", "patch"]

    @transaction.atomic
    def perform_create(self, serializer: BaseSerializer) -> None:
        self._record("created", serializer.save(smoke=is_smoke_user(self.request.user)), serializer)

    @transaction.atomic
    def perform_update(self, serializer: BaseSerializer) -> None:
        self._record("changed", serializer.save(), serializer)

    def _record(self, verb: str, row, serializer: BaseSerializer) -> None:
        action = f"{row._meta.model_name}.{verb}"
        AuditEntry.objects.record(action, row, actor=self.request.user, detail=dict(serializer.data))
        self.recorded()

    def recorded(self) -> None:
        """What else belongs to a change, still inside its transaction."""


class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """The audit log, newest first; read only. Smoke entries are in it too, marked."""

    queryset = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    filterset_fields = ["action", "actor", "subject_type", "subject_id", "request_id", "smoke"]

    def get_queryset(self) -> QuerySet:
        entries = super().get_queryset()
        return entries.visible_to(self.request.user) if is_smoke_user(self.request.user) else entries
