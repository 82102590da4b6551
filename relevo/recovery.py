"""Back from a release that failed or whose watch was breached: the last good artefact is released, once.

For stacks with `relevo:onFailure: rollback`: by the environment's `pulumi` after an `up` that failed, by who
watches, or as `relevo recover`. There is nothing to do where the record does not ask for it.

Two may come back at the same time, as a job of CI that is run again while the first one's engine still works.
The engine's lock is held by one of them; the other waits, and leaves off once the record has the way back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TypeVar

from components.release import logbook, notices, recovery
from components.release.context import APPROVED, DECIDED, Context, StepFailed
from components.release.recovery import Recovery
from components.release.rollback import Decision
from components.release.schema import Schema
from components.target import TargetError
from relevo import engine, operating, pin, proposal
from relevo.errors import RelevoError
from relevo.project import Project
from relevo.situation import unconfirmed

T = TypeVar("T")

PAUSE_SECONDS = 60.0  # before what failed by what may pass is tried again
PATIENCE_SECONDS = 600.0  # of a way back that must take 30 minutes at most
REFUSED = "could not come back by itself"
PULL_REQUEST = """\
Release {failed.id} of {failed.version} on stack {stack} {wanted.fault}:

    {wanted.detail}

The stack has `relevo:onFailure: rollback`, so {target.version}, which succeeded on {target.closed_at}, was
pinned and released again. This commit has what runs: without it the next `pulumi up`
releases {failed.version}.

    relevo:image: {target.image}
"""


def recover(
    project: Project,
    stack: str,
    *,
    say: Callable[[str], None],
    context: Context | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Come back from the last release, if the stack asks for it and the record too.

    `context` is of who knows the release without the engine. What may pass (a lock that another holds, a
    target or a state that does not answer) is waited for, `PATIENCE_SECONDS`. Raises `RelevoError` when it
    cannot, with the state of each instance, and `TargetError` where the record cannot be read.
    """
    if project.settings(stack).on_failure != "rollback":
        raise RelevoError(
            f"relevo:onFailure of stack {stack} is stop, but only with rollback does a stack come back by "
            f"itself; go back with relevo rollback --stack {stack}."
        )
    context = context or operating.context(project, stack)
    configuration = project.configuration(stack)

    def due() -> Recovery | str:
        found = recovery.due(context.releases(), pin.pinned(configuration))
        if isinstance(found, str) or found.failed.verdict == "failed":
            return found
        if (found.failed.watched or {}).get("goes_back"):
            return found
        # It may be long ago, and people may have decided to keep it.
        return (
            f"{found.failed.version} {found.fault}, but its watch has not asked for a way back; go back with "
            f"relevo rollback --stack {stack}"
        )

    def wait_for(attempt: Callable[[], T]) -> T:
        return patiently(attempt, say=say, clock=clock, sleep=sleep)

    wanted = wait_for(due)
    if isinstance(wanted, str):
        say(f"{wanted}.")
        return
    failed, target = wanted.failed, wanted.target
    try:
        decision = wait_for(lambda: _decision(context, wanted))
    except (TargetError, StepFailed) as fault:
        give_up(context, wanted, str(fault))
    if decision.refusal is not None:
        give_up(context, wanted, decision.refusal)
    if decision.rewind is not None and decision.rewind.lost:
        give_up(context, wanted, f"{target.version} would run without what it had: {decision.rewind.loss}")
    if wanted.schema_only and decision.rewind is None:
        say(
            f"{failed.version} failed in {failed.failed_step}, but no migration would be reversed for "
            f"{target.version}, so going back does not help what serves: go on with a corrected version."
        )
        return
    try:
        elsewhere = _elsewhere(wanted, wait_for(due))  # it may have waited for minutes
    except TargetError as fault:
        give_up(context, wanted, str(fault))
    if elsewhere is not None:
        say(f"{elsewhere}.")
        return
    say(f"{failed.version} {wanted.fault}; coming back to {target.version}: {target.image}")
    try:
        pin.pin(configuration, target.image)
    except (RelevoError, OSError) as fault:
        give_up(context, wanted, str(fault))
    try:
        _propose(project, stack, wanted, say)
    except (RelevoError, OSError) as fault:  # the version that serves comes before its pull request
        say(f"no branch was made: {fault}")
    try:
        elsewhere = wait_for(_Release(project, stack, context, wanted))
    except (RelevoError, TargetError) as fault:
        give_up(context, wanted, str(fault))
    if elsewhere is None:
        say(f"{target.version} serves again, and is pinned; {failed.version} {wanted.outcome}")
    else:
        say(f"the way back is not gone on with: {elsewhere}.")


def patiently(
    attempt: Callable[[], T],
    *,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What it returns. A `TargetError` is waited out, and raised only `PATIENCE_SECONDS` after the first."""
    since: float | None = None
    while True:
        try:
            return attempt()
        except TargetError as fault:
            since = clock() if since is None else since
            if clock() - since >= PATIENCE_SECONDS:
                raise
            say(f"{str(fault).rstrip('.')}; that may pass, so it is tried again in {PAUSE_SECONDS:.0f} s")
        sleep(PAUSE_SECONDS)


class _Release:
    """A try to release the target. The engine's fault may pass as long as the record has no release by it."""

    def __init__(self, project: Project, stack: str, context: Context, wanted: Recovery) -> None:
        self._project, self._stack = project, stack
        self._context, self._wanted = context, wanted
        self._decided = logbook.now().isoformat()
        self._fault: RelevoError | None = None  # of the engine, until it is known what it has done

    def __call__(self) -> str | None:
        """None once it is released; else, as a clause, why that is not ours any more.

        Raises `RelevoError` where it has failed, `TargetError` where nothing has begun or that is not known.
        """
        if self._fault is None:
            due = recovery.due(self._context.releases(), self._wanted.failed.image)
            if (elsewhere := _elsewhere(self._wanted, due)) is not None:
                return elsewhere
            if pin.pinned(self._project.configuration(self._stack)) != self._wanted.target.image:
                return f"{self._wanted.target.version} is not pinned any more, so somebody has it in hand"
            # What was approved is the release that failed; that it is gone back from was decided with the
            # setting.
            variables = {DECIDED: self._decided, APPROVED: ""}
            try:
                engine.run(self._project, "up", "--stack", self._stack, "--yes", variables=variables)
                return None
            except engine.Stopped:
                raise
            except RelevoError as fault:
                self._fault = fault
        if any(known.decided_at == self._decided for known in self._context.releases()):
            raise self._fault
        fault, self._fault = self._fault, None
        raise TargetError(f"no release was opened: {fault}")


def _elsewhere(wanted: Recovery, due: Recovery | str) -> str | None:
    """Why what was wanted is not to be done any more, by what is due now; None: it is."""
    if isinstance(due, str):
        return due
    return None if due.failed.id == wanted.failed.id else f"{due.failed.version} has failed since"


def _propose(project: Project, stack: str, wanted: Recovery, say: Callable[[str], None]) -> None:
    """Where the checkout is a git clone: the pin, committed on a branch, and a text for its pull request."""
    failed, target = wanted.failed, wanted.target
    title = f"Roll {stack} back to {target.version}: {failed.version} {wanted.fault}"
    body = PULL_REQUEST.format(stack=stack, wanted=wanted, failed=failed, target=target)
    branch = f"relevo/rollback-{stack}-{failed.id}"
    made = proposal.propose(project.configuration(stack), target.image, branch, f"{title}\n\n{body}")
    if made is None:
        say("no branch was made: the file is not in git, or its commit has this pin already")
        return
    text = Path(project.root, ".relevo", f"{branch.replace('/', '-')}.md")
    text.parent.mkdir(exist_ok=True)
    text.write_text(f"{title}\n\n{body}")
    say(f"the pin is committed on branch {branch} ({made.commit[:12]}); its pull request's text is in {text}")


def _decision(context: Context, wanted: Recovery) -> Decision:
    """What becomes of the schema, as each release's preflight decides it. Raises as its steps do."""
    back = replace(context, spec=replace(context.spec, image=wanted.target.image))
    with context.operations.exclusive("recover"):
        manifest = context.operations.artefact(wanted.target.image).manifest
        return Schema.read(back, manifest).way_back()


def give_up(context: Context, wanted: Recovery, fault: str) -> NoReturn:
    """Say it loudly, everywhere, with the state of each instance. Raises `RelevoError`."""
    failed, target = wanted.failed, wanted.target
    states = [_state(context, name) for name in (*context.spec.processes, *context.spec.instances)]
    said = (
        f"{failed.version} {wanted.fault}, and the stack {REFUSED} to {target.version}: "
        f"{fault.rstrip('.')}. {'; '.join(states)}. What serves goes on serving; somebody has to act."
    )
    with contextlib.suppress(TargetError):  # people are told all the same
        logbook.write(
            context.operations,
            "recovery failed",
            release=failed.id,
            image=target.image,
            error=fault,
            data={"states": states},
        )
    told = f"{fault.rstrip('.')}. {'; '.join(states)}."
    notices.tell_on_record(context, "recovery-failed", failed, target=target.version, error=told)
    raise RelevoError(said)


def _state(context: Context, name: str) -> str:
    """What runs there, and whether visitors reach it, as the target itself has it now."""
    try:
        instance = context.operations.instance(name)
        deployed = context.operations.deployed(name)
    except TargetError as fault:
        return f"{name} cannot be asked ({fault})"
    where = "in rotation" if instance.in_rotation else "out of rotation"
    if instance.running and deployed:
        return f"{name} runs {deployed.version}{f', {where}' if instance.address else ''}"
    if instance.running and instance.deployment:
        return f"{name}{f', {where},' if instance.address else ''} {unconfirmed(instance.deployment)}"
    return f"{name} does not run"
