from __future__ import annotations

import math
import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.release.evidence import (
    Block,
    evidence,
    is_above,
    trials_to_see,
    unevenness,
    upper_bound,
)

AT_ONCE = 1e-9
blocks = st.lists(
    st.builds(
        lambda events, others: Block(events=events, trials=events + others, seconds=15.0),
        st.integers(0, 50),
        st.integers(0, 500),
    ),
    min_size=1,
    max_size=30,
)
limits = st.floats(0.001, 0.5)


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.5])
def test_a_rate_at_its_limit_is_an_alarm_no_more_often_than_alpha_though_each_request_is_looked_at(
    limit: float,
) -> None:
    alpha = 0.1
    alarms = 0.0
    for outcomes in product((0, 1), repeat=10):
        looked_at = [Block(events=event, trials=1, seconds=1) for event in outcomes]
        if evidence(looked_at, limit, alpha=alpha, persistence=AT_ONCE).share >= 1:
            alarms += limit ** sum(outcomes) * (1 - limit) ** (10 - sum(outcomes))
    assert 0 < alarms <= alpha


def test_an_hour_at_the_limit_is_seldom_an_alarm_and_one_at_twice_the_limit_mostly() -> None:
    rng = random.Random(6)

    def alarms(rate: float) -> int:
        return sum(
            evidence(
                [
                    Block(events=sum(rng.random() < rate for _ in range(20)), trials=20, seconds=15)
                    for _ in range(100)
                ],
                0.05,
                alpha=0.05,
                persistence=30,
            ).share
            >= 1
            for _ in range(60)
        )

    assert alarms(0.05) <= 3
    assert alarms(0.1) >= 55


@given(blocks, limits)
@settings(max_examples=50, deadline=None)
def test_what_was_an_alarm_at_one_look_is_one_at_the_next(found: list[Block], limit: float) -> None:
    shares = [
        evidence(found[:number], limit, alpha=0.001, persistence=30).share for number in range(len(found) + 1)
    ]
    assert shares == sorted(shares)


@given(blocks, limits, st.data())
@settings(max_examples=50, deadline=None)
def test_a_further_error_never_speaks_for_a_release(
    found: list[Block], limit: float, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(found) - 1))
    block = found[at]
    worse = [*found]
    worse[at] = Block(events=min(block.events + 1, block.trials), trials=block.trials, seconds=block.seconds)
    before, after = (evidence(each, limit, alpha=0.001, persistence=30).share for each in (found, worse))
    assert after >= before - 1e-9


@given(st.integers(1, 10**6), st.integers(0, 100), limits, st.sampled_from([1, 15, 60, 600]))
@settings(max_examples=50, deadline=None)
def test_an_outage_within_one_block_is_no_alarm_however_many_requests_it_hits_and_however_long_the_block(
    requests: int, at: int, limit: float, seconds: int
) -> None:
    quiet = [Block(events=0, trials=0, seconds=seconds)] * 100
    hit = [*quiet[:at], Block(events=requests, trials=requests, seconds=seconds), *quiet[at:]]
    assert evidence(hit, limit, alpha=0.001, persistence=30).share < 1


def test_a_rise_after_a_long_quiet_time_is_seen_and_told_where_it_began() -> None:
    quiet = [Block(events=0, trials=1000, seconds=15)] * 200
    bad = [Block(events=100, trials=1000, seconds=15)] * 10
    rise = evidence([*quiet, *bad], 0.01, alpha=0.001, persistence=30)
    assert rise.share >= 1
    assert (rise.first, rise.last) == (200, 209)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_a_rate_is_seldom_above_its_upper_bound(rate: float) -> None:
    trials, alpha = 60, 0.05
    above = sum(
        math.comb(trials, events) * rate**events * (1 - rate) ** (trials - events)
        for events in range(trials + 1)
        if upper_bound(events, trials, alpha) < rate
    )
    assert above <= alpha


@given(st.integers(0, 1000), st.integers(0, 10**5))
def test_the_upper_bound_comes_nearer_to_the_share_with_more_trials(events: int, others: int) -> None:
    trials = events + others
    share = events / trials if trials else 0.0
    few, many = upper_bound(events, trials, 0.001), upper_bound(10 * events, 10 * trials, 0.001)
    assert share <= many <= few + 1e-9 <= 1 + 1e-9


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_a_rate_is_seldom_said_to_be_above_what_it_is(rate: float) -> None:
    trials, alpha = 60, 0.05
    said = [
        events
        for events in range(trials + 1)
        if is_above(Block(events=events, trials=trials, seconds=300), rate, alpha)
    ]
    chances = (math.comb(trials, events) * rate**events * (1 - rate) ** (trials - events) for events in said)
    assert 0 < sum(chances) <= alpha
    assert said == list(range(said[0], trials + 1))


def test_nothing_is_known_of_a_rate_without_trials() -> None:
    assert upper_bound(0, 0, 0.001) == 1


def test_errors_that_come_in_clusters_are_as_uneven_as_these_are_large() -> None:
    rng = random.Random(6)

    def hour(size: int) -> list[Block]:
        return [
            Block(events=size * sum(rng.random() < 0.05 for _ in range(60)), trials=6000, seconds=300)
            for _ in range(60)
        ]

    assert unevenness(hour(1)) == 1
    assert 5 < unevenness(hour(10)) < 20


def test_blocks_that_cannot_differ_are_even() -> None:
    nothing, all_of_it = (Block(events=events, trials=9, seconds=300) for events in (0, 9))
    for even in ([], [nothing], [nothing] * 12, [all_of_it] * 12):
        assert unevenness(even) == 1


def test_as_many_trials_as_are_said_to_show_a_rise_do_in_nine_of_ten_cases() -> None:
    rng = random.Random(6)
    trials = trials_to_see(0.06, 0.01, 0.001)

    def alarms(trials: int) -> int:
        fifths = ([draw(trials // 5) for _ in range(5)] for _ in range(200))
        return sum(evidence(each, 0.01, alpha=0.001, persistence=1).share >= 1 for each in fifths)

    def draw(trials: int) -> Block:
        return Block(events=sum(rng.random() < 0.06 for _ in range(trials)), trials=trials, seconds=15)

    assert 165 <= alarms(trials) <= 195
    assert alarms(trials // 2) < 140
