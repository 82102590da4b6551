from collections.abc import Callable
from functools import partial

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

    def list(self, request: Request) -> Response:
        return self._cached(request, super().list)

    def retrieve(self, request: Request, **kwargs) -> Response:
        return self._cached(request, partial(super().retrieve, **kwargs))

    def _cached(self, request: Request, read: Callable[[Request], Response]) -> Response:
        scope = f"{is_smoke_user(request.user)} {request.build_absolute_uri()}"
        answer, source = catalogue.read(scope, lambda: read(request).data)
        return Response(answer, headers={"X-Cache": source})

    def recorded(self) -> None:
        transaction.on_commit(catalogue.changed)
