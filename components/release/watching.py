"""What the time after a release says of it, compared with the hour before: statistics and verdict. Pure.

Each measure is a rate: of requests that ended in an error, of those slower than before, of exceptions for a
request, of restarts for a second. Its limit is what the rate before may really have been, given that an hour is
a sample, plus a rise that is tolerated, and at most the measure's ceiling: so an outage in the hour before
excuses nothing, and where nothing is known of before, the ceiling is the limit. `evidence.py` tells whether the
rate since is above it, at every look. Of a hundred releases that are no worse, at most one is called worse.

Statistics and figures: docs/watch.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal

from components.release import evidence
from components.release.evidence import Block
from components.release.messages import PHRASES
from components.target import LATENCY_BOUNDS, Observed, Raised

Name = Literal["errors-4xx", "errors-5xx", "exceptions", "latency", "restarts"]
Verdict = Literal["quiet", "breached", "too little traffic"]

FALSE_ALARMS = 0.01  # at most, of releases that are no worse
BEFORE = timedelta(minutes=60)
SETTLING = timedelta(seconds=30)  # on either side of a release: its own disturbance is not its fault
RISE = 0.05  # of 5xx responses: a watch that may have missed it has seen too little
POINTS = 120  # of the curve
KINDS = 10  # of exceptions that are told
SLOW, FASTEST, SLOWEST = 1000, 100, 2000  # milliseconds, see `slower_than`


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A measure's limits, as rates, and how many seconds it takes at least until it is an alarm."""

    tolerated: float
    ceiling: float
    persistence: float


RULES: Mapping[Name, Rule] = {
    # Most often a client's fault: one that looks for holes is gone in minutes, a broken path is not.
    "errors-4xx": Rule(tolerated=0.05, ceiling=0.5, persistence=300),
    "errors-5xx": Rule(tolerated=0.005, ceiling=0.03, persistence=30),
    "exceptions": Rule(tolerated=0.005, ceiling=0.1, persistence=30),
    # Caches are cold after a release.
    "latency": Rule(tolerated=0.1, ceiling=0.5, persistence=300),
    "restarts": Rule(tolerated=2 / 3600, ceiling=12 / 3600, persistence=30),
}

VISITORS_CAUSE: frozenset[Name] = frozenset({"errors-4xx"})
"""What anybody outside can bring about: told like any breach, but no reason to go back by itself."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """What is compared: `before_since` to `before_until` with `since` to `until`."""

    before_since: datetime
    before_until: datetime
    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`found` and `before` are for people, with unit; rates are events for a request (restarts: a second)."""

    found: str
    before: str
    rate: float | None  # None: there was nothing to measure it by
    rate_before: float | None
    limit: float
    evidence: float  # as a share of an alarm; the highest of all looks
    breached: bool


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Exceptions of one kind since the release, and in the time before."""

    fingerprint: str
    title: str
    count: int
    before: int


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Of the time so far; at the end of the watch it is the final one."""

    verdict: Verdict
    why: str  # one sentence
    requests: int
    seconds: float  # since the watch began
    measures: Mapping[Name, Measured]
    curve: tuple[tuple[int, int, int, int, int | None], ...]  # seconds, requests, 4xx, 5xx, p95 in ms
    exceptions: tuple[Kind, ...]  # new ones and the most frequent first
    restarts: int

    @property
    def breached(self) -> tuple[Name, ...]:
        return tuple(name for name, measure in self.measures.items() if measure.breached)

    def breach(self, name: Name) -> dict[str, Any]:
        """The data of the entry `watch breached`."""
        measure = self.measures[name]
        return {
            "measure": name,
            "found": measure.found,
            "before": measure.before,
            "requests": self.requests,
            "after_seconds": self.seconds,
        }

    def done(self, *, cut_short: bool = False) -> dict[str, Any]:
        """The data of the entry `watch done`. `cut_short`: another release was opened meanwhile."""
        short = cut_short and self.verdict != "breached"
        return {
            "verdict": "cut short" if short else self.verdict,
            "why": f"Another release was opened after {_minutes(self.seconds)}." if short else self.why,
            "requests": self.requests,
            "measures": {
                name: {"found": measure.found, "before": measure.before, "breached": measure.breached}
                for name, measure in self.measures.items()
            },
            "curve": [list(point) for point in self.curve],
            "exceptions": [asdict(kind) for kind in self.exceptions],
            "restarts": self.restarts,
        }


def spans(*, opened_at: datetime, closed_at: datetime, minutes: float) -> Spans:
    """The times that are compared for a release, without those around it."""
    settling = min(SETTLING, timedelta(minutes=minutes) / 20)
    before_until = opened_at - settling
    return Spans(
        before_since=before_until - BEFORE,
        before_until=before_until,
        since=closed_at + settling,
        until=closed_at + timedelta(minutes=minutes),
    )


def started(before: Observed | None, *, until: datetime, minutes: float) -> dict[str, Any]:
    """The data of the entry `watch started`."""
    measures = {name: _before(name, before) for name in RULES}
    requests = before.requests if before else 0
    return {
        "until": until.isoformat(),
        "minutes": minutes,
        "before": {"requests": requests, **measures},
    }


def judge(
    before: Observed | None,
    since: Sequence[Observed],
    *,
    minutes: float,
    already: Collection[str] = (),
) -> Judgement:
    """What the time since a release says of it.

    `since` are its parts in order, one for each look: an outage that is inside a single long one cannot be told
    from errors that go on. `minutes` is how long the whole watch is. `already` are measures that the record has
    as breached, which they stay.
    """
    raise NotImplementedError


def together(parts: Iterable[Observed]) -> Observed | None:
    """Several spans, in order, as one; None if there are none."""
    raise NotImplementedError


def slower_than(before: Observed | None) -> int:
    """Milliseconds: the class below which 95 % of the requests were before, within what people notice.

    One of LATENCY_BOUNDS, at least 100 and at most 2000; 1000 where there were no requests.
    """
    raise NotImplementedError


def p95(observed: Observed) -> int | None:
    """Milliseconds: the upper end of the class of the 95th percentile, twice the last one if above; or None."""
    raise NotImplementedError
