from django.db import IntegrityError, transaction
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from audit.models import AuditEntry
from audit.views import VisibleRows
from loans.models import Loan
from loans.serializers import LoanSerializer
from smoke.models import is_smoke_user


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class SmokeUserOnly(BasePermission):
    def has_permission(self, request: Request, view) -> bool:
        return is_smoke_user(request.user)


class LoanFilter(filters.FilterSet):
    open = filters.BooleanFilter(field_name="returned_at", lookup_expr="isnull")

    class Meta:
        model = Loan
        fields = {"asset__code": ["exact"], "employee__number": ["exact"]}


class LoanViewSet(mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, VisibleRows):
    """Loans: made by POST, ended by `return`. Only the controlled user can remove any, and only smoke rows."""

    queryset = Loan.objects.select_related("asset", "employee")
    serializer_class = LoanSerializer
    filterset_class = LoanFilter

    def perform_create(self, serializer: BaseSerializer) -> None:
        try:
            with transaction.atomic():
                loan = serializer.save(smoke=is_smoke_user(self.request.user))
                self._record("loan.assigned", loan)
        except IntegrityError as error:
            if error.__cause__.diag.constraint_name != "one_open_loan_per_asset":
                raise
            raise Conflict("This asset is lent already.") from None

    @extend_schema(
        request=None, responses={200: LoanSerializer, 409: OpenApiResponse(description="Returned before")}
    )
    @action(detail=True, methods=["post"], url_path="return", url_name="return")
    def end(self, request: Request, pk: str) -> Response:
        with transaction.atomic():
            loan = self.get_object()
            loan = (
                Loan.objects.select_for_update(of=["self"])
                .select_related("asset", "employee")
                .get(pk=loan.pk)
            )
            if loan.returned_at is not None:
                raise Conflict("This loan is returned already.")
            loan.returned_at = timezone.now()
            loan.save(update_fields=["returned_at"])
            self._record("loan.returned", loan)
        return Response(self.get_serializer(loan).data)

    @extend_schema(request=None, responses={204: None})
    @action(detail=False, methods=["delete"], permission_classes=[SmokeUserOnly])
    def smoke(self, request: Request) -> Response:
        """Remove all smoke loans, also those that an interrupted run has left. Their audit entries stay."""
        with transaction.atomic():
            for loan in (
                Loan.objects.filter(smoke=True)
                .select_for_update(of=["self"])
                .select_related("asset", "employee")
            ):
                self._record("loan.removed", loan)
                loan.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _record(self, action: str, loan: Loan) -> None:
        AuditEntry.objects.record(
            action,
            loan,
            actor=self.request.user,
            detail={"asset": loan.asset.code, "employee": loan.employee.number},
        )
