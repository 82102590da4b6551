"""backup: database and media, verified, named after the release; and once more where that one is too old."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Set
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from components.release import record
from components.release.context import Context
from components.release.logbook import now
from components.release.plan import Key, written
from components.release.record import Release
from components.release.running import main
from components.target import Backup


def backup(context: Context, release: Release) -> Mapping[str, Any]:
    taken = context.operations.backup(release.id, kept=record.reachable_backups(context.releases()))
    print(f"backup {taken.name}: {taken.bytes} bytes, verified, in {taken.location}", flush=True)
    return asdict(taken)


def further(context: Context, release: Release, applied: Set[Key], *, older_than: timedelta) -> Backup | None:
    """Another one, if that of the release is older: it has nothing of what was written since. Else None.

    It takes the place of that in the record, and so in what a way back names, unless the schema has changed
    since: then only the first has it as it was before.
    """
    first, began = release.done["backup"], time.monotonic()
    if now() - datetime.fromisoformat(first["taken_at"]) < older_than:
        return None
    kept = {*record.reachable_backups(context.releases()), first["name"]}
    taken = context.operations.backup(f"{release.id}-{now():%Y%m%dT%H%M%SZ}", kept=kept)
    print(f"backup {taken.name}: {taken.bytes} bytes, verified, as that of the release is old", flush=True)
    if release.done.get("preflight", {}).get("schema") == written(applied):
        seconds = time.monotonic() - began
        context.write("step done", release.id, step="backup", seconds=seconds, data=asdict(taken))
    return taken


if __name__ == "__main__":
    sys.exit(main("backup", backup, once=True))
