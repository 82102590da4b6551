"""The request that a log line belongs to."""

import logging
from contextvars import ContextVar

from django.conf import settings

request_id: ContextVar[str] = ContextVar("request_id", default="")


class ContextFilter(logging.Filter):
    """Adds request id, release and instance to a log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        record.release = settings.RELEASE
        record.instance = settings.INSTANCE
        if hasattr(record, "request"):  # Django puts the request object there, which is not JSON
            del record.request
        return True
