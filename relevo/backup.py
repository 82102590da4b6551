"""A backup outside a release, by the same code that takes one in it."""

from __future__ import annotations

from components.release import record
from components.release.logbook import now
from components.target import Backup
from relevo import operating
from relevo.project import Project


def take(project: Project, stack: str) -> Backup:
    """Database and media, verified. Raises `RelevoError` before the first release, else `TargetError`."""
    context = operating.context(project, stack)
    with context.operations.exclusive("backup"):
        kept = record.reachable_backups(context.releases())
        return context.operations.backup(f"manual-{now():%Y%m%dT%H%M%SZ}", kept=kept)
