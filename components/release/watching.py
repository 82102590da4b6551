"""What the time after a release says of it, beside the hour before: the verdict and its entries. Pure.

`measures.py` says what is counted and what it may reach, `evidence.py` whether it is more than that: each
look is free, and of a hundred releases that are no worse at most one is called worse. Figures: docs/watch.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import groupby, pairwise
from typing import Any, Literal

from components.release.evidence import BLOCKS, Rise, evidence, trials_to_see
from components.release.measures import (
    ALPHA,
    RULES,
    VISITORS_CAUSE,
    Comparison,
    Name,
    comparisons,
    described,
    percent,
    percentile,
    seconds,
    together,
)
from components.release.messages import PHRASES
from components.target import Observed

Verdict = Literal["quiet", "breached", "too little traffic", "not measured"]
Point = tuple[int, int, int, int, int | None]  # seconds since the start, requests, 4xx, 5xx, p95 in ms

BEFORE, PARTS = timedelta(minutes=60), 12
SETTLING = timedelta(seconds=30)
RISE = 0.05  # of 5xx responses above their limit: a watch that may have missed it saw too little
POINTS = 120  # of the curve, at most
KINDS = 10  # of exceptions that are told


@dataclass(frozen=True, kw_only=True)
class Spans:
    """What is compared: the time before, as parts from one moment to another, with `since` to `until`."""

    before: tuple[tuple[datetime, datetime], ...]
    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`found` and `before` have their unit. Of a measure that is breached, `found` is what it rose to."""

    found: str
    before: str
    limit: float  # the rate, see measures.py
    evidence: float  # as a share of an alarm, the most that any look had
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
    """Of the time so far; that of the whole time is the final one."""

    verdict: Verdict
    why: str  # one sentence
    requests: int
    seconds: float
    measures: Mapping[Name, Measured]
    curve: tuple[Point, ...]
    exceptions: tuple[Kind, ...]  # new kinds first, then the most frequent
    restarts: int

    @property
    def breached(self) -> tuple[Name, ...]:
        return tuple(name for name, measure in self.measures.items() if measure.breached)

    def goes_back(self, unasked: Collection[str] = ()) -> bool:
        """Whether something is breached that no visitor can bring about, and is not `unasked`."""
        return not VISITORS_CAUSE.issuperset(set(self.breached) - set(unasked))

    def unseen(self, fault: str) -> Judgement:
        """Where the target could not be asked to the end: what came then may be anything but good."""
        if self.breached:
            return self
        return replace(self, verdict="not measured", why=f"It was not seen to the end: {fault.rstrip('.')}.")

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
        """The data of the entry `watch done`. `cut_short`: another release takes its place by now."""
        told = {"verdict": self.verdict, "why": self.why}
        if cut_short and self.verdict != "breached":
            why = f"Another release took its place after {self.seconds / 60:.0f} minutes."
            told = {"verdict": "cut short", "why": why}
        return {
            **told,
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
    """What is compared for a release: not the release itself, nor the moments around it.

    The parts of the time before begin with a minute, since some targets count by whole ones.
    """
    settling = min(SETTLING, timedelta(minutes=minutes) / 20)
    end = opened_at - settling
    minute = end.replace(second=0, microsecond=0)
    ends = [*(minute - BEFORE / PARTS * number for number in range(PARTS, 0, -1)), end]
    return Spans(
        before=tuple(pairwise(ends)),
        since=closed_at + settling,
        until=closed_at + timedelta(minutes=minutes),
    )


def started(before: Sequence[Observed], *, until: datetime, minutes: float) -> dict[str, Any]:
    """The data of the entry `watch started`. `before`: the parts of the time before, see `spans`."""
    whole = together(before) if before else None
    measures = {name: described(name, whole) for name in RULES}
    requests = whole.requests if whole else 0
    return {"until": until.isoformat(), "minutes": minutes, "before": {"requests": requests, **measures}}


def judge(
    before: Sequence[Observed],
    since: Sequence[Observed],
    *,
    minutes: float,
    already: Collection[str] = (),
) -> Judgement:
    """What the time since a release says of it.

    `before` and `since` are parts in their order: of the time before a dozen, see `spans`, or none; since
    then of some seconds each, as in a long one an outage cannot be told from errors that go on. `minutes` is
    how long the whole watch is. What `already` was breached stays so.
    """
    parts = _divided(since, minutes, BLOCKS)
    whole = together(since) if since else None
    earlier = together(before) if before else None
    compared = comparisons(before)
    measures: dict[Name, Measured] = {
        name: _measured(
            name,
            [each for each in compared if each.name == name],
            earlier,
            parts,
            minutes=minutes,
            already=name in already,
        )
        for name in RULES
    }
    requests = whole.requests if whole else 0
    verdict, why = _verdict(measures, requests, next(each for each in compared if each.name == "errors-5xx"))
    return Judgement(
        verdict=verdict,
        why=why,
        requests=requests,
        seconds=seconds(whole) if whole else 0.0,
        measures=measures,
        curve=tuple(_point(since[0], part) for part in _divided(since, minutes, POINTS)),
        exceptions=_kinds(earlier, whole),
        restarts=whole.restarts if whole else 0,
    )


def extended(since: Sequence[Observed], part: Observed, *, minutes: float) -> list[Observed]:
    """With one more part, but of what is judged together anyway only one: a long watch costs no more."""
    number = math.lcm(BLOCKS, POINTS)
    place = partial(_place, since[0] if since else part, timedelta(minutes=minutes) / number, number)
    if since and place(since[-1]) == place(part):
        return [*since[:-1], together([since[-1], part])]
    return [*since, part]


def _divided(since: Sequence[Observed], minutes: float, number: int) -> list[Observed]:
    """At most `number` parts; one that is past stays as it is, however long the watch goes on."""
    if not since:
        return []
    place = partial(_place, since[0], timedelta(minutes=minutes) / number, number)
    return [together(parts) for _, parts in groupby(since, place)]


def _place(first: Observed, length: timedelta, number: int, part: Observed) -> int:
    after = datetime.fromisoformat(part.since) - datetime.fromisoformat(first.since)
    return min(number - 1, int(after / length))


def _measured(
    name: Name,
    compared: Sequence[Comparison],
    before: Observed | None,
    parts: Sequence[Observed],
    *,
    minutes: float,
    already: bool,
) -> Measured:
    persistence = min(RULES[name].persistence, 6 * minutes)  # a tenth of a short watch

    def rise(comparison: Comparison) -> Rise:
        blocks = [comparison.block(part) for part in parts]
        return evidence(blocks, comparison.limit, alpha=ALPHA, persistence=persistence)

    highest, comparison = max(((rise(each), each) for each in compared), key=lambda pair: pair[0].share)
    breached = highest.share >= 1 or already
    told = parts[highest.first : highest.last + 1] if breached else parts
    return Measured(
        found=described(name, together(told) if told else None),
        before=described(name, before),
        limit=comparison.limit,
        evidence=highest.share,
        breached=breached,
    )


def _verdict(measures: Mapping[Name, Measured], requests: int, errors_5xx: Comparison) -> tuple[Verdict, str]:
    if breached := [(name, measure) for name, measure in measures.items() if measure.breached]:
        worse = "; ".join(
            f"{PHRASES['en'][name]} is {measure.found}, before the release {measure.before}"
            for name, measure in breached
        )
        return "breached", f"{worse[0].upper()}{worse[1:]}."
    risen = percent(errors_5xx.limit + RISE)
    needed = round(errors_5xx.cluster * _trials_to_see_a_rise(errors_5xx.limit))
    if requests < needed:
        return "too little traffic", (
            f"With {requests} requests a rise of 5xx responses to {risen} could have been missed; "
            f"it takes about {needed}."
        )
    return (
        "quiet",
        f"Nothing rose; in {requests} requests a rise of 5xx responses to {risen} would have shown.",
    )


@cache
def _trials_to_see_a_rise(limit: float) -> int:
    return trials_to_see(limit + RISE, limit, ALPHA)


def _point(first: Observed, part: Observed) -> Point:
    after = datetime.fromisoformat(part.since) - datetime.fromisoformat(first.since)
    return (
        round(after.total_seconds()),
        part.requests,
        part.errors_4xx,
        part.errors_5xx,
        percentile(0.95, part),
    )


def _kinds(before: Observed | None, whole: Observed | None) -> tuple[Kind, ...]:
    earlier = {raised.fingerprint: raised.count for raised in before.exceptions} if before else {}
    kinds = [
        Kind(
            fingerprint=raised.fingerprint,
            title=raised.title,
            count=raised.count,
            before=earlier.get(raised.fingerprint, 0),
        )
        for raised in (whole.exceptions if whole else ())
    ]
    return tuple(sorted(kinds, key=lambda kind: (kind.before > 0, -kind.count, kind.fingerprint))[:KINDS])
