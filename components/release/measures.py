"""What is compared before and after a release: how each measure counts, may reach, and reads. Pure.

A measure is a rate: of requests that ended in an error or took longer than before, of exceptions for a
request, of restarts for a second. Its limit is what the rate before may really have been, since an hour is a
sample, and a rise that is tolerated; but at most the measure's ceiling. So an outage in the hour before
excuses nothing, and where little or nothing is known of before, the ceiling is the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from components.release.evidence import Block, upper_bound
from components.target import LATENCY_BOUNDS, Observed, Raised

Name = Literal["errors-4xx", "errors-5xx", "exceptions", "latency", "restarts"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`tolerated` and `ceiling` are rates; a rise is no alarm before it has lasted `persistence` seconds."""

    tolerated: float
    ceiling: float
    persistence: float


RULES: Mapping[Name, Rule] = {
    # Most often the client's fault: one that looks for holes is gone in minutes, a broken path is not.
    "errors-4xx": Rule(tolerated=0.05, ceiling=0.5, persistence=300),
    "errors-5xx": Rule(tolerated=0.005, ceiling=0.03, persistence=30),
    "exceptions": Rule(tolerated=0.005, ceiling=0.1, persistence=30),
    # Caches are cold after a release.
    "latency": Rule(tolerated=0.1, ceiling=0.5, persistence=300),
    "restarts": Rule(tolerated=2 / 3600, ceiling=12 / 3600, persistence=30),
}

VISITORS_CAUSE: frozenset[Name] = frozenset({"errors-4xx"})
"""What anybody outside can bring about: told like each breach, but by itself no reason to go back."""

QUICK, SLOW, UNKNOWN = 100, 2000, 1000  # milliseconds
FALSE_ALARMS = 0.01  # at most, of releases that are no worse
COMPARISONS = 6
ALPHA = FALSE_ALARMS / COMPARISONS / 2
"""Of one comparison: half of its share is the risk that the rate before is underestimated."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`count` gives the events of a span and the trials among which they were; `before` those of before."""

    name: Name
    count: Callable[[Observed], tuple[int, float]]
    before: tuple[int, float]

    @property
    def rule(self) -> Rule:
        return RULES[self.name]

    @property
    def limit(self) -> float:
        events, trials = self.before
        known = upper_bound(min(events, trials), trials, ALPHA)
        return min(known + self.rule.tolerated, self.rule.ceiling)

    def block(self, observed: Observed) -> Block:
        events, trials = self.count(observed)
        return Block(events=min(events, trials), trials=trials, seconds=seconds(observed))


def comparisons(before: Observed | None) -> tuple[Comparison, ...]:
    """One for each measure, and for exceptions two: of kinds that were there before, and of new ones.

    How often a new kind would have come without a release is told by those that came once in the time before
    ("Good-Turing frequency estimation"): where each exception is another kind, new ones are no news.
    """
    usual = frozenset(raised.fingerprint for raised in before.exceptions) if before else frozenset()
    slow = slower_than(before)

    def compare(name: Name, count: Callable[[Observed], tuple[int, float]]) -> Comparison:
        return Comparison(name=name, count=count, before=count(before) if before else (0, 0))

    def of_kinds(observed: Observed, *, new: bool) -> tuple[int, float]:
        kinds = (raised for raised in observed.exceptions if (raised.fingerprint not in usual) == new)
        return sum(raised.count for raised in kinds), _occasions(observed)

    once = sum(raised.count == 1 for raised in before.exceptions) if before else 0
    return (
        compare("errors-4xx", lambda observed: (observed.errors_4xx, observed.requests)),
        compare("errors-5xx", lambda observed: (observed.errors_5xx, observed.requests)),
        compare("exceptions", lambda observed: of_kinds(observed, new=False)),
        Comparison(
            name="exceptions",
            count=lambda observed: of_kinds(observed, new=True),
            before=(once, _occasions(before) if before else 0),
        ),
        compare("latency", lambda observed: (_slower(observed, slow), sum(observed.latencies))),
        compare("restarts", lambda observed: (observed.restarts, seconds(observed))),
    )


def _occasions(observed: Observed) -> float:
    """For exceptions: requests, or seconds where those are more, since a worker needs no request to fail."""
    return max(observed.requests, seconds(observed))


def slower_than(before: Observed | None) -> int:
    """Milliseconds above which a request is slow: the class that 95 % of the requests before were within.

    But at least 100, which nobody notices, and at most 2000; 1000 where there were no requests.
    """
    within = percentile_95(before) if before else None
    if within is None:
        return UNKNOWN
    return min(max(within, QUICK), SLOW)


def percentile_95(observed: Observed) -> int | None:
    """Milliseconds: the upper end of its class, 1 above the last one if slower; None without requests."""
    left = 0.95 * sum(observed.latencies)
    if not left:
        return None
    for bound, count in zip(LATENCY_BOUNDS, observed.latencies, strict=False):
        left -= count
        if left <= 0:
            return bound
    return LATENCY_BOUNDS[-1] + 1


def _slower(observed: Observed, milliseconds: int) -> int:
    return sum(observed.latencies[LATENCY_BOUNDS.index(milliseconds) + 1 :])


def described(name: Name, observed: Observed | None) -> str:
    """What the measure was, for people of any language; "-" where there was nothing to measure it by."""
    if observed is None:
        return "-"
    if name == "restarts":
        return f"{observed.restarts} ({seconds(observed) / 60:.0f} min)"
    if name == "exceptions":
        count = sum(raised.count for raised in observed.exceptions)
        return f"{count} ({percent(count / observed.requests)})" if observed.requests else str(count)
    if not observed.requests:
        return "-"
    if name == "latency":
        within = percentile_95(observed)
        if within is None:
            return "-"
        return f"p95 {within} ms" if within <= LATENCY_BOUNDS[-1] else f"p95 > {LATENCY_BOUNDS[-1]} ms"
    errors = observed.errors_4xx if name == "errors-4xx" else observed.errors_5xx
    return percent(errors / observed.requests)


def percent(rate: float) -> str:
    if 0 < rate < 0.0001:
        return "< 0.01 %"
    if rate < 0.01:
        return f"{100 * rate:.2g} %"
    return f"{100 * rate:.1f} %" if rate < 0.1 else f"{100 * rate:.0f} %"


def seconds(observed: Observed) -> float:
    began, ended = datetime.fromisoformat(observed.since), datetime.fromisoformat(observed.until)
    return max(0.0, (ended - began).total_seconds())


def together(parts: Iterable[Observed]) -> Observed:
    """Several spans, in their order and at least one, as one."""
    spans = list(parts)
    kinds: dict[str, Raised] = {}
    for raised in (raised for span in spans for raised in span.exceptions):
        earlier = kinds[raised.fingerprint].count if raised.fingerprint in kinds else 0
        kinds[raised.fingerprint] = Raised(
            fingerprint=raised.fingerprint, title=raised.title, count=earlier + raised.count
        )
    return Observed(
        since=spans[0].since,
        until=spans[-1].until,
        requests=sum(span.requests for span in spans),
        errors_4xx=sum(span.errors_4xx for span in spans),
        errors_5xx=sum(span.errors_5xx for span in spans),
        latencies=tuple(map(sum, zip(*(span.latencies for span in spans), strict=True))),
        exceptions=tuple(kinds.values()),
        restarts=sum(span.restarts for span in spans),
    )
