"""What visitors met and what the application raised in a span of time: the logs of balancer and programs."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime

from components import log_lines
from components.local import access_log
from components.local.balancer import PROGRAM
from components.local.growing import Growing
from components.local.layout import Layout
from components.local.process_log import REMEMBERED, SETTLED, ProcessLog
from components.local.supervisor import OWN_NAME
from components.target import LATENCY_BOUNDS, Observed, Raised

EXITED = re.compile(r" exited: (?P<name>\S+) \(")  # supervisord's word for one that it was not told to stop


class Observing:
    """Of the programs `names`. Follows their logs, so that a later span costs only what was added."""

    def __init__(self, layout: Layout, names: Collection[str]) -> None:
        self._layout = layout
        self._logs = {name: ProcessLog(layout.log(name)) for name in names}
        self._supervisor = Growing(layout.log(OWN_NAME))
        self._exited: Counter[int] = Counter()  # by the second

    def observe(self, since: datetime, until: datetime, *, now: datetime) -> Observed:
        """Whole seconds, up to a moment ago: what was written until then is in the logs."""
        begin = int(since.timestamp())
        end = max(begin, int(min(until.timestamp(), now.timestamp() - SETTLED)))
        access = self._layout.log(PROGRAM)
        if (known := access_log.known_since(access)) is not None and known > begin:
            begin = min(end, int(known) + 1)
        latencies = [0] * (len(LATENCY_BOUNDS) + 1)
        statuses: Counter[int] = Counter()
        for request in access_log.requests(access, begin, end):
            statuses[request.status // 100] += 1
            if request.milliseconds is not None:
                latencies[bisect_left(LATENCY_BOUNDS, request.milliseconds)] += 1
        raised: Counter[tuple[str, str]] = Counter()
        died = 0
        self._follow_supervisor(now.timestamp(), since=begin)
        for log in self._logs.values():
            log.follow(now.timestamp(), since=begin)
            for (second, kind), count in log.raised.items():
                raised[kind.fingerprint, kind.title] += count * (begin <= second < end)
            died += sum(count for second, count in log.died.items() if begin <= second < end)
        return Observed(
            since=_text(begin),
            until=_text(end),
            requests=statuses.total(),
            errors_4xx=statuses[4],
            errors_5xx=statuses[5],
            latencies=tuple(latencies),
            exceptions=tuple(
                Raised(fingerprint=fingerprint, title=title, count=count)
                for (fingerprint, title), count in raised.most_common()
                if count
            ),
            restarts=died + sum(count for second, count in self._exited.items() if begin <= second < end),
        )

    def _follow_supervisor(self, now: float, *, since: float) -> None:
        """Programs that ended by themselves, and that it has started again."""
        for line in self._supervisor.added(since=since):
            match = EXITED.search(line)
            if match and match["name"] in self._logs and (written := log_lines.when(line)):
                self._exited[int(written.timestamp())] += 1
        kept = now - REMEMBERED
        self._exited = Counter({second: n for second, n in self._exited.items() if second >= kept})


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
