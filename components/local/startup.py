"""The part of a program's log that is of its last start."""

from __future__ import annotations

from pathlib import Path

from components.startup import errors

__all__ = ["errors", "since"]

READ_BYTES = 2_000_000


def since(log: Path, first_line: str) -> list[str]:
    """The lines since `first_line` was written, also where the log was rotated since; none without it."""
    text = b"".join(_end(path) for path in (log.with_name(f"{log.name}.1"), log))
    lines = text.decode(errors="replace").splitlines()
    starts = [index for index, line in enumerate(lines) if line == first_line]
    # the first one: what came before an automatic restart belongs to this start as well
    return lines[starts[0] + 1 :] if starts else []


def _end(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - READ_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""
