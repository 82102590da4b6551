from dataclasses import asdict

from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer

from assets import catalogue
from assets.models import Asset
from assets.serializers import AssetSerializer
from audit.models import AuditEntry
from audit.views import VisibleRows
from employees.models import Employee
from employees.serializers import EmployeeSerializer
from imports import workbook
from imports.models import Import
from imports.serializers import FaultsSerializer, ImportSerializer, UploadSerializer
from ops.permissions import SmokeUserOnly
from smoke.models import SMOKE_KEY, is_smoke_user

_upload = extend_schema(
    request={"multipart/form-data": UploadSerializer},
    responses={201: ImportSerializer, 400: FaultsSerializer, 409: FaultsSerializer},
)


class ImportViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, VisibleRows):
    """Excel import, all or nothing: one fault anywhere, and no row is saved."""

    queryset = Import.objects.all()
    serializer_class = ImportSerializer

    @_upload
    @action(detail=False, methods=["post"], parser_classes=[MultiPartParser])
    def assets(self, request: Request) -> Response:
        return self._import(request, "assets", AssetSerializer, key="code")

    @_upload
    @action(detail=False, methods=["post"], parser_classes=[MultiPartParser])
    def employees(self, request: Request) -> Response:
        return self._import(request, "employees", EmployeeSerializer, key="number")

    def _import(
        self, request: Request, kind: str, serializer: type[ModelSerializer], *, key: str
    ) -> Response:
        model = serializer.Meta.model
        if not request.user.has_perm(f"{model._meta.app_label}.add_{model._meta.model_name}"):
            self.permission_denied(request)
        upload = UploadSerializer(data=request.data)
        upload.is_valid(raise_exception=True)
        file = upload.validated_data["file"]
        marks = {"smoke": is_smoke_user(request.user)}
        try:
            rows = workbook.read(file, serializer, key=key)
            with transaction.atomic():
                model.objects.bulk_create([model(**row, **marks) for row in rows])
                actor = request.user
                done = Import.objects.create(
                    kind=kind, workbook=file, rows=len(rows), imported_by=actor.get_username(), **marks
                )
                detail = {key: [row[key] for row in rows]}
                AuditEntry.objects.record(f"{kind}.imported", done, actor=actor, detail=detail)
                transaction.on_commit(catalogue.changed)
        except workbook.WorkbookError as error:
            return _refusal(status.HTTP_400_BAD_REQUEST, *error.faults)
        except IntegrityError:
            fault = workbook.Fault(None, None, key, "Somebody else has just saved one of these rows.")
            return _refusal(status.HTTP_409_CONFLICT, fault)
        return Response(ImportSerializer(done).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={204: None})
    @action(detail=False, methods=["delete"], permission_classes=[SmokeUserOnly])
    def smoke(self, request: Request) -> Response:
        """Remove all smoke imports with their workbooks and rows. Their audit entries stay."""
        with transaction.atomic():
            for model, key in ((Asset, "code"), (Employee, "number")):
                model.objects.filter(smoke=True).exclude(**{key: SMOKE_KEY}).delete()
            for done in self.get_queryset().select_for_update():
                AuditEntry.objects.record("import.removed", done, actor=request.user)
                done.workbook.delete(save=False)  # before the commit: a failure is found again
                done.delete()
            transaction.on_commit(catalogue.changed)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _refusal(code: int, *faults: workbook.Fault) -> Response:
    return Response({"errors": [asdict(fault) for fault in faults]}, status=code)
