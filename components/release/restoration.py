"""Which backup a way back needs, which artefact runs on it, what a killed restore leaves. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from datetime import UTC, datetime

from components.release import record, recorded_schema
from components.release.history import known_to
from components.release.manifest import Manifest
from components.release.plan import Key
from components.release.record import Entry, Release

EVENTS = ("restore started", "restore done", "restore failed")
TAKEN = re.compile(r"\d{8}T\d{6}Z")  # in the name of every backup: "manual-20261124T140210Z"


def backup_for(pinned: Manifest, applied: Set[Key], known: Sequence[Release]) -> str | None:
    """The one that has no migration which the pinned artefact does not know: that which a refusal names.

    Where there is none, also since it was left applied on purpose, the one taken before the last release that
    got as far as the schema; or, where that has reversed migrations that lose values, the one that has them.
    None: the record has no such backup.
    """
    ours = {name for release in known for name in record.pending(release)}
    surplus = ours & {f"{app}.{name}" for app, name in applied - known_to(pinned)}
    last = next((one for one in reversed(known) if _changed(one) and "backup" in one.done), None)
    rewound = last.done.get("rewind", {}) if last else {}
    if last and last.version == pinned.version:
        surplus -= {*rewound.get("left_applied", ()), *rewound.get("left_behind", ())}
    needed = record.backup_without(known, surplus or rewound.get("lost", ()))
    if needed is not None or last is None:
        return needed
    return last.done["backup"]["name"]


def _changed(release: Release) -> bool:
    """Whether the schema may be another since this release."""
    return "migrate" in release.begun or bool(release.done.get("rewind", {}).get("reversed"))


def within(target: Manifest, backups: Sequence[str], entries: Sequence[Entry]) -> str | None:
    """The first of the backups that, by the record, has no migration which the artefact does not know."""
    ours = {name for release in record.releases(entries) for name in record.pending(release)}
    for backup in backups:
        applied = recorded_schema.applied(entries[: _taken(backup, entries)])
        if applied is not None and not ours & {f"{app}.{name}" for app, name in applied - known_to(target)}:
            return backup
    return None


def ran_at(backup: str | None, entries: Sequence[Entry]) -> Entry | None:
    """The entry that tells the artefact, `image`, which ran when the backup of this name was taken.

    That is the last that had passed its gate on an instance, or that of a restore since. `backup` None: which
    runs now. None: none has run yet, or the backup is of nobody's.
    """
    known = entries if backup is None else entries[: _taken(backup, entries)]
    return next(
        (
            entry
            for entry in reversed(known)
            if entry.event == "restore done"
            or (entry.event == "step done" and (entry.step or "").startswith(record.ROLL))
        ),
        None,
    )


def ended_by(image: str, entries: Sequence[Entry]) -> Entry | None:
    """The end of the restore that a release of the image, opened now, completes: what it pinned then runs.

    None: the record has no such restore since the last release was opened.
    """
    last = next((e for e in reversed(entries) if e.event in ("restore done", "release opened")), None)
    return last if last is not None and (last.event, last.image) == ("restore done", image) else None


def unfinished(entries: Sequence[Entry]) -> Entry | None:
    """The beginning of a restore that has no end on record: it still runs, or was killed."""
    last = next((entry for entry in reversed(entries) if entry.event in EVENTS), None)
    return last if last is not None and last.event == "restore started" else None


def doubt(begun: Entry, stack: str) -> str:
    """What a restore that was killed leaves, with the remedy."""
    return (
        f"the restore of {source(begun)}, begun {begun.time[:19]}, has not come to its end, so the database "
        f"may be of another version than what is pinned; run relevo restore --stack {stack}, which completes "
        f"it"
    )


def source(begun: Entry) -> str:
    """What it brings back, for people."""
    backup = begun.data.get("backup")
    return f"backup {backup}" if backup else "what had been put aside"


def _taken(backup: str, entries: Sequence[Entry]) -> int:
    """How many entries there were before it: by the step that took it, else by the time in its name."""
    for number, entry in enumerate(entries):
        if (entry.event, entry.step) == ("step done", "backup") and entry.data.get("name") == backup:
            return number
    found = TAKEN.search(backup)
    if found is None:
        return 0
    at = datetime.strptime(found.group(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return sum(datetime.fromisoformat(entry.time) <= at for entry in entries)
