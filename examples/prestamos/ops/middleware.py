import logging
import re
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from ops import logs
from ops.views import healthz, readyz

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBES = {"/healthz/": healthz, "/readyz/": readyz}
_log = logging.getLogger("prestamos.access")


class RequestContextMiddleware:
    """Gives each request an id (the caller's, if it is harmless), logs it, and says who answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        offered = request.headers.get("X-Request-ID", "")
        identifier = offered if _ACCEPTED_ID.fullmatch(offered) else str(uuid.uuid4())
        request.request_id = identifier
        token = logs.request_id.set(identifier)
        started = time.monotonic()
        try:
            response = self.get_response(request)
            _log.log(
                logging.DEBUG if request.path in _PROBES and response.status_code < 400 else logging.INFO,
                "request",
                extra={
                    "method": request.method,
                    "path": request.path,
                    "status": response.status_code,
                    "milliseconds": round((time.monotonic() - started) * 1000, 1),
                },
            )
        finally:
            logs.request_id.reset(token)
        response["X-Request-ID"] = identifier
        response["X-Release"] = settings.RELEASE
        response["X-Instance"] = settings.INSTANCE
        return response


class ProbeMiddleware:
    """Answers probes whatever their Host: a platform pings a process by an address that no list can name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = _PROBES.get(request.path)
        return probe(request) if probe else self.get_response(request)
