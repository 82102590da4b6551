"""A backup outside a release, by the same code that takes one in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from components.local.layout import Layout
from components.local.operations import LocalOperations
from components.release import record
from components.target import Backup
from relevo import releases
from relevo.errors import RelevoError
from relevo.project import Project


def take(project: Project, stack: str) -> Backup:
    """Database and media, verified. Raises `RelevoError` before the first release, else `TargetError`."""
    layout = Layout(project.state(stack))
    # Each instance's start is kept with the target's facts; they are the same in all.
    starts = sorted(layout.programs.glob("instance-*.json"))
    if not starts:
        raise RelevoError(f"stack {stack} was never released, so there is nothing to back up; run pulumi up.")
    operations = LocalOperations(json.loads(starts[0].read_text())["facts"])
    with operations.exclusive("backup"):
        kept = record.reachable_backups(releases.of(project, stack))
        return operations.backup(f"manual-{datetime.now(UTC):%Y%m%dT%H%M%SZ}", kept=kept)
