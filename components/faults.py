"""How the engine shows a fault of a dynamic resource: one that was expected in its own line alone."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def in_one_line(*expected: type[Exception]) -> Iterator[None]:
    """The SDK formats whatever a provider raises, with all frames and causes, after the provider has ended.

    So what shortens it has to stay until the next call; of an unexpected fault all frames are shown.
    """
    with contextlib.suppress(AttributeError):
        del sys.tracebacklimit
    try:
        yield
    except expected as fault:
        sys.tracebacklimit = 0
        raise fault from None
