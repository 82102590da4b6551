"""How long a way back took, from the decision to the last instance that was verified. Pure.

Where data was restored for it, the decision is that to restore.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from components.release.record import ROLL, WAYS_BACK, Release

LIMIT = timedelta(minutes=30)  # of the deployment plan's "Rollback"


@dataclass(frozen=True, kw_only=True)
class ReturnTime:
    """`seconds` is None until every instance was verified. `steps`: (name, seconds) in their order."""

    decided_at: str
    verified_at: str | None
    seconds: float | None
    steps: tuple[tuple[str, float], ...]

    @property
    def within(self) -> bool | None:
        return None if self.seconds is None else self.seconds <= LIMIT.total_seconds()

    def __str__(self) -> str:
        """Such as "12 s of 30 min, within the limit"."""
        if self.seconds is None:
            return "not every instance is verified"
        said = "within" if self.within else "OVER"
        return f"{spoken(self.seconds)} of {spoken(LIMIT.total_seconds())}, {said} the limit"

    def table(self) -> list[str]:
        """Aligned lines for people; what no step took is the engine's, and that of who had to agree."""
        rows = list(self.steps)
        if self.seconds is not None:
            between = self.seconds - sum(seconds for _, seconds in rows)
            rows += [("between the steps", max(between, 0.0)), ("decision to last instance", self.seconds)]
        return [f"{seconds:9.2f} s  {name}" for name, seconds in rows]


def of(release: Release) -> ReturnTime | None:
    """None for a release that does not go back."""
    if release.kind not in WAYS_BACK:
        return None
    rolls = [step for step in release.begun if step.startswith(ROLL)]
    # Where what follows the rolls has begun, the last of them has ended well.
    after = release.begun[release.begun.index(rolls[-1]) + 1 :] if rolls else ()
    verified = max(release.ended[step] for step in rolls) if after else None
    decided = release.decided_at or release.opened_at
    return ReturnTime(
        decided_at=decided,
        verified_at=verified,
        seconds=None if verified is None else _between(decided, verified),
        steps=(
            *((f"restore: {part}", seconds) for part, seconds in release.restored.items()),
            *(
                (step, release.seconds[step])
                for step in release.begun
                if step in release.seconds and step not in after
            ),
        ),
    )


def spoken(seconds: float) -> str:
    """Such as "12 s", "4 min 10 s", "30 min"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{rest} s" if not minutes else f"{minutes} min" if not rest else f"{minutes} min {rest} s"


def _between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
