"""Writing into the record of a stack: by the steps of a release, and by whatever else is to be remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from components.release import chain
from components.release.record import Entry, Event
from components.target import Operations


def write(
    operations: Operations,
    event: Event,
    *,
    release: str | None = None,
    image: str | None = None,
    step: str | None = None,
    seconds: float | None = None,
    error: str | None = None,
    data: Mapping[str, Any] | None = None,
    unless: Callable[[bytes], bool] = lambda _: False,
) -> bool:
    """Append one entry, durably and chained to what is there. `data` is JSON-able and without secrets.

    Returns False, and appends nothing, where `unless` says of the record as it is by then that there is no
    more need of it. The pages follow. Raises `TargetError` where the target cannot take it.
    """
    from components.release.pages import publishing  # takes long, and who only reads does without

    written: list[tuple[bytes, Entry]] = []

    def make(earlier: bytes) -> str:
        if unless(earlier):
            raise _NoNeed
        entry = Entry(
            time=now().isoformat(timespec="milliseconds"),  # here, so that times are in the order of lines
            event=event,
            release=release,
            image=image,
            step=step,
            seconds=None if seconds is None else round(seconds, 3),
            error=error,
            data=data or {},
        )
        line = entry.after(earlier)
        written.append((earlier + line.encode() + b"\n", entry))
        return line

    try:
        operations.append_record(make)
    except _NoNeed:
        return False
    publishing.publish(operations, *written[-1])
    return True


class _NoNeed(Exception):
    """Somebody else has written it meanwhile."""


def head(operations: Operations) -> str | None:
    """Of the chain as it is now."""
    return chain.head(operations.read_record())


def now() -> datetime:
    return datetime.now(UTC)
