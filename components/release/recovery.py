"""Whether a failed release comes back by itself, and to what. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.release import previous, record
from components.release.record import ROLL, WAYS_BACK, Release

SMOKE = "smoke"


@dataclass(frozen=True, kw_only=True)
class Recovery:
    failed: Release
    target: Release  # the last good one, whose image is pinned again

    @property
    def schema_only(self) -> bool:
        """No instance was reached, and what serves fails on the schema: only reversing that helps it."""
        return self.failed.failed_step == previous.STEP


def due(known: Sequence[Release], pinned: str | None) -> Recovery | str:
    """What a stack that comes back by itself has to do now; else, as a clause, why it has nothing to do.

    Only where the failed release has reached an instance, or the old version was seen to fail on its schema:
    else that one serves and nothing is to be brought back. And once for a release: what is itself a way back
    is never gone back from.
    """
    failed = record.current(known)
    if failed is None or failed.verdict != "failed":
        return "the last release has not failed, so there is nothing to come back from"
    if failed.kind in WAYS_BACK:
        return f"the {failed.kind} to {failed.version} failed, and a way back is not gone back from"
    if pinned != failed.image:
        return f"{failed.version} failed, but is not pinned any more, so somebody has it in hand"
    step = failed.failed_step or "the beginning"
    if not step.startswith(ROLL) and step not in (previous.STEP, SMOKE):
        but = ", on a schema that it may fail on: go on or back at once" if step == "rewind" else ""
        said = f"{failed.version} failed in {step}, before an instance was replaced: what served still serves"
        return f"{said}{but}"
    target = record.last_good(known)
    if target is None:
        return f"{failed.version} failed, and no release before it has succeeded"
    if target.image == failed.image:
        return f"{failed.version} has succeeded before, so going back is not to another artefact"
    return Recovery(failed=failed, target=target)
