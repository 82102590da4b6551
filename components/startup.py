"""What a program's log says about its start. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from components import log_lines
from components.tracebacks import BEGIN

WRONG = re.compile(r"\[(ERROR|CRITICAL)\]|Worker failed to boot|Address already in use")
SHOWN = 20


def errors(lines: Iterable[str]) -> list[str]:
    """Lines that say that the start was not clean; of a traceback, its last line (the exception)."""
    found: list[str] = []
    inside = False
    for line in _plain(lines):
        whole = BEGIN in line  # in one line, unless it ends there
        if line.rstrip().endswith(BEGIN):
            inside = True
        elif whole or (inside and line and not line[0].isspace()):
            found.append(line)
            inside = False
        elif WRONG.search(line):
            found.append(line)
    if inside:
        found.append(BEGIN)
    return list(dict.fromkeys(found))[:SHOWN]


def _plain(lines: Iterable[str]) -> Iterator[str]:
    """gunicorn's own lines of JSON, and those with a traceback, as if they were none."""
    for line in lines:
        said = log_lines.parsed(line)
        of_gunicorn = said is not None and str(said.get("logger")).startswith("gunicorn")
        yield from log_lines.plain(line) if of_gunicorn or BEGIN in line else [line]
