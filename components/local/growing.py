"""A program's log, which the supervisor rotates away while it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from components.local.supervisor import LOG_FILES


@contextmanager
def opened(log: Path, *, since: float = 0.0) -> Iterator[list[BinaryIO]]:
    """Its files that were written to at `since` or later, the oldest first.

    The newest is opened first: one that is rotated meanwhile is met again, and never missed.
    """
    files: dict[int, BinaryIO] = {}
    with ExitStack() as stack:
        for number in range(LOG_FILES):
            path = log if number == 0 else log.with_name(f"{log.name}.{number}")
            try:
                file = stack.enter_context(path.open("rb"))
            except FileNotFoundError:
                continue
            found = os.fstat(file.fileno())
            if found.st_mtime >= since:
                files.setdefault(found.st_ino, file)
        yield list(reversed(files.values()))


class Growing:
    """Each whole line is read once.

    `read`: bytes so far. `size`: bytes that there are, of which the last was `written` then; of a log that is
    not there it is None.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._until: dict[int, int] | None = None  # inode → bytes that were read; None: nothing yet
        self.read = 0
        self.size = 0
        self.written: float | None = None

    def added(self, *, since: float) -> Iterator[str]:
        """At first, files that were last written to before `since` are left out."""
        with opened(self._log) as files:
            found = [os.fstat(file.fileno()) for file in files]
            if self._until is None:
                self._until = {each.st_ino: each.st_size for each in found if each.st_mtime < since}
            already, self._until = self._until, {}
            begin = [at if (at := already.get(each.st_ino, 0)) <= each.st_size else 0 for each in found]
            self.size = self.read + sum(each.st_size - at for each, at in zip(found, begin, strict=True))
            self.written = max((each.st_mtime for each in found), default=None)
            for file, each, at in zip(files, found, begin, strict=True):
                file.seek(at)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    at += len(line)
                    self.read += len(line)
                    yield line[:-1].decode(errors="replace")
                self._until[each.st_ino] = at
