"""Back to the good release before: the same line is written, and the same release runs."""

from __future__ import annotations

from collections.abc import Callable

from components.release import record
from relevo import engine, pin, releases
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
            engine.run(project, "preview", "--stack", stack)
            wanted = confirm()
        finally:
            if not wanted and before:
                pin.pin(configuration, before)
                say(f"nothing was changed; {before} is pinned as before")
        if not wanted:
            return
    engine.run(project, "up", "--stack", stack, "--yes")
