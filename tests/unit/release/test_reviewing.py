"""What is called stable after a release, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.release.reviewing import Counts, Judged, judge, overall, spans

EXAMPLES = settings(max_examples=40, deadline=None)
COUNT = st.integers(0, 5000)
WEEKS = st.lists(st.tuples(COUNT, COUNT), min_size=1, max_size=6)


def counts(after: int, before: int, *pairs: tuple[int, int]) -> Counts:
    """`pairs`: of each week, newest first, what the same span had and the one before it."""
    return Counts(
        after=after,
        before=before,
        weeks=tuple(pair[0] for pair in pairs),
        weeks_before=tuple(pair[1] for pair in pairs),
    )


def judged(after: int, before: int, *pairs: tuple[int, int]) -> Judged:
    return judge(counts(after, before, *pairs), tolerance_percent=20)


STEADY = ((1010, 990), (985, 1020), (1002, 995), (1000, 1012))
SATURDAY = ((480, 1010), (500, 995), (510, 1000), (495, 985))
GROWING = ((900, 880), (810, 790), (730, 715), (655, 640))
HOLIDAY = ((1010, 990), (180, 1020), (1002, 995), (1000, 1012))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (judged(980, 1000, *STEADY), "stable"),
        (judged(700, 1000, *STEADY), "not stable"),
        (judged(1400, 1000, *STEADY), "not stable"),
        (judged(0, 1000, *STEADY), "not stable"),
        (judged(500, 1000, *SATURDAY), "stable"),
        (judged(330, 1000, *SATURDAY), "not stable"),
        (judged(1000, 500, *[(before, after) for after, before in SATURDAY]), "stable"),
        (judged(1000, 980, *GROWING), "stable"),
        (judged(600, 980, *GROWING), "not stable"),
        (judged(1000, 0, *STEADY), "stable"),
        (judged(950, 1000, *HOLIDAY), "stable"),
        (judged(650, 1000, *HOLIDAY), "not stable"),
        (judged(650, 200, *STEADY), "not stable"),
        (judged(1000, 0, (990, 0), (1010, 0)), "stable"),
        (judged(600, 1000, (1000, 1000), (0, 0), (0, 0), (0, 0)), "not stable"),
        (judged(14, 20, (19, 21), (22, 18), (20, 20), (17, 23)), "not enough data"),
        (judged(0, 20, (19, 21), (22, 18), (20, 20), (17, 23)), "not stable"),
        (judged(90, 1, (1, 2), (0, 1), (1, 0), (2, 1)), "not stable"),
        (judged(700, 1000), "not stable"),
        (judged(950, 1000), "stable"),
        (judged(1000, 0), "not enough data"),
        (judged(1000, 1000, (0, 0), (0, 0)), "not enough data"),
        (judged(0, 0, (0, 0)), "not enough data"),
    ],
    ids=[
        "as ever",
        "a fall of 30 % on a thousand",
        "a rise",
        "nothing any more",
        "a Saturday like every Saturday",
        "a Saturday that is less than others",
        "a Monday after a Sunday",
        "growth that goes on",
        "growth that breaks off",
        "an outage before the release is not what is expected after it",
        "as ever, and a holiday among the weeks",
        "a fall that a holiday among the weeks does not hide",
        "a fall that a holiday before the release does not hide",
        "a day that follows on one without any",
        "a fall where only one week is known",
        "a fall of 30 % on twenty",
        "nothing of twenty any more",
        "ninety where there was next to none",
        "a fall without a weekly pattern",
        "as ever without a weekly pattern",
        "nothing known without a weekly pattern",
        "nothing known of any week",
        "nothing ever",
    ],
)
def test_a_volume_is_judged_by_the_same_time_of_the_week_and_the_level_of_this_one(
    found: Judged, verdict: str
) -> None:
    assert found.verdict == verdict


def test_it_is_said_by_how_much() -> None:
    told = judged(700, 1000, *STEADY)
    assert told.change_percent == pytest.approx(-30, abs=1)
    assert (told.found, told.before, told.weeks) == (700, 1000, (1010, 985, 1002, 1000))
    assert told.low is not None
    assert told.high is not None
    assert 700 < told.low < 1000 < told.high < 1400


def test_a_change_within_the_tolerance_is_stable_however_certain() -> None:
    pairs = [(1_000_000, 1_000_000)] * 8
    steady = counts(690_000, 1_000_000, *pairs)
    assert judge(steady, tolerance_percent=20).verdict == "not stable"
    assert judge(steady, tolerance_percent=35).verdict == "stable"


@EXAMPLES
@given(COUNT, COUNT, WEEKS)
def test_what_is_expected_is_within_its_own_spread(after: int, before: int, weeks) -> None:
    told = judged(after, before, *weeks)
    if told.expected is not None and told.low is not None and told.high is not None:
        assert 0 <= told.low <= told.expected <= told.high < float("inf")
    else:
        assert told.verdict == "not enough data"


@EXAMPLES
@given(COUNT, WEEKS, st.integers(0, 5))
def test_what_one_of_the_weeks_has_had_is_never_called_unstable(before: int, weeks, which: int) -> None:
    """But for holidays, which are told apart by the span before them, and weeks before the first data."""
    weeks = [(after, after) for after, _ in weeks]
    known = weeks[: max((place for place, pair in enumerate(weeks, 1) if any(pair)), default=0)]
    assume(known)
    after = known[which % len(known)][0]
    assert judged(after, before, *weeks).verdict != "not stable"


@EXAMPLES
@given(COUNT, COUNT, COUNT, WEEKS)
def test_a_deeper_fall_is_never_more_stable(one: int, other: int, before: int, weeks) -> None:
    less, more = sorted((one, other))
    told = judged(more, before, *weeks)
    if told.verdict == "not stable" and told.change_percent is not None and told.change_percent < 0:
        assert judged(less, before, *weeks).verdict == "not stable"


@EXAMPLES
@given(COUNT, COUNT, WEEKS.filter(lambda weeks: all(any(pair) for pair in weeks)))
def test_the_order_of_the_weeks_says_nothing(after: int, before: int, weeks) -> None:
    one, other = judged(after, before, *weeks), judged(after, before, *reversed(weeks))
    assert (one.verdict, one.expected) == (other.verdict, other.expected)


@EXAMPLES
@given(st.integers(500, 5000), st.integers(1, 6))
def test_a_volume_that_is_always_the_same_is_stable_and_its_half_is_not(count: int, weeks: int) -> None:
    pairs = [(count, count)] * weeks
    assert judged(count, count, *pairs).verdict == "stable"
    assert judged(count // 2, count, *pairs).verdict == "not stable"


def test_the_worst_volume_is_the_review() -> None:
    def review(*verdicts) -> str:
        return overall({str(number): Judged(verdict=one) for number, one in enumerate(verdicts)})

    assert review("stable", "not measured", "not stable") == "not stable"
    assert review("stable", "not measured") == "not measured"
    assert review("not enough data", "stable") == "stable"
    assert review("not enough data") == "not enough data"


def test_spans_are_as_long_as_the_one_after_the_release_and_leave_the_release_out() -> None:
    opened, closed = datetime(2026, 11, 24, 12, tzinfo=UTC), datetime(2026, 11, 24, 13, tzinfo=UTC)
    found = spans(opened_at=opened, closed_at=closed, until=closed + timedelta(hours=24), weeks=2)
    assert found.after == (closed, closed + timedelta(hours=24))
    assert found.before == (opened - timedelta(hours=24), opened)
    assert [span[0].isoformat()[:13] for span in found.weeks] == ["2026-11-17T13", "2026-11-10T13"]
    assert [span[1].isoformat()[:13] for span in found.weeks_before] == ["2026-11-17T12", "2026-11-10T12"]
    assert Counts.of(range(6)) == Counts(after=0, before=1, weeks=(2, 3), weeks_before=(4, 5))
    assert len(found.all()) == 6
