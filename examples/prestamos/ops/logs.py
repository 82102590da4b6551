"""The request that a log line belongs to."""

import logging
from contextvars import ContextVar

from django.conf import settings

request_id: ContextVar[str] = ContextVar("request_id", default="")


class ContextFilter(logging.Filter):
    """Adds request id, release and instance to a log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs a refused request after the middleware has returned, with the request object itself,
        # which is no JSON.
        request = record.__dict__.pop("request", None)
        record.request_id = request_id.get() or getattr(request, "request_id", "")
        record.release = settings.RELEASE
        record.instance = settings.INSTANCE
        return True
