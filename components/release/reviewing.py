"""Whether volumes of data are stable after a release: spans, what was to be expected, the verdict. Pure.

Expected is what the same time of the week had in the weeks before, by the level of this week: how the span
before the release compares with the same one of those weeks. Of that comparison as much is believed as it is
worth (credibility theory, Bühlmann's estimator), so that a quiet day before is no forecast of a quiet day
after. A count varies by chance (Poisson), and days and weeks differ from each other by more than that: by how
much is learned from the weeks, beginning with an ordinary difference. Figures: docs/review.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from statistics import NormalDist, fmean, median, variance
from typing import Any, Literal

Span = tuple[datetime, datetime]
Verdict = Literal["stable", "not stable", "not enough data", "not measured"]

WEEK = timedelta(weeks=1)
FALSE_ALARMS = 0.01  # of stable volumes; half of them falls
LIMIT = NormalDist().inv_cdf(1 - FALSE_ALARMS / 2)
SEEN = 0.5  # a volume is called stable only where a fall to this share of what was expected would be seen
ORDINARY = 0.05  # by which a day, and a week, ordinarily differs from what it should be; as a share
BELIEVED = 4  # so many weeks of one's own weigh as much as what is ordinary


@dataclass(frozen=True, kw_only=True)
class Spans:
    """What is counted for a release, each as long as `after`; `weeks` are those of `after`, newest first."""

    after: Span
    before: Span
    weeks: tuple[Span, ...]
    weeks_before: tuple[Span, ...]  # those of `before`

    def all(self) -> tuple[Span, ...]:
        return (self.after, self.before, *self.weeks, *self.weeks_before)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the spans had, in their order."""

    after: int
    before: int
    weeks: tuple[int, ...]
    weeks_before: tuple[int, ...]

    @classmethod
    def of(cls, found: Sequence[int]) -> Counts:
        after, before, *rest = found
        half = len(rest) // 2
        return cls(after=after, before=before, weeks=tuple(rest[:half]), weeks_before=tuple(rest[half:]))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Of one volume. From `low` to `high` it may have come by chance; `error`: why nothing was counted."""

    verdict: Verdict
    found: int | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    before: int | None = None
    weeks: tuple[int, ...] = ()
    change_percent: float | None = None
    error: str | None = None

    def data(self) -> dict[str, Any]:
        """Of the entry `review done`."""
        return {**asdict(self), "weeks": list(self.weeks)}


def spans(*, opened_at: datetime, closed_at: datetime, until: datetime, weeks: int) -> Spans:
    """Those of a release, to be reviewed over the time from its end until `until`, of at most a week."""
    after = (closed_at, until)
    before = (opened_at - (until - closed_at), opened_at)

    def earlier(span: Span) -> tuple[Span, ...]:
        return tuple((span[0] - WEEK * number, span[1] - WEEK * number) for number in range(1, weeks + 1))

    return Spans(after=after, before=before, weeks=earlier(after), weeks_before=earlier(before))


def judge(counts: Counts, *, tolerance_percent: float) -> Judged:
    """Not stable is what is outside the spread, and further from what was expected than is tolerated."""
    told = {"found": counts.after, "before": counts.before, "weeks": counts.weeks}
    forecast = _forecast(counts)
    if forecast is None:
        return Judged(verdict="not enough data", **told)
    expected, (lowest, highest) = forecast.expected, forecast.within()
    # What such a span usually had is no news, whatever the model makes of it.
    low, high = min(lowest, *forecast.weeks, expected), max(highest, *forecast.weeks, expected)
    change = 100 * (counts.after - expected) / expected
    verdict: Verdict = "stable" if lowest > expected * SEEN else "not enough data"
    if not low <= counts.after <= high and abs(change) > tolerance_percent:
        verdict = "not stable"
    return Judged(
        verdict=verdict,
        expected=round(expected, 1),
        low=round(low, 1),
        high=round(high, 1),
        change_percent=round(change, 1),
        **told,
    )


def overall(volumes: Mapping[str, Judged]) -> Verdict:
    """Of a review: its worst. That of some volumes there is not enough data does not unsettle the others."""
    found = {volume.verdict for volume in volumes.values()}
    order: tuple[Verdict, ...] = ("not stable", "not measured", "stable", "not enough data")
    return next(verdict for verdict in order if verdict in found)


# -- inside ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class _Forecast:
    """`known` and `learned` are variances as a share of what is expected, squared, without the count's own.

    `weight`: how many degrees of freedom the learned one has.
    """

    expected: float
    weeks: tuple[int, ...]  # what those had that it follows from
    known: float
    learned: float
    weight: int

    def within(self) -> tuple[float, float]:
        """What a count may be.

        The transformation makes its variance, m + (spread m)², the same everywhere: that of the negative
        binomial distribution (Anscombe 1948), whose tails it follows better where counts are small.
        """
        chance = 1 / self.expected + self.known
        freedom = self.weight * ((chance + self.learned) / self.learned) ** 2  # Welch and Satterthwaite
        limit, spread = _quantile_of_t(freedom), math.sqrt(self.known + self.learned)
        middle = math.asinh(spread * math.sqrt(self.expected + 0.375)) / spread
        low, high = (max(0.0, middle + shift) for shift in (-limit / 2, limit / 2))
        return _count(low, spread), _count(high, spread)


def _forecast(counts: Counts) -> _Forecast | None:
    """None: too little is known."""
    if not counts.weeks and counts.before:  # a stack that has no weekly pattern
        learned = 2 * ORDINARY**2
        return _Forecast(
            expected=counts.before, weeks=(), known=1 / counts.before, learned=learned, weight=BELIEVED
        )
    weeks = _usual(list(zip(counts.weeks, counts.weeks_before, strict=True)))
    after, before = sum(pair[0] for pair in weeks), sum(pair[1] for pair in weeks)
    if not after:
        return None
    number = len(weeks)
    levels = _learned(_beyond_chance([sum(pair) for pair in weeks]), number - 1)
    days = _learned(_beyond_pattern(weeks, after / (after + before)), number - 1)
    if not before or _unlike(counts.before, before / number, 1.0):
        believed = 0.0  # an outage or a holiday: no level
    else:
        believed = levels / (levels + days + number / before)
    level = 1 + believed * (counts.before * number / before - 1) if before else 1.0
    return _Forecast(
        expected=after / number * level,
        weeks=tuple(pair[0] for pair in weeks),
        known=1 / after + (believed**2 / before if before else 0.0),
        # of the day itself, of this week's level, and of both in the weeks that make the pattern
        learned=days * (1 + (1 + believed**2) / number)
        + levels * ((1 - believed) + (1 - believed) ** 2 / number),
        weight=BELIEVED + number - 1,
    )


def _usual(weeks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without those before the first data, and without those that a holiday or an outage has torn apart."""
    while weeks and not any(weeks[-1]):
        weeks.pop()
    ratio = median((one + 0.5) / (other + 0.5) for one, other in weeks) if weeks else 1.0
    return [pair for pair in weeks if not _unlike(*pair, ratio)]


def _unlike(one: float, other: float, ratio: float) -> bool:
    """Whether one is more than twice or less than half of `ratio` times the other, and not by chance."""
    chance = math.sqrt(1 / (one + 0.5) + 1 / (other + 0.5))
    return abs(math.log((one + 0.5) / (other + 0.5) / ratio)) > max(math.log(2), 4 * chance)


def _beyond_chance(counts: Sequence[int]) -> float | None:
    """The variance of what is behind these counts, as a share of it, squared. None: one tells nothing."""
    if len(counts) < 2:
        return None
    mean = fmean(counts)
    return max(0.0, variance(counts) - mean) / mean**2


def _beyond_pattern(weeks: Sequence[tuple[int, int]], share: float) -> float | None:
    """The same of a day within its week, by Pearson's chi-squared. `share`: of the first of each pair."""
    full = [pair for pair in weeks if any(pair)]
    if len(full) < 2 or not 0 < share < 1:
        return None
    odds = share * (1 - share)
    chi = sum((pair[0] - sum(pair) * share) ** 2 / (sum(pair) * odds) for pair in full)
    return max(0.0, chi / (len(full) - 1) - 1) / (fmean(map(sum, full)) * odds) / 2


def _learned(found: float | None, weight: int) -> float:
    """With what is ordinary, which counts for a few weeks."""
    if found is None:
        return ORDINARY**2
    return (BELIEVED * ORDINARY**2 + weight * found) / (BELIEVED + weight)


def _quantile_of_t(freedom: float) -> float:
    """By Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5), from 4 degrees of freedom on."""
    z = LIMIT
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _count(transformed: float, spread: float) -> float:
    return max(0.0, (math.sinh(spread * transformed) / spread) ** 2 - 0.375)
