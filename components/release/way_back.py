"""Which backup a way back needs, and which artefact runs on what it brings back. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from datetime import UTC, datetime

from components.release import record
from components.release.manifest import Manifest
from components.release.plan import Key
from components.release.record import Entry, Release
from components.release.rollback import known_to

TAKEN = re.compile(r"\d{8}T\d{6}Z")  # in the name of every backup: "manual-20261124T140210Z"


def backup_for(pinned: Manifest, applied: Set[Key], known: Sequence[Release]) -> str | None:
    """The one that has no migration which the pinned artefact does not know: that which a refusal names.

    Where it knows them all, the one taken before the last release that got as far as the schema. None: the
    record has no such backup.
    """
    ours = {name for release in known for name in _pending(release)}
    surplus = ours & {f"{app}.{name}" for app, name in applied - known_to(pinned)}
    before_last = next(
        (
            release.done["backup"]["name"]
            for release in reversed(known)
            if "migrate" in release.begun and "backup" in release.done
        ),
        None,
    )
    return (record.backup_without(known, surplus) if surplus else None) or before_last


def served_at(backup: str, known: Sequence[Release]) -> Release | None:
    """The good release that served when the backup of this name was taken; None: none did yet."""
    for number, release in enumerate(known):
        if release.id == backup:
            return record.last_good(known[:number])
    taken = TAKEN.search(backup)
    if taken is None:
        return None
    at = datetime.strptime(taken.group(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return next(
        (
            release
            for release in reversed(known)
            if release.verdict == "succeeded"
            and release.closed_at is not None
            and datetime.fromisoformat(release.closed_at) <= at
        ),
        None,
    )


def schema_is_of(entries: Sequence[Entry]) -> str | None:
    """The artefact that has made the schema as it is: the last that migrated, or that of a restore since."""
    return next(
        (
            entry.image
            for entry in reversed(entries)
            if entry.event == "restore done" or (entry.event, entry.step) == ("step done", "migrate")
        ),
        None,
    )


def _pending(release: Release) -> Sequence[str]:
    return release.done.get("preflight", {}).get("pending", ())
