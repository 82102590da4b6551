from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from audit.models import AuditEntry
from audit.views import VisibleRows
from loans.models import Loan
from loans.serializers import LoanSerializer
from ops.permissions import SmokeUserOnly
from smoke.models import is_smoke_user


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class LoanFilter(filters.FilterSet):
    open = filters.BooleanFilter(field_name="returned_at", lookup_expr="isnull")

    class Meta:
        model = Loan
        fields = {"asset__code": ["exact"], "employee__number": ["exact"]}


_CONFLICT = OpenApiResponse(description="The loan's or the asset's state does not allow it.")


class LoanViewSet(mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, VisibleRows):
    """Loans: made by POST, ended by `return`. Only smoke loans can be removed, by their own user."""

    queryset = Loan.objects.select_related("asset", "employee")
    serializer_class = LoanSerializer
    filterset_class = LoanFilter

    def get_queryset(self) -> QuerySet:
        loans = super().get_queryset()
        # A row that the request will change is locked as it is read: of two returns at once, one is refused.
        return loans if self.request.method in SAFE_METHODS else loans.select_for_update(of=["self"])

    @extend_schema(responses={201: LoanSerializer, 409: _CONFLICT})
    def create(self, request: Request) -> Response:
        return super().create(request)

    def perform_create(self, serializer: BaseSerializer) -> None:
        try:
            with transaction.atomic():
                loan = serializer.save(smoke=is_smoke_user(self.request.user))
                self._record("loan.assigned", loan)
        except IntegrityError as error:
            if error.__cause__.diag.constraint_name != "one_open_loan_per_asset":
                raise
            raise Conflict("This asset is lent already.") from None

    @extend_schema(request=None, responses={200: LoanSerializer, 409: _CONFLICT})
    @action(detail=True, methods=["post"], url_path="return", url_name="return")
    @transaction.atomic
    def end(self, request: Request, pk: str) -> Response:
        loan = self.get_object()
        if loan.returned_at is not None:
            raise Conflict("This loan is returned already.")
        loan.returned_at = timezone.now()
        loan.save(update_fields=["returned_at"])
        self._record("loan.returned", loan)
        return Response(self.get_serializer(loan).data)

    @extend_schema(request=None, responses={204: None})
    @action(detail=False, methods=["delete"], permission_classes=[SmokeUserOnly])
    @transaction.atomic
    def smoke(self, request: Request) -> Response:
        """Remove all smoke loans, also those that an interrupted run has left. Their audit entries stay."""
        for loan in self.get_queryset():
            self._record("loan.removed", loan)
            loan.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _record(self, event: str, loan: Loan) -> None:
        detail = {"asset": loan.asset.code, "employee": loan.employee.number}
        AuditEntry.objects.record(event, loan, actor=self.request.user, detail=detail)
