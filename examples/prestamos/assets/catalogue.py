"""Catalogue reads through the cache. It only ever saves a query: without it the site answers as before.

Answers are kept under a generation, which every change of the catalogue replaces. A reader takes the
generation before it reads the database, so an answer that a change has overtaken is filed where nobody
looks any more.
"""

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework.utils.encoders import JSONEncoder

_GENERATION = "catalogue:generation"
_PAUSE = 5.0  # seconds in which a cache that failed is not asked again, by this process
_log = logging.getLogger("prestamos.catalogue")
_paused_until = 0.0


class JSONSerializer:
    """For Django's Redis backend, in place of pickle: what comes back from the cache is data and no code."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, cls=JSONEncoder).encode()

    def loads(self, value: bytes) -> Any:
        return json.loads(value)


def read(scope: str, compute: Callable[[], Any]) -> tuple[Any, str]:
    """The answer for `scope`, and where it came from: "hit", "miss" or "bypass"."""
    generation = _attempt(lambda: cache.get_or_set(_GENERATION, lambda: uuid.uuid4().hex, timeout=None))
    if generation is None:
        return compute(), "bypass"
    # The release is part of the key: during a roll two releases serve, and their answers may differ in shape.
    key = hashlib.sha256(f"{generation} {settings.RELEASE} {scope}".encode()).hexdigest()
    answer = _attempt(lambda: cache.get(key))
    if answer is not None:
        return answer, "hit"
    answer = compute()
    _attempt(lambda: cache.set(key, answer, timeout=settings.CATALOGUE_CACHE_SECONDS))
    return answer, "miss"


def changed() -> None:
    """Forget every cached answer. Call it on commit. If the cache is gone, they live out their timeout."""
    _attempt(lambda: cache.set(_GENERATION, uuid.uuid4().hex, timeout=None))


def _attempt(use: Callable[[], Any]) -> Any:
    global _paused_until
    if time.monotonic() < _paused_until:
        return None
    try:
        return use()
    except RedisError as error:
        _paused_until = time.monotonic() + _PAUSE
        _log.warning("the cache does not answer, reading the database", extra={"fault": type(error).__name__})
        return None
