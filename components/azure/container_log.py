"""What the containers of a site wrote: the newest start on each worker, and what came after it. Pure.

The archive of App Service has files of each day and machine: `2026_11_24_<machine>_default_docker.log`
with the container's own lines, `…_docker.log` with the platform's ("Enable diagnostic logging").
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from components import startup
from components.azure import marker

DATE = re.compile(r"^\d{4}_\d\d_\d\d_")
STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S* ?")
CONTAINER = "_default_docker.log"
PLATFORM_ERROR = " ERROR - "


@dataclass(frozen=True)
class Log:
    """`starts`: worker → its newest start and the lines since. `platform`: (time, line) of faults.

    `fault`: why nothing is known of either, for now.
    """

    starts: dict[str, tuple[marker.Started, list[str]]] = field(default_factory=dict)
    platform: list[tuple[str, str]] = field(default_factory=list)
    fault: str | None = None

    @classmethod
    def of(cls, archive: bytes) -> Log:
        """Also of a damaged one: Azure packs the files while containers write (Azure/azure-cli#23738)."""
        machines: dict[str, list[str]] = defaultdict(list)
        try:
            for path, text in _files(archive):
                machines[DATE.sub("", path.rpartition("/")[2])] += text.splitlines()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            return cls(fault=f"the archive of its log is damaged, {type(error).__name__}")
        log = cls()
        for name, lines in machines.items():
            if name.endswith(CONTAINER):
                log._read_container(lines)
            else:
                log._read_platform(lines)
        return log

    def errors(self, start: str) -> list[str]:
        """Faults of the start that is called so on any worker; its name begins with its time in UTC."""
        own = [
            error
            for begun, lines in self.starts.values()
            if begun.start == start
            for error in startup.errors(lines)
        ]
        return list(dict.fromkeys([*(line for at, line in self.platform if at >= start[:19]), *own]))

    def _read_container(self, lines: list[str]) -> None:
        newest: list[str] | None = None
        for line in lines:
            if begun := marker.started(line):
                newest = []
                self.starts[begun.worker] = (begun, newest)
            elif newest is not None:
                newest.append(STAMP.sub("", line))

    def _read_platform(self, lines: list[str]) -> None:
        for line in lines:
            if PLATFORM_ERROR in line and (stamp := STAMP.match(line)):
                self.platform.append((stamp.group(1), line[stamp.end() :]))


def _files(archive: bytes) -> Iterator[tuple[str, str]]:
    if not archive:
        return
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for path in sorted(files.namelist()):
            yield path, files.read(path).decode(errors="replace")
