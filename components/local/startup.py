"""What a program's log says about its start. `errors` is pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

READ_BYTES = 2_000_000
TRACEBACK = "Traceback (most recent call last):"
WRONG = re.compile(r"\[(ERROR|CRITICAL)\]|Worker failed to boot|Address already in use")
SHOWN = 20


def since(log: Path, first_line: str) -> list[str]:
    """The lines since `first_line` was written, also where the log was rotated since; none without it."""
    text = b"".join(_end(path) for path in (log.with_name(f"{log.name}.1"), log))
    lines = text.decode(errors="replace").splitlines()
    starts = [index for index, line in enumerate(lines) if line == first_line]
    # the first one: what came before an automatic restart belongs to this start as well
    return lines[starts[0] + 1 :] if starts else []


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


def _end(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - READ_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""
