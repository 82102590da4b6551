"""How soon the watch sees errors that a release brought, and how often it cries wolf, by simulation.

    python bench/watch.py [RUNS]

Every run has an hour before and an hour after of simulated traffic, judged by components/release/watching.py
at each look, every 15 seconds. Errors come one by one, or in clusters of ten on average, as those of a failing
dependency do: the same rate, but far more uneven. Seeds are fixed, so each run of this prints the same.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from components.release.measures import together
from components.release.watching import PARTS, judge
from components.target import LATENCY_BOUNDS, Observed, Raised

LOOK, LOOKS, MINUTES = 15, 240, 60
START = datetime(2026, 1, 1, tzinfo=UTC)
TRAFFIC = (1, 10)  # requests a second
BEFORE = (0.0, 0.002, 0.01)  # rates of 5xx responses
INJECTED = (0.02, 0.05, 0.20)
CLUSTER = 10
SECONDS = range(LOOK)

Spoil = Callable[[random.Random, list[Observed]], list[Observed]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Traffic that has nothing wrong with it: it swings, answers 3 % with 4xx, and is slow now and then."""

    per_second: float
    errors: float  # rate of 5xx responses
    clustered: bool

    def hour(self, rng: random.Random, *, injected: float = 0.0) -> list[Observed]:
        swing = rng.uniform(0, 2 * math.pi)
        slow = 0.04
        looks = []
        for number in range(LOOKS):
            expected = LOOK * self.per_second * (1 + 0.3 * math.sin(swing + number / 40))
            requests = poisson(rng, expected)
            errors = min(requests, self._errors(rng, requests) + binomial(rng, requests, injected))
            # The share of slow requests wanders, and for two minutes in an hour it is 30 %.
            slow = min(0.3, max(0.01, slow * math.exp(rng.gauss(0, 0.1)) * (0.04 / slow) ** 0.1))
            share = 0.3 if 100 <= number < 108 else slow
            looks.append(
                observed(
                    number,
                    requests=requests,
                    errors_4xx=binomial(rng, requests - errors, 0.03),
                    errors_5xx=errors,
                    slow=binomial(rng, requests, share),
                    exceptions=kinds(rng, errors),
                    restarts=int(rng.random() < 1 / LOOKS),
                )
            )
        return looks

    def _errors(self, rng: random.Random, requests: int) -> int:
        if not self.clustered:
            return binomial(rng, requests, self.errors)
        clusters = poisson(rng, requests * self.errors / CLUSTER)
        return sum(geometric(rng, 1 / CLUSTER) for _ in range(clusters))


def observed(
    number: int,
    *,
    requests: int,
    errors_4xx: int,
    errors_5xx: int,
    slow: int,
    exceptions: tuple[Raised, ...],
    restarts: int,
) -> Observed:
    latencies = [0] * (len(LATENCY_BOUNDS) + 1)
    latencies[LATENCY_BOUNDS.index(50)] = requests - slow
    latencies[LATENCY_BOUNDS.index(750)] = slow
    return Observed(
        since=(START + timedelta(seconds=number * LOOK)).isoformat(),
        until=(START + timedelta(seconds=(number + 1) * LOOK)).isoformat(),
        requests=requests,
        errors_4xx=errors_4xx,
        errors_5xx=errors_5xx,
        latencies=tuple(latencies),
        exceptions=exceptions,
        restarts=restarts,
    )


def kinds(rng: random.Random, count: int) -> tuple[Raised, ...]:
    """Four of five are of a usual kind, the fifth is of one that was never there before."""
    usual = Counter(
        f"usual {rng.randrange(3)}" if rng.random() < 0.8 else f"rare {rng.random()}" for _ in range(count)
    )
    return tuple(Raised(fingerprint=kind, title=kind, count=number) for kind, number in usual.items())


def outage(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    """Every request fails for ten seconds, which may be in two looks."""
    at = rng.randrange(LOOKS - 1)
    early = rng.choice((10, 5)) / LOOK
    shares = {at: early, at + 1: 10 / LOOK - early}
    return [
        replace(look, errors_5xx=max(look.errors_5xx, round(shares.get(number, 0) * look.requests)))
        for number, look in enumerate(hour)
    ]


def scan(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    """One client asks for two minutes, five times a second, for what is not there."""
    at = rng.randrange(LOOKS - 8)
    asked = 5 * LOOK

    def scanned(look: Observed) -> Observed:
        latencies = (asked + look.latencies[0], *look.latencies[1:])
        return replace(
            look, requests=look.requests + asked, errors_4xx=look.errors_4xx + asked, latencies=latencies
        )

    return [scanned(look) if at <= number < at + 8 else look for number, look in enumerate(hour)]


def untouched(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    return hour


def parts_of(hour: Sequence[Observed]) -> list[Observed]:
    length = LOOKS // PARTS
    return [together(hour[first : first + length]) for first in range(0, LOOKS, length)]


def first_alarm(before: Sequence[Observed], since: Sequence[Observed]) -> int | None:
    """At which look, counted from 1; None: at none."""

    def alarmed(looks: int) -> bool:
        return bool(judge(before, since[:looks], minutes=MINUTES).breached)

    few, many = 0, 1
    while not alarmed(many):
        if many == len(since):
            return None
        few, many = many, min(len(since), 2 * many)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if alarmed(middle) else (middle, many)
    return many


def found(site: Site, injected: float, runs: int) -> str:
    requests, seconds = [], []
    for seed in range(runs):
        rng = random.Random(seed)
        before = parts_of(site.hour(rng))
        since = site.hour(rng, injected=injected)
        look = first_alarm(before, since)
        requests.append(sum(part.requests for part in since[:look]) if look else math.inf)
        seconds.append(look * LOOK if look else math.inf)
    missed = sum(map(math.isinf, requests))
    return f"{middle_and_90(requests):>15} requests {middle_and_90(seconds):>11} s" + (
        f"  not seen in {missed} of {runs}" if missed else ""
    )


def middle_and_90(values: Sequence[float]) -> str:
    ordered = sorted(values)
    chosen = (statistics.median_low(ordered), ordered[math.ceil(0.9 * len(ordered)) - 1])
    return " / ".join("never" if math.isinf(value) else f"{value:.0f}" for value in chosen)


def false_alarms(site: Site, spoil: Spoil, runs: int) -> str:
    alarms: Counter[str] = Counter()
    breached = 0
    for seed in range(runs):
        rng = random.Random(seed)
        before = parts_of(site.hour(rng))
        names = judge(before, spoil(rng, site.hour(rng)), minutes=MINUTES).breached
        alarms.update(names)
        breached += bool(names)
    which = ", ".join(f"{name} {count}" for name, count in alarms.items())
    return f"{breached:3} of {runs}" + (f" ({which})" if which else "")


def main(runs: int) -> None:
    print(f"Seen after (median / 90th percentile of {runs} runs):")
    for per_second in TRAFFIC:
        for before in BEFORE:
            for injected in INJECTED:
                site = Site(per_second=per_second, errors=before, clustered=False)
                case = f"{per_second:3}/s  before {before:5.1%}  injected {injected:4.0%}"
                print(case, found(site, injected, runs), flush=True)
    print(f"False alarms in {runs} quiet runs of {MINUTES} minutes:")
    for per_second in TRAFFIC:
        for before in BEFORE:
            for clustered in (False, True):
                for spoil in (untouched, outage, scan):
                    site = Site(per_second=per_second, errors=before, clustered=clustered)
                    errors = "clusters" if clustered else "singly"
                    case = f"{per_second:3}/s  before {before:5.1%}  {errors:8} {spoil.__name__:9}"
                    print(case, false_alarms(site, spoil, runs), flush=True)


def binomial(rng: random.Random, trials: int, rate: float) -> int:
    """By the gaps between events: quick where they are rare."""
    if rate <= 0:
        return 0
    events, passed = 0, geometric(rng, rate)
    while passed <= trials:
        events, passed = events + 1, passed + geometric(rng, rate)
    return events


def geometric(rng: random.Random, rate: float) -> int:
    """Which trial is the first event."""
    return 1 + int(math.log(1 - rng.random()) / math.log1p(-rate))


def poisson(rng: random.Random, expected: float) -> int:
    events, passed = 0, rng.expovariate(1)
    while passed < expected:
        events, passed = events + 1, passed + rng.expovariate(1)
    return events


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 200)
