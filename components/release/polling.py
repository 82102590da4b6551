"""Asking again until it is so, or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def poll(
    ask: Callable[[], Answer], until: Callable[[Answer], bool], *, seconds: float, pause: float
) -> Answer:
    """The first answer that will do, else the last one. Asks at least once."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if until(answer) or time.monotonic() >= deadline:
            return answer
        time.sleep(pause)
