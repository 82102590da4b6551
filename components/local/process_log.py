"""What the log of one program says of exceptions and of workers that died, followed as it grows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from components import log_lines, tracebacks
from components.local.supervisor import LOG_FILES
from components.tracebacks import Kind
from components.workers import DIED, STARTS, STOPS

REMEMBERED = 26 * 3600  # seconds
SETTLED = 1.0  # seconds after which a line, or a traceback, is whole
TIMED = ("[2", "2", '{"time"')  # how lines begin that tell the time cheaply


class ProcessLog:
    """Reads each byte once.

    The time of a line that tells none is that of the line before it. Where that tells none either, as of a
    project that logs without times, it lies between the last time that is known and that of the last byte,
    by how much was written in between.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read: dict[int, int] | None = None  # inode → bytes; None: nothing yet
        self._bytes = 0  # that were read, of all files
        self._known = (0.0, 0)  # the last time that is known, and of which byte
        self._end = (0.0, 0)  # of the last byte that is there
        self._before = ""  # the line before
        self._stops = False
        self._reader = tracebacks.Reader()
        self.raised: Counter[tuple[int, Kind]] = Counter()  # by the second
        self.died: Counter[int] = Counter()

    def follow(self, now: float, *, since: float) -> None:
        """Read what was added. At first, files that were last written to before `since` are left out."""
        files = self._paths()
        if self._read is None:
            self._known = since, 0
            older = [found for path in files if (found := path.stat()).st_mtime < since]
            self._read = {found.st_ino: found.st_size for found in older}
        already = self._read
        added = sum(max(0, (found := path.stat()).st_size - already.get(found.st_ino, 0)) for path in files)
        written = max((path.stat().st_mtime for path in files), default=now)
        self._end = min(now, written), self._bytes + added
        self._read = {}
        for path in files:
            for line in self._added(path, already):
                self._take(line)
        self._known = max(self._known, (self._end[0], self._bytes))
        pending = self._reader.pending
        if pending is not None and pending < now - SETTLED:
            self._tell(self._reader.end())
        self.raised = Counter({key: n for key, n in self.raised.items() if key[0] >= now - REMEMBERED})
        self.died = Counter({second: n for second, n in self.died.items() if second >= now - REMEMBERED})

    # -- inside ----------------------------------------------------------------------------------------
    def _paths(self) -> list[Path]:
        """The oldest first."""
        rotated = [self._log.with_name(f"{self._log.name}.{number}") for number in range(1, LOG_FILES)]
        return [path for path in (*reversed(rotated), self._log) if path.exists()]

    def _added(self, path: Path, already: dict[int, int]) -> Iterator[str]:
        """The whole lines of a file that were not read yet."""
        assert self._read is not None
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_ino in self._read:  # rotated since the one before it was opened
                return
            at = already.get(found.st_ino, 0)
            at = at if at <= found.st_size else 0
            file.seek(at)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                at += len(line)
                self._bytes += len(line)
                yield line[:-1].decode(errors="replace")
            self._read[found.st_ino] = at

    def _take(self, line: str) -> None:
        if line.startswith(TIMED) and (written := log_lines.when(line)) is not None:
            self._known = written.timestamp(), self._bytes
        if "Worker (pid:" in line and DIED.search(line) and not self._stops:
            self.died[int(self._time(line))] += 1
        elif STARTS in line:
            self._stops = False
        elif STOPS.search(line):
            self._stops = True
        begins = tracebacks.BEGIN in line
        self._tell(self._reader.read(self._time(line) if begins else 0.0, line))
        if line.strip() and not line[0].isspace():
            self._before = line

    def _time(self, line: str) -> float:
        written = log_lines.when(line) or log_lines.when(self._before)
        if written is not None:
            return written.timestamp()
        (time, byte), (end, last) = self._known, self._end
        share = (self._bytes - byte) / (last - byte) if last > byte else 1.0
        return time + max(0.0, end - time) * min(1.0, share)

    def _tell(self, raised: Iterable[tuple[float, Kind]]) -> None:
        for time, kind in raised:
            self.raised[int(time), kind] += 1
