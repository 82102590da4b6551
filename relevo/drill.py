"""A backup restored for practice, and how long that takes."""

from __future__ import annotations

from components.release import notices
from components.release.drill import described, perform
from components.target import TargetError
from relevo import operating
from relevo.errors import RelevoError
from relevo.project import Project


def drill(project: Project, stack: str, backup: str | None) -> str:
    """How it went. `backup`: None for the newest. Raises `RelevoError` without one, else `TargetError`."""
    context = operating.context(project, stack)
    with context.operations.exclusive("drill"):
        last = context.operations.last_backup()
        name = backup or (last and last.name)
        if name is None:
            raise RelevoError(
                f"stack {stack} has no backup, but a drill restores one; take one with relevo backup."
            )
        try:
            return described(perform(context, name))
        except TargetError as fault:
            notices.tell_on_record(context, "drill-failed", backup=name, error=str(fault))
            raise
