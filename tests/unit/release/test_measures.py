from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.release.measures import (
    RULES,
    Name,
    comparisons,
    described,
    percent,
    percentile,
    slower_than,
    together,
)
from components.target import LATENCY_BOUNDS, Observed
from tests.unit.release.observations import hour_before, seen

counts = st.integers(0, 300)
observations = st.lists(
    st.builds(
        lambda well, errors_4xx, errors_5xx, restarts, kinds: seen(
            seconds=300,
            requests=well + errors_4xx + errors_5xx,
            errors_4xx=errors_4xx,
            errors_5xx=errors_5xx,
            slow=well // 2,
            exceptions=kinds,
            restarts=restarts,
        ),
        counts,
        counts,
        counts,
        counts,
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=3),
    ),
    max_size=12,
)


def limit(before: list[Observed], name: Name) -> float:
    return next(each.limit for each in comparisons(before) if each.name == name)


@given(observations)
@settings(max_examples=60, deadline=None)
def test_no_measure_may_exceed_its_ceiling_nor_is_held_to_less_than_is_tolerated(
    before: list[Observed],
) -> None:
    for each in comparisons(before):
        rule = RULES[each.name]
        assert rule.tolerated <= each.limit <= rule.ceiling
        assert each.cluster >= 1


def test_where_nothing_is_known_of_before_the_ceiling_is_the_limit() -> None:
    assert all(each.limit == RULES[each.name].ceiling for each in comparisons([]))
    assert limit(hour_before(requests=0), "errors-5xx") == RULES["errors-5xx"].ceiling


def test_an_hour_with_few_requests_leaves_more_room_than_one_with_many() -> None:
    few, many = (limit(hour_before(requests=requests), "errors-5xx") for requests in (50, 5000))
    assert many == RULES["errors-5xx"].tolerated < few < RULES["errors-5xx"].ceiling


def test_an_outage_in_the_hour_before_does_not_make_the_watch_lenient() -> None:
    quiet = hour_before(requests=1000, errors_5xx=2)
    struck = [seen(seconds=300, requests=1000, errors_5xx=900), *quiet[1:]]
    assert limit(struck, "errors-5xx") == pytest.approx(limit(quiet, "errors-5xx"), rel=0.05)
    assert limit(hour_before(requests=1000, errors_5xx=900), "errors-5xx") == RULES["errors-5xx"].ceiling


def test_a_few_errors_among_few_requests_are_no_outage_to_be_left_out() -> None:
    before = [seen(seconds=300, requests=10, errors_5xx=number % 2) for number in range(12)]
    assert limit(before, "errors-5xx") == RULES["errors-5xx"].ceiling


def test_errors_that_come_in_clusters_before_count_for_less_since() -> None:
    rng = random.Random(6)
    sizes = [20 * (rng.random() < 0.3) for _ in range(12)]
    before = [seen(seconds=300, requests=3000, errors_5xx=size) for size in sizes]
    errors = next(each for each in comparisons(before) if each.name == "errors-5xx")
    assert errors.cluster > 5
    block = errors.block(seen(requests=100, errors_5xx=20))
    assert block.events == pytest.approx(20 / errors.cluster)


def test_new_kinds_of_exceptions_are_no_news_where_each_is_another_one() -> None:
    kinds = [[(f"{part}-{number}", 1) for number in range(10)] for part in range(12)]
    before = [seen(seconds=300, requests=1000, exceptions=each) for each in kinds]
    _, new = (each for each in comparisons(before) if each.name == "exceptions")
    _, usual = (each for each in comparisons(hour_before(requests=1000)) if each.name == "exceptions")
    assert new.limit > 2 * usual.limit
    assert new.count(seen(requests=100, exceptions=[("0-0", 5), ("fresh", 2)]))[0] == 2


def test_a_worker_that_raises_without_a_request_is_seen_too() -> None:
    _, new = (each for each in comparisons(hour_before(requests=0)) if each.name == "exceptions")
    block = new.block(seen(requests=0, seconds=15, exceptions=[("fresh", 3)]))
    assert (block.events, block.trials) == (3, 15)


def test_more_exceptions_than_requests_are_no_more_than_one_for_each() -> None:
    _, new = (each for each in comparisons(hour_before(requests=1000)) if each.name == "exceptions")
    block = new.block(seen(requests=20, seconds=15, exceptions=[("fresh", 90)]))
    assert (block.events, block.trials) == (20, 20)


def test_nobody_calls_less_than_a_tenth_of_a_second_slow_and_each_calls_two_seconds_so() -> None:
    def all_within(bound: int) -> Observed:
        latencies = [0] * (len(LATENCY_BOUNDS) + 1)
        latencies[LATENCY_BOUNDS.index(bound)] = 9
        return Observed(**{**vars(seen(requests=9)), "latencies": tuple(latencies)})

    bounds = {bound: slower_than(0.95, all_within(bound)) for bound in (5, 100, 150, 2000, 10000)}
    assert bounds == {5: 100, 100: 100, 150: 150, 2000: 2000, 10000: 2000}
    assert slower_than(0.95, None) == slower_than(0.95, seen(requests=0)) == 1000


@given(st.lists(st.integers(0, 50), min_size=len(LATENCY_BOUNDS) + 1, max_size=len(LATENCY_BOUNDS) + 1))
def test_at_least_the_share_of_the_requests_was_within_its_percentile_and_not_within_the_class_below(
    latencies: list[int],
) -> None:
    observed = Observed(**{**vars(seen()), "latencies": tuple(latencies)})
    within = percentile(0.95, observed)
    if not sum(latencies):
        assert within is None
        return
    place = LATENCY_BOUNDS.index(within) if within in LATENCY_BOUNDS else len(LATENCY_BOUNDS)
    assert sum(latencies[: place + 1]) >= 0.95 * sum(latencies) - 1e-9
    assert sum(latencies[:place]) < 0.95 * sum(latencies)


HALF_A_MINUTE = seen(
    seconds=30,
    requests=500,
    errors_4xx=24,
    errors_5xx=1,
    slow=60,
    exceptions=[("a", 30), ("b", 4)],
    restarts=2,
)


@pytest.mark.parametrize(
    ("name", "observed", "text"),
    [
        ("errors-4xx", HALF_A_MINUTE, "4.8 %"),
        ("errors-5xx", HALF_A_MINUTE, "0.2 %"),
        ("exceptions", HALF_A_MINUTE, "34 (6.8 %)"),
        ("latency", HALF_A_MINUTE, "p75 50 ms, p95 750 ms"),
        ("restarts", HALF_A_MINUTE, "2 (30 s)"),
        ("restarts", seen(seconds=3600), "0 (60 min)"),
        ("errors-5xx", seen(requests=0), "-"),
        ("latency", seen(requests=0), "-"),
        ("exceptions", seen(requests=0, exceptions=[("a", 3)]), "3"),
        ("errors-5xx", None, "-"),
    ],
)
def test_a_measure_reads_as_a_number_with_its_unit(name: Name, observed: Observed | None, text: str) -> None:
    assert described(name, observed) == text


def test_what_is_slower_than_all_classes_is_said_to_be() -> None:
    latencies = (*(0 for _ in LATENCY_BOUNDS), 7)
    observed = Observed(**{**vars(seen(requests=7)), "latencies": latencies})
    assert described("latency", observed) == "p75 > 10000 ms, p95 > 10000 ms"


def test_a_share_reads_short_but_never_as_none_when_there_is_one() -> None:
    shares = (0, 0.00001, 0.00042, 0.001, 0.0096, 0.048, 0.2, 1)
    assert [percent(share) for share in shares] == [
        "0 %",
        "< 0.01 %",
        "0.042 %",
        "0.1 %",
        "0.96 %",
        "4.8 %",
        "20 %",
        "100 %",
    ]


@given(observations.filter(bool))
@settings(max_examples=40, deadline=None)
def test_parts_add_up_to_the_whole_in_whatever_portions(parts: list[Observed]) -> None:
    half = len(parts) // 2
    portions = [together(portion) for portion in (parts[:half], parts[half:]) if portion]
    whole = together(parts)
    assert together(portions) == whole
    assert whole.requests == sum(part.requests for part in parts) == sum(whole.latencies)
    assert sum(kind.count for kind in whole.exceptions) == sum(
        kind.count for part in parts for kind in part.exceptions
    )
