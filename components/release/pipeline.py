"""Whether the checks that CI ran on a revision let it out. Pure; github.py asks for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from components.release.spec import Pipeline

State = Literal["green", "running", "red"]


@dataclass(frozen=True, kw_only=True)
class CheckRun:
    """One check of a revision. `detail` is CI's own word for how it stands."""

    name: str
    state: State
    detail: str


def refusal(found: Collection[CheckRun], wanted: Pipeline, revision: str) -> str | None:
    """Why the revision may not be released; None: it may.

    Of several checks of one name, as when two workflows have a job of that name, all count.
    """
    counted = [check for check in found if is_wanted(check.name, wanted)]
    names = {check.name for check in counted}
    red, running = named(counted, "red"), named(counted, "running")
    absent = [name for name in wanted.checks if name not in names]
    parts = [
        f"{what} {', '.join(checks)}"
        for what, checks in (("red at", red), ("still running", running), ("has no check", absent))
        if checks
    ]
    if not counted and not absent:
        parts = ["has no check at all"]
    if not parts:
        return None
    if red:
        remedy = "correct it, commit and build again"
    elif running:
        remedy = "wait for it, then run pulumi up"
    else:
        remedy = "push the revision and wait for its checks, or correct relevo:pipeline"
    return f"revision {revision[:12]} in {wanted.github}: {', '.join(parts)}; {remedy}"


def is_wanted(name: str, wanted: Pipeline) -> bool:
    return name in wanted.checks if wanted.checks else name not in wanted.all_but


def named(checks: Sequence[CheckRun], state: State) -> list[str]:
    """Each with CI's word for it, once."""
    return list(dict.fromkeys(f"{check.name} ({check.detail})" for check in checks if check.state == state))
