"""What a program's log says about its start. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

TRACEBACK = "Traceback (most recent call last):"
WRONG = re.compile(r"\[(ERROR|CRITICAL)\]|Worker failed to boot|Address already in use")
SHOWN = 20


def errors(lines: Sequence[str]) -> list[str]:
    """Lines that say that the start was not clean; of a traceback, its last line (the exception)."""
    found: list[str] = []
    inside = False
    for line in lines:
        whole = TRACEBACK in line  # in one line, as of JSON, unless it ends there
        if line.rstrip().endswith(TRACEBACK):
            inside = True
        elif whole or (inside and line and not line[0].isspace()):
            found.append(line)
            inside = False
        elif WRONG.search(line):
            found.append(line)
    if inside:
        found.append(TRACEBACK)
    return list(dict.fromkeys(found))[:SHOWN]
