"""Evidence, valid however often one looks, that a rate is higher than it may be. Pure.

Against "the rate is at most `limit`" stands an e-process: a weighted mean of likelihood ratios, over a grid
of higher rates and over the moments at which the rate may have risen. If the rate is not above the limit, its
expectation is at most 1 whenever one stops. So it ever reaches 1/alpha with a probability of at most alpha
(Ville's inequality), and to look again and again costs nothing. Sources: "Anytime-Valid Inference"
(theorempath.com); "Rapid Regression Detection in Software Deployments through Sequential Testing" (Lindon,
Sanden, Shirikian).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BLOCKS = 240
"""At most so many blocks are looked at: they share the weight that is not on a rise from the beginning."""

ODDS = tuple(1.5 * 2**power for power in range(8))
"""Of the higher rates, as multiples of the limit's odds."""

MOST = 0.75
"""Of an alarm, that a block counts for, however long it is: it takes two of them."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """What one part of the time had: `events` among `trials`, of which there are at least as many."""

    events: float
    trials: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Rise:
    """`share` of an alarm's evidence, where it was highest, and the blocks that speak for it most."""

    share: float
    first: int
    last: int


def evidence(blocks: Sequence[Block], limit: float, *, alpha: float, persistence: float) -> Rise:
    """How much speaks for a rate above the limit; a share of 1 or more is an alarm.

    No block counts for more than its seconds / `persistence` of an alarm, nor for more than MOST. A smaller
    ratio keeps the expectation at most 1, so this is as valid; and errors that come together, as in an outage
    or by a client that tries again and again, are no alarm before they have gone on for some time.
    """
    enough = -math.log(alpha)
    rates = [_Rate(math.log(odds), -math.log1p(limit * (odds - 1))) for odds in ODDS]
    highest = Rise(share=0.0, first=0, last=max(0, len(blocks) - 1))
    if not any(block.events for block in blocks):
        return highest
    for number, block in enumerate(blocks):
        begins = math.log(0.5 if number == 0 else 0.5 / (BLOCKS - 1))
        most = enough * min(MOST, block.seconds / persistence)
        for rate in rates:
            rate.go_on(number, block, begins=begins, most=most)
        share = _log_mean([rate.mean for rate in rates]) / enough
        if share > highest.share:
            first = max(rates, key=lambda rate: rate.best).first
            highest = Rise(share=share, first=first, last=number)
    return highest


class _Rate:
    """One higher rate: logarithms of its mean ratio over the moments of a rise, and of the best of these."""

    def __init__(self, event: float, trial: float) -> None:
        self._event, self._trial = event, trial
        self.mean, self.best, self.first = -math.inf, 0.0, 0

    def go_on(self, number: int, block: Block, *, begins: float, most: float) -> None:
        ratio = min(most, block.events * self._event + block.trials * self._trial)
        self.mean = _log_sum(self.mean, begins) + ratio
        if self.best <= 0:
            self.best, self.first = 0.0, number
        self.best += ratio


def upper_bound(events: float, trials: float, alpha: float) -> float:
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


def is_above(block: Block, rate: float, alpha: float) -> bool:
    """Whether the rate behind a sample is above this one, for sure but for alpha; by the same bound."""
    if block.events <= block.trials * rate:
        return False
    return block.trials * _divergence(block.events / block.trials, rate) >= -math.log(alpha)


def unevenness(blocks: Sequence[Block]) -> float:
    """How many times as much the events vary among the blocks as if each came by itself; 1 if that is chance.

    Pearson's chi-squared by its degrees of freedom. Of errors that come in clusters it is about their size:
    they tell as much as a sample that is so many times smaller.
    """
    counted = [block for block in blocks if block.trials > 0]
    events, trials = (sum(block.events for block in counted), sum(block.trials for block in counted))
    if len(counted) < 2 or not 0 < events < trials:
        return 1.0
    rate = events / trials
    deviations = [(block.events - block.trials * rate) ** 2 / block.trials for block in counted]
    freedom = len(counted) - 1
    found = sum(deviations) / (rate * (1 - rate)) / freedom
    return found if found > 1 + 2 * math.sqrt(2 / freedom) else 1.0


def trials_to_see(rate: float, limit: float, alpha: float) -> int:
    """How many trials at the rate, which is above the limit, are an alarm nine times in ten."""
    few, many = 0, 1
    while not _shows(rate, many, limit, alpha):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _shows(rate, middle, limit, alpha) else (middle, many)
    return many


def _shows(rate: float, trials: int, limit: float, alpha: float) -> bool:
    seldom_fewer = rate * trials - 1.2816 * math.sqrt(trials * rate * (1 - rate))
    tenth = Block(events=max(0.0, seldom_fewer) / 10, trials=trials / 10, seconds=1.0)
    return evidence([tenth] * 10, limit, alpha=alpha, persistence=1.0).share >= 1


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
