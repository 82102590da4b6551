"""backup: database and media, verified, named after the release."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from components.release import record
from components.release.context import Context
from components.release.record import Release
from components.release.running import main


def backup(context: Context, release: Release) -> Mapping[str, Any]:
    taken = context.operations.backup(release.id, kept=record.reachable_backups(context.releases()))
    print(f"backup {taken.name}: {taken.bytes} bytes, verified, in {taken.location}", flush=True)
    return asdict(taken)


if __name__ == "__main__":
    sys.exit(main("backup", backup, once=True))
