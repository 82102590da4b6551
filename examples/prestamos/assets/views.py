from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from assets import catalogue
from assets.models import Asset
from assets.serializers import AssetSerializer
from audit.views import AuditedViewSet
from smoke.models import is_smoke_user


class AssetViewSet(AuditedViewSet):
    """The catalogue. Reads come through the cache; the header `X-Cache` says how."""

    queryset = Asset.objects.all()
    serializer_class = AssetSerializer
    filterset_fields = ["code", "category"]

    def list(self, request: Request, *args, **kwargs) -> Response:
        return self._cached(request, lambda: super(AssetViewSet, self).list(request, *args, **kwargs).data)

    def retrieve(self, request: Request, *args, **kwargs) -> Response:
        return self._cached(
            request, lambda: super(AssetViewSet, self).retrieve(request, *args, **kwargs).data
        )

    def _cached(self, request: Request, compute) -> Response:
        scope = f"{is_smoke_user(request.user)} {request.build_absolute_uri()}"
        answer, source = catalogue.read(scope, compute)
        return Response(answer, headers={"X-Cache": source})

    def recorded(self) -> None:
        transaction.on_commit(catalogue.changed)
