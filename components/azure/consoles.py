"""What the programs of a stack say: the end of each console, and what is added to it as it arrives."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from components.azure.login import Clients
from components.azure.workspace import Workspace, text

BACK = timedelta(days=1)
PAUSE = 10.0  # seconds between two questions for what was added; a line takes minutes to arrive
QUERY = """
union isfuzzy=true
  (datatable(TimeGenerated: datetime, Arrived: datetime, Program: string, Line: string)[]),
  (AppServiceConsoleLogs
    | project TimeGenerated, Arrived = ingestion_time(), Program = tostring(split(_ResourceId, "/")[-1]),
        Line = ResultDescription),
  (ContainerAppConsoleLogs
    | where isempty(JobName)
    | project TimeGenerated, Arrived = ingestion_time(), Program = ContainerAppName, Line = Log)
| where Arrived > datetime({since}) and Program in~ ({programs})
| order by Program asc, TimeGenerated desc
| extend Number = row_number(1, Program != prev(Program))
| where Number <= {lines}
| order by TimeGenerated asc
| project Arrived, Program, Line
"""
MOST = 10_000  # lines of a program that are shown of what was added


class Consoles:
    """`names`: program → the name of its site or container app."""

    def __init__(self, clients: Clients, *, workspace: str, names: Mapping[str, str]) -> None:
        self._workspace = Workspace(clients, workspace)
        self._programs = {name.lower(): program for program, name in names.items()}
        self._since = datetime.min.replace(tzinfo=UTC)

    def tail(self, programs: Collection[str], lines: int) -> list[tuple[str, str]]:
        """(program, line) of the last `lines` of each that came within a day, by their time."""
        self._since = datetime.now(UTC) - BACK
        return self._arrived(programs, lines)

    def follow(self, programs: Collection[str]) -> Iterator[tuple[str, str]]:
        """What has arrived since, for ever."""
        while True:
            time.sleep(PAUSE)
            yield from self._arrived(programs, MOST)

    def _arrived(self, programs: Collection[str], lines: int) -> list[tuple[str, str]]:
        named = ", ".join(f'"{name}"' for name, program in self._programs.items() if program in programs)
        query = QUERY.format(since=text(self._since), programs=named, lines=lines)
        now = datetime.now(UTC)
        rows = self._workspace.ask(query, (now - BACK, now))
        # Azure counts in tenths of a microsecond.
        self._since = max([self._since, *(row["Arrived"] + timedelta(microseconds=1) for row in rows)])
        return [(self._programs[row["Program"].lower()], row["Line"]) for row in rows]
