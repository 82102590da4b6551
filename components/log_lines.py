"""A line of a log, as a program or as JSON has written it: when that was, and how a person reads it. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

# The names that loggers give it: Python's own, python-json-logger's, structlog's, Elastic's.
TIMES = ("time", "timestamp", "@timestamp", "asctime", "ts", "datetime")
LEVELS = ("level", "levelname", "severity", "log.level")
LOGGERS = ("logger", "name", "logger_name")
MESSAGES = ("message", "msg", "event")
TRACES = ("exc_info", "exc_text", "exception", "stack_info", "stack_trace", "traceback")
TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<part>\d{1,6})\d*)?"
    r" ?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
NEAR = 64  # characters: a time that comes later is of something else


def parsed(line: str) -> dict[str, Any] | None:
    """What a line of JSON says; None for any other."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def when(line: str) -> datetime | None:
    """When it was written, if it says so. A time without its zone is this machine's."""
    if (said := parsed(line)) is not None:
        found = first(said, TIMES)
        if isinstance(found, int | float):
            seconds = found / 1000 if found > 1e11 else found  # some count milliseconds
            try:
                return datetime.fromtimestamp(seconds).astimezone()
            except (ValueError, OverflowError, OSError):
                return None
        line = str(found or "")
    match = TIME.search(line, 0, NEAR)
    if match is None:
        return None
    part, zone = match["part"] or "0", (match["zone"] or "").replace("Z", "+00:00")
    try:
        found = datetime.fromisoformat(f"{match['day']}T{match['time']}.{part:0<6}{zone}")
    except ValueError:
        return None
    return found if found.tzinfo else found.astimezone()


def plain(line: str) -> list[str]:
    """The lines that a person reads: of JSON its time, level, logger and message as gunicorn has them.

    Then whatever else it says, and the traceback.
    """
    said = parsed(line)
    if said is None:
        return [line]
    told = (*TIMES, *LEVELS, *LOGGERS, *MESSAGES, *TRACES)
    rest = [f"{name}={value}" for name, value in said.items() if name not in told]
    message = " ".join([str(first(said, MESSAGES) or ""), *rest]).strip()
    written, level, logger = when(line), first(said, LEVELS), first(said, LOGGERS)
    head = [
        f"[{written.isoformat(sep=' ', timespec='milliseconds')}]" if written else "",
        f"[{str(level).upper()}]" if level else "",
        f"{logger}:" if logger else "",
    ]
    traces = [text for name in TRACES if isinstance(text := said.get(name), str) and text]
    return "\n".join([" ".join([*filter(None, head), str(message)]), *traces]).splitlines()


def first(said: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((said[name] for name in names if said.get(name) is not None), None)
