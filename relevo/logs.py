"""The logs of a stack's programs: the end of each, and what is added to them."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from components import log_lines
from relevo.errors import EMPTY, RelevoError
from relevo.project import Project

if TYPE_CHECKING:
    from components.azure.consoles import Consoles

T = TypeVar("T")

LINES = 20
TAIL_BYTES = 64 * 1024
POLL_SECONDS = 0.2


def consoles(project: Project, stack: str, program: str | None) -> tuple[Consoles, list[str]]:
    """Those of a stack on Azure, and the programs that are meant. Raises `RelevoError`."""
    from components.azure.operations import AzureOperations
    from relevo import operating

    operations = operating.context(project, stack).operations
    assert isinstance(operations, AzureOperations)
    return operations.consoles, list(choose(dict.fromkeys(operations.programs), program))


def choose(files: Mapping[str, T], program: str | None) -> dict[str, T]:
    """The logs that are meant. Raises `RelevoError` for a program that has none, or if none has."""
    if not files:
        raise RelevoError("no program has a log yet, but pulumi up starts them; run pulumi up.")
    if program is None:
        return dict(files)
    if program not in files:
        raise RelevoError(
            f"{program or EMPTY} has no log, but only {', '.join(files)}; name one of them, or none for all."
        )
    return {program: files[program]}


def tail(file: Path, lines: int = LINES) -> list[str]:
    """The last lines of a file, of which no more than the end is read."""
    with file.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        start = log.seek(max(0, size - TAIL_BYTES))
        found = log.read(size - start).decode(errors="replace").splitlines()
    return found[-lines:]


def follow(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """(program, line) of all that is added after this call, for ever; over rotations, too."""
    return _follow(files, {name: (file.stat().st_ino, file.stat().st_size) for name, file in files.items()})


def _follow(files: Mapping[str, Path], at: dict[str, tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """`at`: program → the inode that was read last, and how far."""
    rest = dict.fromkeys(files, b"")
    while True:
        for name, file in files.items():
            if not file.exists():
                continue
            found = file.stat()
            inode, position = at[name]
            if found.st_ino != inode or found.st_size < position:
                position, rest[name] = 0, b""
            with file.open("rb") as log:
                log.seek(position)
                new = log.read()
            at[name] = (found.st_ino, position + len(new))
            *whole, rest[name] = (rest[name] + new).split(b"\n")
            for line in whole:
                yield name, line.decode(errors="replace")
        time.sleep(POLL_SECONDS)


def prefixed(files: Collection[str], program: str, line: str) -> str:
    """The line as a person reads it, with its program's name where there are several."""
    parts = log_lines.plain(line)
    return "\n".join(f"{program} | {part}" if len(files) > 1 else part for part in parts)
