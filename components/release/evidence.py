"""Evidence, valid however often one looks, that a rate is higher than it may be. Pure.

Against "the rate is at most `limit`" stands an e-process: a weighted mean of likelihood ratios, over a grid of
higher rates and over the moments at which the rate may have risen. If the rate is not above the limit, its
expectation is at most 1 whenever one stops, so it ever reaches 1/alpha with a probability of at most alpha
(Ville's inequality): looking again and again costs nothing. Sources: "Anytime-Valid Inference"
(theorempath.com); "Rapid Regression Detection in Software Deployments through Sequential Testing" (Lindon,
Sanden, Shirikian).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BLOCKS = 240
"""At most so many blocks share the weight that is not on a rise from the beginning."""

ODDS = tuple(1.5 * 1.6**power for power in range(12))
"""Of the higher rates, as multiples of the limit's odds; the last one is 264 times."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """What one part of the time had: `events` among `trials`, of which there are at least as many."""

    events: int
    trials: float
    seconds: float


def upper_bound(events: int, trials: float, alpha: float) -> float:
    """What the rate behind a sample is above with a probability of at most alpha, by Chernoff's bound.

    1 where there were no trials.
    """
    if trials <= 0:
        return 1.0
    share = events / trials
    low, high = share, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if trials * _divergence(share, middle) < -math.log(alpha):
            low = middle
        else:
            high = middle
    return high


def evidence(blocks: Sequence[Block], limit: float, *, alpha: float, persistence: float) -> float:
    """The highest logarithm that the e-process has had, as a share of ln(1/alpha): 1 is an alarm.

    No block counts for more than its seconds / `persistence` of an alarm. A ratio made smaller keeps the
    expectation at most 1, so this is as valid; and errors that come together, as in one outage or by one client
    that tries again and again, are no alarm before they have gone on for some time.
    """
    enough = -math.log(alpha)
    ratios = [(math.log(odds), -math.log1p(limit * (odds - 1))) for odds in ODDS]
    sums = [-math.inf] * len(ODDS)  # logarithms, each of one rate's mean over the moments of the rise
    highest = 0.0
    for number, block in enumerate(blocks):
        begins = math.log(0.5 if number == 0 else 0.5 / (BLOCKS - 1))
        most = enough * min(1.0, block.seconds / persistence)
        for i, (event, trial) in enumerate(ratios):
            sums[i] = _log_sum(sums[i], begins) + min(most, block.events * event + block.trials * trial)
        highest = max(highest, _log_mean(sums))
    return highest / enough


def shows(rate: float, trials: float, limit: float, *, alpha: float) -> bool:
    """Whether so many trials at the rate, from the beginning, are an alarm nine times in ten."""
    seldom_fewer = rate * trials - 1.2816 * math.sqrt(trials * rate * (1 - rate))
    block = Block(events=max(0, math.floor(seldom_fewer)), trials=trials, seconds=1.0)
    # As if in many blocks, none of which is at its limit.
    return evidence([block], limit, alpha=alpha, persistence=1e-9) >= 1


def _divergence(share: float, rate: float) -> float:
    """Kullback and Leibler's, of two Bernoulli distributions, in nats."""
    events = share * math.log(share / rate) if share > 0 else 0.0
    return events + ((1 - share) * math.log((1 - share) / (1 - rate)) if share < 1 else 0.0)


def _log_sum(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high + math.log1p(math.exp(low - high))


def _log_mean(logarithms: Sequence[float]) -> float:
    high = max(logarithms)
    return high + math.log(sum(math.exp(each - high) for each in logarithms) / len(logarithms))
