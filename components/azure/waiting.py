"""Waiting for a condition that only asking can tell, never longer than its limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from components.target import TargetError

T = TypeVar("T")

PAUSE = 2.0  # ARM counts requests; what is waited for takes minutes


def until(
    ask: Callable[[], T | None],
    *,
    timeout: float,
    limit: str,
    fault: Callable[[], str],
    pause: float = PAUSE,
) -> T:
    """The first answer that is not None. Raises `TargetError` with `fault()` after `timeout` seconds.

    `limit`: the setting that gave the seconds, which the error names.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = ask()
        if answer is not None:
            return answer
        if time.monotonic() >= deadline:
            raise TargetError(f"{fault()}, but it is given {timeout:g} s; raise {limit}, or see why.")
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
