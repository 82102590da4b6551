"""Back to the good release before: the same line is written, and the same release runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from components.release import record
from relevo import pin, releases
from relevo.errors import RelevoError
from relevo.project import Project


def rollback(
    project: Project, stack: str, *, confirm: Callable[[], bool] | None, say: Callable[[str], None]
) -> None:
    """Pin what the record names and run `pulumi up`. `confirm` is asked after a preview; None: not asked.

    Raises `RelevoError` where there is nothing to go back to, and when the release fails.
    """
    target = record.rollback_target(releases.of(project, stack))
    if target is None:
        raise RelevoError(
            f"the record of stack {stack} has no earlier good release, but a rollback goes back to one; "
            f"see relevo releases --stack {stack}."
        )
    if project.store.get(target.image) is None:
        raise RelevoError(
            f"{target.version} ({target.image}) is not in the artefact store any more, but a rollback needs "
            f"it; build its commit again with relevo build."
        )
    configuration = project.configuration(stack)
    before = pin.pin(configuration, target.image)
    say(f"back to {target.version}, which succeeded on {target.closed_at}: {target.image}")
    if confirm is not None:
        wanted = False
        try:
            pulumi(project, "preview", "--stack", stack)
            wanted = confirm()
        finally:
            if not wanted and before:
                pin.pin(configuration, before)
                say(f"nothing was changed; {before} is pinned as before")
        if not wanted:
            return
    pulumi(project, "up", "--stack", stack, "--yes")


def pulumi(project: Project, *arguments: str) -> None:
    """The engine, with its output as it is. Raises `RelevoError` if it fails."""
    # Beside our own Python is the one that knows this checkout's stacks, activated or not.
    beside = Path(sys.executable).with_name("pulumi")
    program = str(beside) if beside.exists() else shutil.which("pulumi")
    if program is None:
        raise RelevoError("pulumi is not on PATH, but it makes the release; run make setup.")
    sys.stdout.flush()
    done = subprocess.run([program, *arguments], cwd=project.root, check=False)
    if done.returncode:
        raise RelevoError(
            f"pulumi {arguments[0]} ended with {done.returncode}, so the release did not complete; "
            f"see its output above and relevo status."
        )
