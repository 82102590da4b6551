"""Back from a release that failed or whose watch was breached: the last good artefact is released, once.

For stacks with `relevo:onFailure: rollback`: by the environment's `pulumi` after an `up` that failed, by who
watches, or as `relevo recover`. There is nothing to do where the record does not ask for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from components.release import logbook, notices, recovery
from components.release.context import APPROVED, DECIDED, Context, StepFailed
from components.release.recovery import Recovery
from components.release.rollback import Decision
from components.release.schema import Schema
from components.target import TargetError
from relevo import engine, operating, pin, proposal
from relevo.errors import RelevoError
from relevo.project import Project

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
    project: Project, stack: str, *, say: Callable[[str], None], context: Context | None = None
) -> None:
    """Come back from the last release, if the stack asks for it and the record too.

    `context` is of who knows the release without the engine. Raises `RelevoError` when it cannot, with the
    state of each instance.
    """
    if project.settings(stack).on_failure != "rollback":
        raise RelevoError(
            f"relevo:onFailure of stack {stack} is stop, but only with rollback does a stack come back by "
            f"itself; go back with relevo rollback --stack {stack}."
        )
    context = context or operating.context(project, stack)
    configuration = project.configuration(stack)
    wanted = recovery.due(context.releases(), pin.pinned(configuration))
    if isinstance(wanted, str):
        say(f"{wanted}.")
        return
    failed, target = wanted.failed, wanted.target
    decision = _decision(context, wanted)
    if isinstance(decision, str):
        give_up(context, wanted, decision)
    if wanted.schema_only and decision.rewind is None:
        say(
            f"{failed.version} failed in {failed.failed_step}, but no migration would be reversed for "
            f"{target.version}, so going back does not help what serves: go on with a corrected version."
        )
        return
    say(f"{failed.version} {wanted.fault}; coming back to {target.version}: {target.image}")
    # What was approved is the release that failed; that it is gone back from was decided with the setting.
    variables = {DECIDED: logbook.now().isoformat(), APPROVED: ""}
    try:
        pin.pin(configuration, target.image)
    except (RelevoError, OSError) as fault:
        give_up(context, wanted, str(fault))
    try:
        _propose(project, stack, wanted, say)
    except (RelevoError, OSError) as fault:  # the version that serves comes before its pull request
        say(f"no branch was made: {fault}")
    try:
        engine.run(project, "up", "--stack", stack, "--yes", variables=variables)
    except RelevoError as fault:
        give_up(context, wanted, str(fault))
    say(f"{target.version} serves again, and is pinned; {failed.version} {wanted.outcome}")


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


def _decision(context: Context, wanted: Recovery) -> Decision | str:
    """What becomes of the schema, as each release's preflight decides it; else why there is no way back."""
    back = replace(context, spec=replace(context.spec, image=wanted.target.image))
    try:
        with context.operations.exclusive("recover"):
            manifest = context.operations.artefact(wanted.target.image).manifest
            decision = Schema.read(back, manifest).way_back()
            return decision.refusal or decision
    except (TargetError, StepFailed) as fault:
        return str(fault)


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
    if not instance.running or deployed is None:
        return f"{name} does not run"
    where = "in rotation" if instance.in_rotation else "out of rotation"
    return f"{name} runs {deployed.version}{f', {where}' if instance.address else ''}"
