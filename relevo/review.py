"""The review of a stack's last release by hand or by CI: done where it is due, else when it will be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from components.release import logbook, record, review
from relevo import operating
from relevo.errors import RelevoError
from relevo.project import Project


class NothingToReview(RelevoError):
    """The stack names no volumes, or no release of it has succeeded."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`data`: of the entry `review done`; None: it is not due yet, or there is nothing to review.

    `release`, `version` and `due` are None where there is nothing to review. `handled`: it was done before,
    and everybody was told.
    """

    release: str | None = None
    version: str | None = None
    due: str | None = None
    data: dict[str, Any] | None = None
    lines: list[str]
    handled: bool = False

    @property
    def fine(self) -> bool:
        return self.data is None or self.data["verdict"] in ("stable", "not enough data")

    def as_json(self) -> dict[str, Any]:
        told = {"release": self.release, "version": self.version, "due": self.due}
        return {**told, **(self.data or {"verdict": None})}


def perform(project: Project, stack: str, *, early: bool) -> Outcome:
    """`early`: over the span so far, where it is not due yet.

    Raises `NothingToReview`, another `RelevoError` where the stack cannot be found, and `TargetError`.
    """
    context = operating.context(project, stack)
    wanted = context.spec.review
    if wanted is None:
        raise NothingToReview(
            f"relevo:review is missing from the last release of stack {stack}, but its volumes are what is "
            f"reviewed; name them there (docs/review.md) and run pulumi up."
        )
    known, now = context.releases(), logbook.now()
    release = record.last_good(known)
    if release is None:
        raise NothingToReview(
            f"no release of stack {stack} has succeeded, but such a one is reviewed; run pulumi up."
        )
    due = record.review_due(release, wanted)
    assert due is not None
    outcome = Outcome(release=release.id, version=release.version, due=due, lines=[])
    if not early and not review.done(release) and review.due(known, wanted, now) is None:
        return replace(outcome, lines=[f"the review of {release.version} is due at {due}"])
    handled = review.done(release) and not review.untold(context, release)
    data = dict(review.review(context, release, now))
    return replace(outcome, data=data, lines=review.said(release, data), handled=handled)


def perform_due(project: Project, stack: str) -> Outcome:
    """What a clock asks for: it is no fault that there is nothing to review yet."""
    try:
        return perform(project, stack, early=False)
    except (NothingToReview, operating.NeverReleased) as fault:
        return Outcome(lines=[f"nothing is reviewed: {fault}"])
