from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.azure.observing import whole_minutes
from components.release.measures import RULES
from components.release.watching import Judgement, extended, judge, spans, started
from components.target import Observed
from tests.unit.release.observations import hour_before, looks, seen

HOUR = hour_before(requests=600, errors_5xx=1)


def judged(since: Sequence[Observed], before: Sequence[Observed] = HOUR, minutes: float = 60) -> Judgement:
    return judge(before, since, minutes=minutes)


def test_quiet_hours_are_called_quiet() -> None:
    verdicts = [judged(looks(random.Random(seed), 0.002)).verdict for seed in range(10)]
    assert verdicts == ["quiet"] * 10


@pytest.mark.parametrize(("rate", "requests"), [(0.02, 3000), (0.05, 600), (0.2, 150)])
def test_errors_of_a_release_are_seen_in_time(rate: float, requests: int) -> None:
    for seed in range(10):
        since = looks(random.Random(seed), rate, number=requests // 30)
        assert judged(since).breached == ("errors-5xx",)


def test_the_first_breach_tells_what_it_is_against_what_it_was() -> None:
    judgement = judged([seen(15 * at, requests=100, errors_5xx=5) for at in range(6)])
    assert judgement.breach("errors-5xx") == {
        "measure": "errors-5xx",
        "found": "5.0 %",
        "before": "0.17 %",
        "requests": 600,
        "after_seconds": 90.0,
    }
    assert judgement.why == "The rate of 5xx responses is 5.0 %, before the release 0.17 %."


def test_a_late_breach_tells_what_it_rose_to_not_the_mean_of_the_hour() -> None:
    since = [seen(15 * at, requests=100, errors_5xx=20 * (at >= 200)) for at in range(220)]
    assert judged(since).measures["errors-5xx"].found == "20 %"


@pytest.mark.parametrize(
    ("each", "measure"),
    [
        ({"errors_4xx": 25}, "errors-4xx"),
        ({"errors_5xx": 5}, "errors-5xx"),
        ({"exceptions": [("new", 5)]}, "exceptions"),
        ({"slow": 50}, "latency"),
        ({"restarts": 1}, "restarts"),
    ],
)
def test_each_measure_is_watched_and_blames_no_other(each: dict, measure: str) -> None:
    judgement = judged([seen(15 * at, requests=100, **each) for at in range(120)])
    assert judgement.verdict == "breached"
    assert judgement.breached == (measure,)


def test_a_known_exception_that_comes_more_often_is_a_breach_and_one_that_does_not_is_none() -> None:
    before = [seen(300 * at - 3600, seconds=300, requests=600, exceptions=[("old", 12)]) for at in range(12)]
    since = {
        count: [seen(15 * at, requests=100, exceptions=[("old", count)]) for at in range(60)]
        for count in (2, 8)
    }
    assert judged(since[2], before).breached == ()
    assert judged(since[8], before).breached == ("exceptions",)


def test_a_release_that_is_faster_is_no_breach() -> None:
    slow = hour_before(requests=600, slow=600)
    assert judged([seen(15 * at, requests=100) for at in range(240)], slow).verdict == "quiet"


def test_one_client_that_looks_for_holes_is_no_breach_and_a_path_that_is_gone_is_one() -> None:
    def hour(scanned: range, asked: int) -> list[Observed]:
        return [
            seen(15 * at, requests=30 + asked * (at in scanned), errors_4xx=asked * (at in scanned))
            for at in range(240)
        ]

    assert judged(hour(range(60, 68), 300)).verdict == "quiet"
    assert judged(hour(range(60, 240), 10)).breached == ("errors-4xx",)


def test_an_outage_of_some_seconds_is_no_breach_and_one_that_goes_on_is() -> None:
    def hour(down: range) -> list[Observed]:
        return [seen(15 * at, requests=100, errors_5xx=100 * (at in down)) for at in range(240)]

    assert judged(hour(range(60, 62))).verdict == "quiet"
    assert judged(hour(range(60, 66))).breached == ("errors-5xx",)


def test_workers_that_restart_together_are_no_breach_and_a_crash_loop_is() -> None:
    together = [seen(15 * at, requests=100, restarts=8 * (at == 60)) for at in range(240)]
    loop = [seen(15 * at, requests=100, restarts=at % 4 == 3) for at in range(120)]
    assert judged(together).verdict == "quiet"
    assert judged(loop).breached == ("restarts",)


def test_an_outage_before_the_release_does_not_hide_errors_after_it() -> None:
    down = hour_before(requests=600, errors_5xx=400)
    assert judged([seen(15 * at, requests=100, errors_5xx=8) for at in range(60)], down).verdict == "breached"


def test_a_first_release_is_held_to_the_ceilings() -> None:
    ill, well = ([seen(15 * at, requests=100, errors_5xx=errors) for at in range(60)] for errors in (8, 1))
    assert judged(ill, []).breached == ("errors-5xx",)
    assert judged(well, []).verdict == "quiet"
    assert judged(ill, []).breach("errors-5xx")["before"] == "-"


def test_few_requests_prove_nothing_and_it_is_said_how_many_would() -> None:
    few = judged([seen(15 * at, requests=1) for at in range(40)])
    assert few.verdict == "too little traffic"
    needed = int(few.why.rpartition("about ")[2].removesuffix("."))
    assert 100 < needed < 400
    assert judged([seen(15 * at, requests=1) for at in range(needed - 1)][:239]).verdict != "breached"
    enough = [seen(15 * at, requests=needed // 100 + 1) for at in range(100)]
    assert judged(enough).verdict == "quiet"


def test_what_was_enough_is_enough_to_see_the_rise_that_is_named() -> None:
    few = judged([])
    needed = int(few.why.rpartition("about ")[2].removesuffix("."))
    rise = float(few.why.partition(" to ")[2].partition(" %")[0]) / 100
    rng = random.Random(6)
    each = needed // 100 + 1
    found = sum(judged(looks(rng, rise, number=100, requests=each)).verdict == "breached" for _ in range(20))
    assert found >= 16


@pytest.mark.parametrize(
    ("each", "back"),
    [({"errors_4xx": 30}, False), ({"slow": 90}, False), ({"errors_5xx": 5, "slow": 90}, True), ({}, False)],
)
def test_what_a_visitor_can_bring_about_is_no_reason_to_go_back(each: dict, back: bool) -> None:
    judgement = judged([seen(15 * at, requests=100, **each) for at in range(120)])
    assert judgement.goes_back() is back
    assert bool(judgement.breached) is bool(each)


def test_no_time_at_all_is_too_little_traffic() -> None:
    judgement = judged([], [])
    assert (judgement.verdict, judgement.seconds, judgement.curve) == ("too little traffic", 0.0, ())


def test_a_breach_in_the_record_stays_one() -> None:
    judgement = judge(HOUR, looks(random.Random(6), 0.002), minutes=60, already=("latency",))
    assert judgement.verdict == "breached"
    assert judgement.breached == ("latency",)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=60))
@settings(max_examples=25, deadline=None)
def test_a_breach_at_one_look_is_one_at_each_later(counted: list[tuple[int, int]]) -> None:
    since = [
        seen(15 * at, requests=well + errors, errors_5xx=errors) for at, (well, errors) in enumerate(counted)
    ]
    breached = [bool(judged(since[:number]).breached) for number in range(len(since) + 1)]
    assert breached == sorted(breached)


def test_looks_each_second_say_the_same_as_those_each_fifteen() -> None:
    second = [seen(at, seconds=1, requests=10, errors_5xx=at % 15 == 0) for at in range(900)]
    fifteen = [seen(15 * at, requests=150, errors_5xx=1) for at in range(60)]
    assert judged(second).measures == judged(fifteen).measures


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(1, 30),
)
@settings(max_examples=25, deadline=None)
def test_what_is_joined_at_each_look_is_judged_as_if_it_was_not(
    counted: list[tuple[int, int]], minutes: int
) -> None:
    since = [seen(at, seconds=1, requests=40, errors_5xx=e, slow=n) for at, (n, e) in enumerate(counted)]
    kept: list[Observed] = []
    for part in since:
        kept = extended(kept, part, minutes=minutes)
    assert judged(kept, minutes=minutes) == judged(since, minutes=minutes)


def test_a_day_of_looks_each_second_is_kept_as_a_few() -> None:
    kept: list[Observed] = []
    for second in range(0, 86_400, 10):
        kept = extended(kept, seen(second, seconds=10, requests=1), minutes=1440)
    assert len(kept) == 240


def test_a_day_that_is_watched_has_a_curve_that_a_page_can_show() -> None:
    day = [seen(60 * at, seconds=60, requests=5, errors_4xx=1, slow=5) for at in range(1440)]
    curve = judged(day, minutes=1440).curve
    assert len(curve) == 120
    assert curve[1] == (720, 60, 12, 0, 750)
    assert judged([seen(seconds=720)], minutes=1440).curve == ((0, 0, 0, 0, None),)


def test_the_record_gets_what_the_page_shows() -> None:
    since = [
        seen(15 * at, requests=100, errors_5xx=6, exceptions=[("old", 1), ("new", 6)]) for at in range(8)
    ]
    before = [seen(-3600, seconds=3600, requests=6000, exceptions=[("old", 60)])]
    done = json.loads(json.dumps(judged(since, before).done()))
    assert done["verdict"] == "breached"
    assert done["requests"] == 800
    assert set(done["measures"]) == set(RULES)
    assert done["measures"]["errors-5xx"] == {"found": "6.0 %", "before": "0 %", "breached": True}
    assert done["curve"][0] == [0, 200, 0, 12, 50]
    assert done["exceptions"] == [
        {"fingerprint": "new", "title": "new", "count": 48, "before": 0},
        {"fingerprint": "old", "title": "old", "count": 8, "before": 60},
    ]
    assert done["restarts"] == 0


def test_a_watch_that_another_release_ended_says_so_unless_it_was_breached() -> None:
    short = judged(looks(random.Random(6), 0.0, number=48)).done(cut_short=True)
    assert (short["verdict"], short["why"]) == (
        "cut short",
        "Another release took its place after 12 minutes.",
    )
    assert judged(looks(random.Random(6), 0.3, number=48)).done(cut_short=True)["verdict"] == "breached"


def test_what_is_compared_leaves_out_the_release_and_the_moments_around_it() -> None:
    minute = datetime(2026, 11, 25, 12, 7, tzinfo=UTC)
    opened, closed = minute + timedelta(seconds=42), minute + timedelta(minutes=4)
    compared = spans(opened_at=opened, closed_at=closed, minutes=60)
    assert compared.before[0][0] == minute - timedelta(minutes=60)
    assert compared.before[-1][1] == opened - timedelta(seconds=30)
    assert all(earlier[1] == later[0] for earlier, later in pairwise(compared.before))
    assert (compared.since, compared.until) == (
        closed + timedelta(seconds=30),
        closed + timedelta(minutes=60),
    )
    assert spans(opened_at=opened, closed_at=closed, minutes=1).since == closed + timedelta(seconds=3)


def test_a_target_that_counts_by_whole_minutes_knows_the_whole_hour_before() -> None:
    """As Front Door does."""
    for second in range(60):
        opened = datetime(2026, 11, 25, 12, 7, second, tzinfo=UTC)
        before = spans(opened_at=opened, closed_at=opened, minutes=60).before
        whole = [whole_minutes(*part) for part in before]
        assert sum((end - begin for begin, end in whole), timedelta()) == timedelta(hours=1)


def test_the_start_tells_how_it_was_before() -> None:
    until = datetime(2026, 11, 25, 13, tzinfo=UTC)
    assert started(HOUR, until=until, minutes=60) == {
        "until": "2026-11-25T13:00:00+00:00",
        "minutes": 60,
        "before": {
            "requests": 7200,
            "errors-4xx": "0 %",
            "errors-5xx": "0.17 %",
            "exceptions": "0 (0 %)",
            "latency": "p75 50 ms, p95 50 ms",
            "restarts": "0 (60 min)",
        },
    }
    assert started([], until=until, minutes=60)["before"]["errors-5xx"] == "-"
