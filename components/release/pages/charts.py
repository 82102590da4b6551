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
class Curve:
    """`points` for an SVG polyline; `top` is the value at its upper edge."""

    points: str
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


def curve(points: Sequence[tuple[float, float | None]]) -> Curve | None:
    """Of (time, value); what has no value is passed over. None: there are not two points to join."""
    valued = [(time, value) for time, value in points if value is not None]
    if len(valued) < 2 or points[-1][0] <= points[0][0]:
        return None
    start, span = points[0][0], points[-1][0] - points[0][0]
    top = max(value for _, value in valued)
    return Curve(
        points=" ".join(
            f"{WIDTH * (time - start) / span:.1f},{HEIGHT * (1 - (value / top if top else 0)):.1f}"
            for time, value in valued
        ),
        top=top,
    )
