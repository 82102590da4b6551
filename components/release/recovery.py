"""Whether a stack comes back by itself from a release that failed or whose watch was breached. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.release import previous, record
from components.release.measures import VISITORS_CAUSE
from components.release.messages import phrase
from components.release.record import ROLL, SMOKE, WAYS_BACK, Release


@dataclass(frozen=True, kw_only=True)
class Recovery:
    failed: Release
    target: Release  # the last good one before it, whose image is pinned again

    @property
    def schema_only(self) -> bool:
        """No instance was reached, and what serves fails on the schema: only reversing that helps it."""
        return self.failed.failed_step == previous.STEP

    @property
    def fault(self) -> str:
        """What the release did, after its name in a sentence."""
        if self.failed.breached is None:
            return f"failed in {self.failed.failed_step}"
        return "does not run as well as before"

    @property
    def outcome(self) -> str:
        """What has become of it once the target serves."""
        return "is not released" if self.failed.verdict == "failed" else "does not serve any more"

    @property
    def detail(self) -> str:
        if self.failed.breached is None:
            return self.failed.error or ""
        found = self.failed.breached
        measure = phrase("en", found["measure"])
        return f"{measure} is {found['found']}; before the release it was {found['before']}"


def due(known: Sequence[Release], pinned: str | None) -> Recovery | str:
    """What a stack that comes back by itself has to do now; else, as a clause, why it has nothing to do.

    Once for a release: what is itself a way back is never gone back from.
    """
    last = record.current(known)
    if last is not None and last.verdict == "open":
        return (
            f"{last.version} has not come to its end, so it has not failed; if it was killed, go on with "
            f"pulumi up, or back with relevo rollback"
        )
    if last is None or (last.verdict != "failed" and (last.verdict != "succeeded" or last.breached is None)):
        return "the last release has not failed, so there is nothing to come back from"
    if last.kind in WAYS_BACK:
        what = "failed" if last.verdict == "failed" else "does not run as well as before"
        return f"the {last.kind} to {last.version} {what}, and a way back is not gone back from"
    return _failed(known, last, pinned) if last.verdict == "failed" else _breached(known, last, pinned)


def _failed(known: Sequence[Release], failed: Release, pinned: str | None) -> Recovery | str:
    """Only where it has reached an instance, or the old version was seen to fail on its schema.

    Else the old one serves, and nothing is to be brought back.
    """
    if pinned != failed.image:
        return f"{failed.version} failed, but is not pinned any more, so somebody has it in hand"
    step = failed.failed_step or "the beginning"
    if not step.startswith(ROLL) and step not in (previous.STEP, SMOKE):
        changed = step == "rewind" or ("migrate" in failed.done and record.pending(failed))
        but = ", on a schema that it may fail on: go on or back at once" if changed else ""
        said = f"{failed.version} failed in {step}, before an instance was replaced: what served still serves"
        return f"{said}{but}"
    target = record.last_good(known)
    if target is None:
        return f"{failed.version} failed, and no release before it has succeeded"
    if target.image == failed.image:
        return f"{failed.version} has succeeded before, so going back is not to another artefact"
    return Recovery(failed=failed, target=target)


def _breached(known: Sequence[Release], worse: Release, pinned: str | None) -> Recovery | str:
    said = f"{worse.version} does not run as well as before"
    if worse.stuck is not None:
        return f"{said}, but the stack could not come back by itself: {worse.stuck.rstrip('.')}"
    if VISITORS_CAUSE.issuperset((*worse.breaches, (worse.breached or {}).get("measure"))):
        return (
            f"{said}, but visitors can bring about what was found, so whether to go back is for people to say"
        )
    target = record.rollback_target(known)
    if target is None:
        return f"{said}, and no release before it has succeeded"
    # Its way back may have been killed between the pin and the release.
    if pinned not in (worse.image, target.image):
        return f"{said}, but is not pinned any more, so somebody has it in hand"
    return Recovery(failed=worse, target=target)
