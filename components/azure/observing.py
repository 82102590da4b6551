"""What visitors met and what the application raised, by Front Door's metrics and the workspace.

Both know it only after a while, so a span ends where they surely do. What comes even later is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from components import tracebacks
from components.azure import marker
from components.azure.faults import asking
from components.azure.login import Clients
from components.azure.workspace import Workspace, text
from components.target import LATENCY_BOUNDS, Observed, Raised, TargetError
from components.workers import DIED, STOPS

MINUTE = timedelta(minutes=1)
# Metrics: "up to 3 minutes to get processed" (Monitor Azure Front Door); logs: "between 20 seconds and 3
# minutes" (Log data ingestion time in Azure Monitor). The rest is for clocks that differ.
LAG = timedelta(minutes=5)
STATUSES = 1000  # Azure answers ten series unless it is asked for more (Metrics - List, "top")
UNMATCHED = 20  # more than may fall into another minute, where logs and metrics set their times
LINES = 50_000  # of consoles; in a storm of errors, those that came first
# So long after it was asked for, a start of a worker is no late one, but another one.
STARTS = timedelta(minutes=30)

# A column is of text or of numbers as its first row was, and is missing before that ("AzureDiagnostics").
LATENCIES = """
union isfuzzy=true (datatable(TimeGenerated: datetime)[]), AzureDiagnostics
| where TimeGenerated >= datetime({since}) and TimeGenerated < datetime({until})
| where column_ifexists("Category", "") == "FrontDoorAccessLog"
| where column_ifexists("endpoint_s", "") =~ "{endpoint}"
| extend Seconds = coalesce(todouble(column_ifexists("timeTaken_s", "")),
                            todouble(column_ifexists("timeTaken_d", real(null))))
| where isnotnull(Seconds)
| summarize Requests = count() by Class = case({classes}, {slowest})
"""
# What tracebacks are made of, in one line (as of JSON) or in many; what says that a process starts, or dies.
CONSOLES = """
union isfuzzy=true (datatable(TimeGenerated: datetime, Source: string, Line: string)[]),
  (AppServiceConsoleLogs
    | project TimeGenerated, Source = strcat(_ResourceId, " ", Host), Line = ResultDescription),
  (ContainerAppConsoleLogs
    | where isempty(JobName)
    | project TimeGenerated, Source = ContainerGroupName, Line = Log)
| where TimeGenerated < datetime({until})
| where TimeGenerated >= datetime({starts}) and Line has "relevo" and Line has "started"
    or TimeGenerated >= datetime({since}) and (
        Line contains "Traceback (most recent call last)"
        or Line contains "Worker (pid:" or Line contains "Handling signal: "
        or Line startswith "The above exception was" or Line startswith "During handling of the above"
        or Line matches regex @"^(\\s|[A-Za-z_][A-Za-z0-9_.]*(:|$))")
| top {lines} by TimeGenerated asc
| order by Source asc, TimeGenerated asc
| project TimeGenerated, Source, Line
"""


@dataclass(frozen=True)
class Line:
    """One of a console. `source`: its site and machine, or its replica."""

    at: datetime
    source: str
    text: str


class Observing:
    """`endpoint`: Front Door's own name of the public one, by which it counts ("….z01.azurefd.net")."""

    def __init__(self, clients: Clients, *, group: str, profile: str, endpoint: str, workspace: str) -> None:
        self._clients = clients
        self._profile = (
            f"/subscriptions/{clients.subscription}/resourceGroups/{group}/providers/Microsoft.Cdn/profiles/"
            f"{profile}"
        )
        self._endpoint = endpoint
        self._workspace = Workspace(clients, workspace)
        self._unmatched = 0  # requests in the access log since the metric has had one

    def observe(self, since: datetime, until: datetime, *, now: datetime) -> Observed:
        """The whole minutes of the span that are surely known, since Front Door counts by the minute.

        Raises `TargetError` where the metric has no requests but the access log does: it would be a site
        without errors.
        """
        begin, end = whole_minutes(since.astimezone(UTC), min(until, now - LAG).astimezone(UTC))
        if begin >= end:
            nothing = (0,) * (len(LATENCY_BOUNDS) + 1)
            return _observed(since, since, Counter(), nothing, (), 0)
        lines = self._consoles(begin, end)
        raised = [line for line in lines if line.at >= begin]
        statuses, latencies = self._statuses(begin, end), self._latencies(begin, end)
        self._unmatched = 0 if statuses.total() else self._unmatched + sum(latencies)
        if self._unmatched > UNMATCHED:
            raise TargetError(
                f"Front Door's access log has {self._unmatched} requests of {self._endpoint}, but its metric "
                f"RequestCount has none, by which errors are counted; see what {self._profile} has in "
                f"Metrics, split by Endpoint and HttpStatus."
            )
        return _observed(begin, end, statuses, latencies, exceptions(raised), restarts(lines, begin))

    # -- what is asked ---------------------------------------------------------------------------------
    def _statuses(self, begin: datetime, end: datetime) -> Counter[int]:
        """Requests by their status ("Azure Front Door monitoring data reference")."""
        with asking("read RequestCount of Front Door"):
            response = self._clients.monitor.metrics.list(
                self._profile,
                timespan=f"{text(begin)}/{text(end)}",
                interval="PT1M",
                metricnames="RequestCount",
                aggregation="Total",
                filter=f"Endpoint eq '{self._endpoint}' and HttpStatus eq '*'",
                top=STATUSES,
            )
        found: Counter[int] = Counter()
        for one in response.value:
            for series in one.timeseries or []:
                named = {
                    str(value.name and value.name.value).lower(): value.value
                    for value in series.metadatavalues or []
                }
                if status := named.get("httpstatus"):
                    found[int(status)] += sum(
                        round(point.total or 0)
                        for point in series.data or []
                        if begin <= point.time_stamp.astimezone(UTC) < end
                    )
        return found

    def _latencies(self, begin: datetime, end: datetime) -> tuple[int, ...]:
        classes = ", ".join(
            f"Seconds <= {bound / 1000:g}, {number}" for number, bound in enumerate(LATENCY_BOUNDS)
        )
        rows = self._workspace.ask(
            LATENCIES.format(
                since=text(begin),
                until=text(end),
                endpoint=self._endpoint,
                classes=classes,
                slowest=len(LATENCY_BOUNDS),
            ),
            (begin, end),
        )
        counted = {int(row["Class"]): int(row["Requests"]) for row in rows}
        return tuple(counted.get(number, 0) for number in range(len(LATENCY_BOUNDS) + 1))

    def _consoles(self, begin: datetime, end: datetime) -> list[Line]:
        """By source, each in its order."""
        starts = begin - STARTS
        query = CONSOLES.format(starts=text(starts), since=text(begin), until=text(end), lines=LINES)
        return [
            Line(row["TimeGenerated"], row["Source"], row["Line"])
            for row in self._workspace.ask(query, (starts, end))
        ]


# -- what the answers say --------------------------------------------------------------------------------


def whole_minutes(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The first minute that begins in the span, and the end of the last one that ends in it."""
    begin = since.replace(second=0, microsecond=0)
    return begin + (MINUTE if begin < since else timedelta()), until.replace(second=0, microsecond=0)


def exceptions(lines: Sequence[Line]) -> tuple[Raised, ...]:
    """Of each source by itself, since a traceback may be of many lines; `lines` are ordered by source."""
    counts = Counter(
        kind
        for _, own in groupby(lines, key=lambda line: line.source)
        for _, kind in tracebacks.found(line.text for line in own)
    )
    return tuple(
        Raised(fingerprint=kind.fingerprint, title=kind.title, count=count) for kind, count in counts.items()
    )


def restarts(lines: Sequence[Line], since: datetime) -> int:
    """Containers after `since` that nobody asked to start, and workers of gunicorn that died.

    Of each machine the first start of a release was asked for, unless it comes long after it, as where the
    platform puts a machine in another's place.
    """
    known: set[tuple[str, str, str]] = set()
    found = 0
    stopping: set[str] = set()
    for line in sorted(lines, key=lambda line: line.at):
        started = marker.started(line.text)
        if started is None:
            if STOPS.search(line.text):
                stopping.add(line.source)
            found += line.at >= since and line.source not in stopping and bool(DIED.search(line.text))
            continue
        stopping.discard(line.source)
        process = (started.instance, started.worker, started.start)
        late = line.at - _asked(started) > STARTS
        found += line.at >= since and (late or process in known)
        known.add(process)
    return found


def _asked(started: marker.Started) -> datetime:
    """The name of a start begins with its time."""
    return datetime.fromisoformat(started.start[:19]).replace(tzinfo=UTC)


def _observed(
    since: datetime,
    until: datetime,
    statuses: Counter[int],
    latencies: tuple[int, ...],
    raised: tuple[Raised, ...],
    restarted: int,
) -> Observed:
    return Observed(
        since=since.astimezone(UTC).isoformat(timespec="seconds"),
        until=until.astimezone(UTC).isoformat(timespec="seconds"),
        requests=sum(statuses.values()),
        errors_4xx=sum(count for status, count in statuses.items() if 400 <= status < 500),
        # 0: the site did not answer in time ("Azure Front Door monitoring data reference").
        errors_5xx=sum(count for status, count in statuses.items() if status >= 500 or status == 0),
        latencies=latencies,
        exceptions=raised,
        restarts=restarted,
    )
