"""How soon the watch sees errors that a release brought, and how often it cries wolf, by simulation.

    python bench/watch.py [RUNS]

Every run has an hour before and an hour after of simulated traffic, judged by components/release/watching.py
at each look, every 15 seconds. Errors come singly, or in clusters of ten on average, as those of a failing
dependency do: at the same rate, but far more unevenly. Seeds are fixed, so this always prints the same.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any

from components.release.measures import together
from components.release.watching import PARTS, judge
from components.target import LATENCY_BOUNDS, Observed, Raised

LOOK, LOOKS, MINUTES = 15, 240, 60
START = datetime(2026, 1, 1, tzinfo=UTC)
TRAFFIC = (0.1, 1, 10)  # requests a second
BEFORE = (0.0, 0.002, 0.01)  # rates of 5xx responses
INJECTED = (0.02, 0.05, 0.20)
CLUSTER = 10

Runs = Callable[[Callable[[int], Any]], list[Any]]  # for each seed, what the function says
Spoil = Callable[[random.Random, list[Observed]], list[Observed]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Traffic that has nothing wrong with it: it swings, answers 3 % with 4xx, and is slow now and then."""

    per_second: float
    errors: float  # rate of 5xx responses
    clustered: bool = False

    def hour(self, rng: random.Random) -> list[Observed]:
        swing = rng.uniform(0, 2 * math.pi)
        slow = 0.04
        looks = []
        for number in range(LOOKS):
            expected = LOOK * self.per_second * (1 + 0.3 * math.sin(swing + number / 40))
            requests = poisson(rng, expected)
            errors = min(requests, self._errors(rng, requests))
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


def nothing(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    return hour


def broken_path(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    """A fifth of the requests is answered with a 404."""
    return [
        replace(look, errors_4xx=look.errors_4xx + binomial(rng, look.requests - look.errors_4xx, 0.2))
        for look in hour
    ]


def new_exception(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    """One request in fifty raises what was never raised before, and is answered all the same."""

    def raising(look: Observed) -> Observed:
        raised = Raised(fingerprint="new", title="new", count=binomial(rng, look.requests, 0.02))
        return replace(look, exceptions=(*look.exceptions, raised) if raised.count else look.exceptions)

    return [raising(look) for look in hour]


def slow(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    """Of the requests that were quick, 30 % take 750 ms."""
    quick, late = LATENCY_BOUNDS.index(50), LATENCY_BOUNDS.index(750)

    def slowed(look: Observed) -> Observed:
        latencies = list(look.latencies)
        moved = binomial(rng, latencies[quick], 0.3)
        latencies[quick] -= moved
        latencies[late] += moved
        return replace(look, latencies=tuple(latencies))

    return [slowed(look) for look in hour]


def crash_loop(rng: random.Random, hour: list[Observed]) -> list[Observed]:
    """A worker dies once a minute."""
    return [replace(look, restarts=look.restarts + (number % 4 == 3)) for number, look in enumerate(hour)]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """A share of the requests that were answered well is answered with a 5xx, from this look on."""

    share: float
    begin: int = 0

    def __call__(self, rng: random.Random, hour: list[Observed]) -> list[Observed]:
        return [
            replace(look, errors_5xx=look.errors_5xx + binomial(rng, well(look), self.share))
            if number >= self.begin
            else look
            for number, look in enumerate(hour)
        ]


def well(look: Observed) -> int:
    return look.requests - look.errors_4xx - look.errors_5xx


WORSE: dict[str, Spoil] = {
    "a fifth answered with 404": broken_path,
    "a new exception in 2 %": new_exception,
    "30 % more take 750 ms": slow,
    "a worker dies each minute": crash_loop,
    "5 % answered with 5xx, from minute 30 on": Errors(share=0.05, begin=LOOKS // 2),
}
QUIET: dict[str, Spoil] = {
    "nothing else": nothing,
    "10 s of outage": outage,
    "one client finds 600 times nothing": scan,
}


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


def hours(site: Site, spoil: Spoil, seed: int) -> tuple[list[Observed], list[Observed]]:
    """The parts of an hour before, and the looks of an hour since that was spoiled."""
    rng = random.Random(seed)
    hour = site.hour(rng)
    length = LOOKS // PARTS
    before = [together(hour[first : first + length]) for first in range(0, LOOKS, length)]
    return before, spoil(rng, site.hour(rng))


def find(site: Site, spoil: Spoil, seed: int) -> tuple[float, float]:
    """Requests and seconds from the look at which it began."""
    before, since = hours(site, spoil, seed)
    begin = spoil.begin if isinstance(spoil, Errors) else 0
    look = first_alarm(before, since)
    if look is None:
        return math.inf, math.inf
    return sum(part.requests for part in since[begin:look]), (look - begin) * LOOK


def found(runs: Runs, site: Site, spoil: Spoil) -> str:
    requests, seconds = zip(*runs(partial(find, site, spoil)), strict=True)
    return f"{middle_and_90(requests)} | {middle_and_90(seconds)} | {sum(map(math.isinf, requests))}"


def middle_and_90(values: Sequence[float]) -> str:
    ordered = sorted(values)
    chosen = (statistics.median_low(ordered), ordered[math.ceil(0.9 * len(ordered)) - 1])
    return " / ".join("never" if math.isinf(value) else f"{value:.0f}" for value in chosen)


def alarms(site: Site, spoil: Spoil, seed: int) -> tuple[str, ...]:
    before, since = hours(site, spoil, seed)
    return judge(before, since, minutes=MINUTES).breached


def false_alarms(runs: Runs, site: Site, spoil: Spoil) -> str:
    judged = runs(partial(alarms, site, spoil))
    which = Counter(name for breached in judged for name in breached)
    named = ", ".join(f"{name} {count}" for name, count in which.items())
    return f"{sum(map(bool, judged))}" + (f" ({named})" if named else "")


def main(runs: Runs, number: int) -> None:
    seen = "| requests | seconds | not seen |\n|---|---|---|---|---|---|"
    print(f"Of {number} runs each; requests and seconds are the median / the 90th percentile.\n")
    print(f"| requests a second | 5xx before | 5xx injected {seen}")
    for per_second, before, injected in product(TRAFFIC, BEFORE, INJECTED):
        site = Site(per_second=per_second, errors=before)
        cells = found(runs, site, Errors(share=injected))
        print(f"| {per_second} | {before:.1%} | {injected:.0%} | {cells} |", flush=True)

    print(f"\n| requests a second | 5xx before | what is worse {seen}")
    for per_second, (what, spoil) in product(TRAFFIC, WORSE.items()):
        cells = found(runs, Site(per_second=per_second, errors=0.002), spoil)
        print(f"| {per_second} | 0.2% | {what} | {cells} |", flush=True)

    print(f"\nFalse alarms in {number} quiet runs of {MINUTES} minutes.\n")
    columns = " | ".join(QUIET)
    print(f"| requests a second | 5xx before and since | they come | {columns} |\n|---|---|---|---|---|---|")
    for per_second, before, clustered in product(TRAFFIC, BEFORE, (False, True)):
        site = Site(per_second=per_second, errors=before, clustered=clustered)
        cells = " | ".join(false_alarms(runs, site, spoil) for spoil in QUIET.values())
        come = "in clusters" if clustered else "singly"
        print(f"| {per_second} | {before:.1%} | {come} | {cells} |", flush=True)


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
    """By the normal distribution where that is next to it."""
    if expected > 50:
        return max(0, round(rng.gauss(expected, math.sqrt(expected))))
    events, passed = 0, rng.expovariate(1)
    while passed < expected:
        events, passed = events + 1, passed + rng.expovariate(1)
    return events


if __name__ == "__main__":
    number = int(sys.argv[1]) if sys.argv[1:] else 200
    with ProcessPoolExecutor() as pool:
        main(lambda run: list(pool.map(run, range(number), chunksize=10)), number)
