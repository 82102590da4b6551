"""What is compared before and after a release: how each measure counts, may reach, and reads. Pure.

A measure is a rate: of requests that ended in an error or took longer than before, of exceptions for a
request, of restarts for a second. Its limit is what the rate before may really have been, since an hour is a
sample, or that rate and a rise that is tolerated, whichever is more; but at most the measure's ceiling. So an
outage in the hour before excuses nothing, and where next to nothing is known of before, the ceiling is the
limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from components.release.evidence import Block, is_above, unevenness, upper_bound
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
    "errors-5xx": Rule(tolerated=0.005, ceiling=0.03, persistence=40),
    "exceptions": Rule(tolerated=0.005, ceiling=0.1, persistence=40),
    # Caches are cold after a release.
    "latency": Rule(tolerated=0.1, ceiling=0.5, persistence=300),
    "restarts": Rule(tolerated=2 / 3600, ceiling=12 / 3600, persistence=40),
}

VISITORS_CAUSE: frozenset[Name] = frozenset({"errors-4xx", "latency"})
"""What a crowd, or anybody who wants to, brings about: told as each breach is, but not gone back from."""

PERCENTILES = (0.75, 0.95)  # of latency
QUICK, SLOW, UNKNOWN = 100, 2000, 1000  # milliseconds
CLUSTER = 10.0  # errors that come together count as one if they are not more than so many
FALSE_ALARMS = 0.01  # at most, of releases that are no worse
COMPARISONS = 7
ALPHA = FALSE_ALARMS / COMPARISONS / 2
"""Of one comparison: half of its share is the risk that the rate before is underestimated."""

Count = Callable[[Observed], tuple[int, float]]
"""The events of a span, and the trials among which they were."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`limit` is what the rate may reach; `cluster` how many events tell as much as one by itself."""

    name: Name
    count: Count
    limit: float
    cluster: float

    def block(self, observed: Observed) -> Block:
        return _block(self.count, observed, cluster=self.cluster)


def comparisons(before: Sequence[Observed]) -> tuple[Comparison, ...]:
    """One for each measure, but two for exceptions and for latency.

    Of exceptions there are kinds that were there before, and new ones. How often a new kind would have come
    without a release is told by those that came once in the time before ("Good-Turing frequency estimation"):
    where each exception is another kind, new ones are no news. Slower than 95 % of the requests before may be
    none, where a few were always slow; so slower than 75 % of them is asked for as well.
    """
    seen = Counter({kind.fingerprint: kind.count for kind in together(before).exceptions} if before else {})
    slow = [slower_than(share, together(before) if before else None) for share in PERCENTILES]

    def of_kinds(wanted: Callable[[str], bool]) -> Count:
        return lambda observed: (
            sum(kind.count for kind in observed.exceptions if wanted(kind.fingerprint)),
            _occasions(observed),
        )

    def slower(milliseconds: int) -> Count:
        first = LATENCY_BOUNDS.index(milliseconds) + 1
        return lambda observed: (sum(observed.latencies[first:]), sum(observed.latencies))

    new, once = of_kinds(lambda kind: not seen[kind]), of_kinds(lambda kind: seen[kind] == 1)
    return (
        _compare("errors-4xx", before, lambda observed: (observed.errors_4xx, observed.requests)),
        _compare("errors-5xx", before, lambda observed: (observed.errors_5xx, observed.requests)),
        _compare("exceptions", before, of_kinds(lambda kind: seen[kind] > 0)),
        _compare("exceptions", before, new, count_before=once),
        *(_compare("latency", before, slower(milliseconds)) for milliseconds in slow),
        _compare("restarts", before, lambda observed: (observed.restarts, seconds(observed))),
    )


def _compare(
    name: Name, before: Sequence[Observed], count: Count, *, count_before: Count | None = None
) -> Comparison:
    """Parts of the time before that were certainly above the ceiling were an outage, and are left out."""
    rule = RULES[name]
    blocks = [
        block
        for block in (_block(count_before or count, part) for part in before)
        if not is_above(block, rule.ceiling, ALPHA)
    ]
    cluster = min(CLUSTER, unevenness(blocks))
    events, trials = sum(block.events for block in blocks), sum(block.trials for block in blocks)
    at_most = upper_bound(events / cluster, trials / cluster, ALPHA)
    tolerated = events / trials + rule.tolerated if trials else rule.ceiling
    return Comparison(
        name=name, count=count, limit=min(max(at_most, tolerated), rule.ceiling), cluster=cluster
    )


def _block(count: Count, observed: Observed, *, cluster: float = 1.0) -> Block:
    events, trials = count(observed)
    return Block(events=min(events, trials) / cluster, trials=trials / cluster, seconds=seconds(observed))


def _occasions(observed: Observed) -> float:
    """For exceptions: requests, or seconds where those are more, since a worker needs no request to fail."""
    return max(observed.requests, seconds(observed))


def slower_than(share: float, before: Observed | None) -> int:
    """Milliseconds above which a request is slow: the class that this share of those before was within.

    But at least 100, which nobody notices, and at most 2000; 1000 where there were no requests.
    """
    within = percentile(share, before) if before else None
    return UNKNOWN if within is None else min(max(within, QUICK), SLOW)


def percentile(share: float, observed: Observed) -> int | None:
    """Milliseconds: the upper end of its class, 1 above the last one if slower; None without requests."""
    left = share * sum(observed.latencies)
    if not left:
        return None
    for bound, count in zip(LATENCY_BOUNDS, observed.latencies, strict=False):
        left -= count
        if left <= 0:
            return bound
    return LATENCY_BOUNDS[-1] + 1


def described(name: Name, observed: Observed | None) -> str:
    """What the measure was, for people of any language; "-" where there was nothing to measure it by."""
    if observed is None:
        return "-"
    if name == "restarts":
        length = seconds(observed)
        span = f"{length:.0f} s" if length < 60 else f"{length / 60:.0f} min"
        return f"{observed.restarts} ({span})"
    if name == "exceptions":
        count = sum(raised.count for raised in observed.exceptions)
        return f"{count} ({percent(count / observed.requests)})" if observed.requests else str(count)
    if not observed.requests:
        return "-"
    if name == "latency":
        return ", ".join(f"p{100 * share:.0f} {_milliseconds(share, observed)}" for share in PERCENTILES)
    errors = observed.errors_4xx if name == "errors-4xx" else observed.errors_5xx
    return percent(errors / observed.requests)


def _milliseconds(share: float, observed: Observed) -> str:
    within = percentile(share, observed)
    if within is None:
        return "-"
    return f"{within} ms" if within <= LATENCY_BOUNDS[-1] else f"> {LATENCY_BOUNDS[-1]} ms"


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
