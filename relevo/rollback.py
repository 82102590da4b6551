"""Back to the good release before: the same line is written, and the same release runs."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable

from components.release import logbook, record, return_time
from components.release.context import APPROVED, DECIDED
from components.release.record import Release
from components.release.responsible import who
from components.target import TargetError
from relevo import countdown, engine, operating, pin, releases
from relevo.errors import RelevoError
from relevo.project import Project

DIGEST = re.compile(r"preview digest: ([0-9a-f]{64})")


def rollback(
    project: Project,
    stack: str,
    *,
    confirm: Callable[[], bool] | None,
    say: Callable[[str], None],
    critical: bool = False,
) -> None:
    """Pin what the record names and run `pulumi up`. `confirm` is asked after a preview; None: not asked.

    `critical`: under a clock that counts the limit down, with what took how long at the end; all that guards
    data is done as ever. Raises `RelevoError` where there is nothing to go back to, and when the release
    fails.
    """
    decided = logbook.now()
    target = _target(project, stack)
    configuration = project.configuration(stack)
    before = pin.pin(configuration, target.image)
    say(f"back to {target.version}, which succeeded on {target.closed_at}: {target.image}")
    approved = ""  # where nobody is asked, nothing is: what the environment has is of another release
    if confirm is not None:
        wanted = False
        try:
            approved = _preview(project, stack)
            wanted = confirm()
        finally:
            if not wanted and before:
                pin.pin(configuration, before)
                say(f"nothing was changed; {before} is pinned as before")
        if not wanted:
            return
    variables = {DECIDED: decided.isoformat(timespec="milliseconds"), APPROVED: approved}
    if not critical:
        engine.run(project, "up", "--stack", stack, "--yes", variables=variables)
        return
    clock = countdown.Clock(decided, return_time.LIMIT)
    try:
        # The preview has nobody to read it here, and preflight refuses whatever it would.
        countdown.run(project, clock, "up", "--stack", stack, "--yes", "--skip-preview", variables=variables)
    finally:
        with contextlib.suppress(RelevoError, TargetError):  # the engine's own failure must be told
            last = record.current(releases.of(project, stack))
            if last is not None and last.image == target.image and (took := return_time.of(last)):
                for line in took.table():
                    say(line)
                say(f"{last.kind} to {last.version}: {took}")


def _preview(project: Project, stack: str) -> str:
    """Show it; returns its digest, "" where the preview cannot know the facts yet."""
    found = ""

    def show(line: str) -> None:
        nonlocal found
        print(line, flush=True)
        if digest := DIGEST.search(line):
            found = digest.group(1)

    colours = ["--color", "always"] if sys.stdout.isatty() else []
    engine.follow(project, "preview", "--stack", stack, *colours, show=show)
    return found


def _target(project: Project, stack: str) -> Release:
    known = releases.of(project, stack)
    target = record.rollback_target(known)
    if target is None:
        fault = (
            f"the record of stack {stack} has no earlier good release, but a rollback goes back to one; "
            f"see relevo releases --stack {stack}."
        )
    elif project.settings(stack).target == "local" and project.store.get(target.image) is None:
        fault = (
            f"{target.version} ({target.image}) is not in the artefact store any more, but a rollback needs "
            f"it; build its commit again with relevo build."
        )
    else:
        return target
    if known:
        _record_refusal(project, stack, fault)
    raise RelevoError(fault)


def _record_refusal(project: Project, stack: str, fault: str) -> None:
    """As far as the stack can be reached: the refusal itself must be told all the same."""
    with contextlib.suppress(RelevoError, TargetError):
        context = operating.context(project, stack)
        told = who(context.spec.responsible)
        logbook.write(context.operations, "attempt refused", step="rollback", error=fault, data=told)
