"""`/healthz/`: the process answers. `/readyz/`: it can serve (database there, migrations applied)."""

from functools import cache

from django.core.cache import caches
from django.db import Error as DatabaseFault
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.exceptions import RedisError


@cache
def _migrations() -> frozenset[tuple[str, str]]:
    """Every migration of this release; it does not change while the process lives."""
    return frozenset(MigrationLoader(None).graph.nodes)


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 or 503. A cache that is gone makes the site slower, not unready: it is only named as degraded."""
    try:
        missing = sorted(_migrations() - MigrationRecorder(connection).applied_migrations().keys())
    except DatabaseFault:  # also InterfaceError, which is no DatabaseError
        return JsonResponse({"status": "unavailable", "database": "unreachable"}, status=503)
    if missing:
        names = [f"{app}.{name}" for app, name in missing]
        return JsonResponse({"status": "unavailable", "database": "ok", "unapplied": names}, status=503)
    try:
        caches["default"].has_key("readyz")
    except RedisError:
        return JsonResponse({"status": "degraded", "database": "ok", "cache": "unreachable"})
    return JsonResponse({"status": "ok", "database": "ok", "cache": "ok"})
