"""The geometry of the pages' pictures: numbers in, coordinates out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.release.account import Try, between

WIDTH = 1000.0  # of every picture, in its own units
HEIGHT = 100.0
LONGEST_PAUSE = 5.0  # seconds between two steps; what is longer (somebody was asked, a night) is cut to this
NARROWEST = 4.0


@dataclass(frozen=True, kw_only=True)
class Bar:
    x: float
    width: float
    step: Try


@dataclass(frozen=True, kw_only=True)
class Curves:
    """`lines`: points for an SVG polyline each, all on one scale; `top` is the value at its upper edge."""

    lines: tuple[str, ...]
    top: float


def timeline(tries: Sequence[Try]) -> list[Bar]:
    """One bar for each, from the left; a step that has not ended has a bar without length."""
    spans: list[tuple[float, float]] = []
    place, ended = 0.0, None
    for step in tries:
        if ended is not None:
            place += min(max(between(ended[0], step.began) - ended[1], 0.0), LONGEST_PAUSE)
        seconds = step.seconds or 0.0
        spans.append((place, seconds))
        place, ended = place + seconds, (step.began, seconds)
    scale = WIDTH / place if place else 0.0
    return [
        Bar(
            x=round(min(start * scale, WIDTH - NARROWEST), 1),
            width=round(max(seconds * scale, NARROWEST), 1),
            step=step,
        )
        for (start, seconds), step in zip(spans, tries, strict=True)
    ]


def curves(times: Sequence[float], *series: Sequence[float | None]) -> Curves | None:
    """A line for each series, which has a value for each time or None. None: there is no line to draw."""
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    known = [
        [(time, value) for time, value in zip(times, values, strict=True) if value is not None]
        for values in series
    ]
    drawn = [line for line in known if len(line) > 1]
    if not drawn:
        return None
    top = max(value for line in drawn for _, value in line)
    across, up = WIDTH / (times[-1] - times[0]), HEIGHT / top if top else 0.0
    return Curves(
        lines=tuple(
            " ".join(f"{(time - times[0]) * across:.1f},{HEIGHT - value * up:.1f}" for time, value in line)
            for line in drawn
        ),
        top=top,
    )
