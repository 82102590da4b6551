"""What the log of one program says of exceptions and of workers that died, followed as it grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from components import log_lines, tracebacks
from components.local.growing import Growing
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
        self._log = Growing(log)
        self._known: tuple[float, int] | None = None  # the last time that is known, and of which byte
        self._now = 0.0
        self._before = ""  # the line before
        self._stops = False
        self._reader = tracebacks.Reader()
        self.raised: Counter[tuple[int, Kind]] = Counter()  # by the second
        self.died: Counter[int] = Counter()

    def follow(self, now: float, *, since: float) -> None:
        """Read what was added. At first, files that were last written to before `since` are left out."""
        self._now = now
        self._known = self._known or (since, 0)
        for line in self._log.added(since=since):
            self._take(line)
        self._known = max(self._known, (self._end, self._log.read))
        pending = self._reader.pending
        if pending is not None and pending < now - SETTLED:
            self._tell(self._reader.end())
        self.raised = Counter({key: n for key, n in self.raised.items() if key[0] >= now - REMEMBERED})
        self.died = Counter({second: n for second, n in self.died.items() if second >= now - REMEMBERED})

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _end(self) -> float:
        """When the last byte was written that is there."""
        return min(self._now, self._log.written or self._now)

    def _take(self, line: str) -> None:
        if line.startswith(TIMED) and (written := log_lines.when(line)) is not None:
            self._known = written.timestamp(), self._log.read
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
        assert self._known is not None
        time, byte = self._known
        left = self._log.size - byte
        share = (self._log.read - byte) / left if left > 0 else 1.0
        return time + max(0.0, self._end - time) * min(1.0, share)

    def _tell(self, raised: Iterable[tuple[float, Kind]]) -> None:
        for time, kind in raised:
            self.raised[int(time), kind] += 1
