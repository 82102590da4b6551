"""The requests in a balancer's log, which has them as lines of JSON in the order in which they ended.

A span of time is found by halving the file, not by reading it. What is not such a line is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from components.local import growing
from components.local.supervisor import LOG_FILES

NEAR = 64 * 1024  # bytes: from here on a file is read line by line
OUT_OF_ORDER = 2.0  # seconds; the workers of a balancer do not wait for each other
# As haproxy.py and nginx.py have them written, and whole: json.loads would take three times as long. A quote
# inside of a text has a backslash before it.
LINE = re.compile(rb'\{"time": ([\d.]+), .*"status": (-?\d+), "(ms|seconds)": (-?[\d.]+).*\}\n')
GONE = 499  # as nginx has it where the client left before its answer; HAProxy has -1


@dataclass(frozen=True)
class Request:
    at: float  # seconds since the epoch, when it ended
    status: int
    milliseconds: float | None  # None: the client left before all of its request was there


def requests(log: Path, since: float, until: float) -> Iterator[Request]:
    """Those that ended in the span, also in files that were rotated away."""
    with growing.opened(log, since=since - OUT_OF_ORDER) as files:
        for file in files:
            _seek(file, since - OUT_OF_ORDER)
            for line in file:
                request = _request(line)
                if request is None:
                    continue
                if request.at >= until + OUT_OF_ORDER:
                    break
                if since <= request.at < until:
                    yield request


def known_since(log: Path) -> float | None:
    """What is older is not known any more; None: nothing was thrown away yet."""
    oldest = log.with_name(f"{log.name}.{LOG_FILES - 1}")
    try:
        with oldest.open("rb") as file:
            return next((request.at for line in file if (request := _request(line))), None)
    except FileNotFoundError:
        return None


def _seek(file: BinaryIO, since: float) -> None:
    """To the beginning of a line before the first request that ended at `since` or later."""
    low, high = 0, file.seek(0, 2)
    while high - low > NEAR:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        at = None
        while at is None and file.tell() < high and (line := file.readline()):
            request = _request(line)
            at = request.at if request else None
        if at is not None and at < since:
            low = middle
        else:
            high = middle
    file.seek(low)
    if low:
        file.readline()


def _request(line: bytes) -> Request | None:
    match = LINE.match(line)
    if match is None:
        return None
    at, status, unit, took = float(match[1]), int(match[2]), match[3], float(match[4])
    if unit == b"ms":
        return Request(at / 1000, status if status >= 100 else GONE, took if took >= 0 else None)
    return Request(at, status, took * 1000)
