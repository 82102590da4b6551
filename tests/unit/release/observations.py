"""Simulated observations for the tests of the watch's statistics."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from components.target import LATENCY_BOUNDS, Observed, Raised

START = datetime(2026, 11, 25, 12, tzinfo=UTC)


def seen(
    after: float = 0.0,
    *,
    seconds: float = 15.0,
    requests: int = 0,
    errors_4xx: int = 0,
    errors_5xx: int = 0,
    slow: int = 0,
    exceptions: Sequence[tuple[str, int]] = (),
    restarts: int = 0,
) -> Observed:
    """`after` seconds from START. A slow request takes 750 ms, any other 50; exceptions are (kind, count)."""
    latencies = [0] * (len(LATENCY_BOUNDS) + 1)
    latencies[LATENCY_BOUNDS.index(50)] = requests - slow
    latencies[LATENCY_BOUNDS.index(750)] = slow
    return Observed(
        since=(START + timedelta(seconds=after)).isoformat(),
        until=(START + timedelta(seconds=after + seconds)).isoformat(),
        requests=requests,
        errors_4xx=errors_4xx,
        errors_5xx=errors_5xx,
        latencies=tuple(latencies),
        exceptions=tuple(Raised(fingerprint=kind, title=kind, count=count) for kind, count in exceptions),
        restarts=restarts,
    )


def hour_before(requests: int, *, errors_5xx: int = 0, slow: int = 0) -> list[Observed]:
    """Twelve parts of five minutes that have each the same."""
    return [
        seen(300 * number - 3600, seconds=300, requests=requests, errors_5xx=errors_5xx, slow=slow)
        for number in range(12)
    ]


def looks(rng: random.Random, rate: float, *, number: int = 240, requests: int = 30) -> list[Observed]:
    """Every fifteen seconds, with 5xx responses at the rate."""
    return [
        seen(15 * at, requests=requests, errors_5xx=sum(rng.random() < rate for _ in range(requests)))
        for at in range(number)
    ]
