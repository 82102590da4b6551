from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer

from assets import catalogue
from assets.serializers import AssetSerializer
from audit.models import AuditEntry
from audit.views import VisibleRows
from employees.serializers import EmployeeSerializer
from imports import workbook
from imports.models import Import
from imports.serializers import FaultsSerializer, ImportSerializer, UploadSerializer
from smoke.models import is_smoke_user

_upload = extend_schema(
    request={"multipart/form-data": UploadSerializer},
    responses={201: ImportSerializer, 400: FaultsSerializer},
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
        smoke = is_smoke_user(request.user)
        try:
            rows = workbook.read(file, serializer, key=key)
            with transaction.atomic():
                made = model.objects.bulk_create([model(**row, smoke=smoke) for row in rows])
                done = Import.objects.create(
                    kind=kind,
                    workbook=file,
                    rows=len(made),
                    imported_by=request.user.get_username(),
                    smoke=smoke,
                )
                AuditEntry.objects.record(
                    f"{kind}.imported",
                    done,
                    actor=request.user,
                    detail={key: [getattr(row, key) for row in made]},
                )
                transaction.on_commit(catalogue.changed)
        except workbook.WorkbookError as error:
            return Response({"errors": error.faults}, status=status.HTTP_400_BAD_REQUEST)
        except IntegrityError:
            fault = workbook.Fault(
                None, None, key, "Another request has just saved one of these rows; try again."
            )
            return Response(
                {"errors": workbook.WorkbookError([fault]).faults}, status=status.HTTP_409_CONFLICT
            )
        return Response(ImportSerializer(done).data, status=status.HTTP_201_CREATED)
