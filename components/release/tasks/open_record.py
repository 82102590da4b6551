"""open-record: who releases what, over what, from now on.

Who starts `pulumi up` may set two variables: RELEVO_APPROVED_PREVIEW, the digest that the approved preview
has shown, and RELEVO_DECIDED_AT, when somebody asked for a rollback (ISO 8601, with the time zone).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from components.release import notices, record, restoration
from components.release.context import APPROVED, DECIDED, Context, StepFailed
from components.release.logbook import now
from components.release.record import Entry, Release
from components.release.responsible import who
from components.release.running import recorded, run
from components.target import TargetError

STEP = "open-record"
TOLD_WITHIN = 5.0  # seconds for telling that it has started, which a release does not wait for longer


def open_record(context: Context) -> str:
    """The id of the release, opened now, or by an `up` that was killed before the engine knew of it."""
    with context.operations.exclusive("open-record"):
        entries = record.parse(context.operations.read_record())
        known = record.releases(entries)
        newest = record.current(known)
        if newest is None or not is_just_opened(context, newest):
            require_approved(context)
            data = description(context, entries, known)
            release = record.new_id(now(), data["version"], (other.id for other in known))
            context.write("release opened", release, data=data)
        opened = context.current()
        recorded(context, opened, STEP, announce)
        if "started" not in opened.told:
            notices.tell_on_record(context, "started", context.current(), within=TOLD_WITHIN)
        return opened.id


def is_just_opened(context: Context, newest: Release) -> bool:
    return newest.trigger == context.trigger and newest.verdict == "open" and set(newest.begun) <= {STEP}


def require_approved(context: Context) -> None:
    """Raises `StepFailed`, once it is recorded, where another preview was approved than this one."""
    approved = os.environ.get(APPROVED)
    if approved and approved != context.trigger:
        fault = (
            f"{APPROVED} is {approved}, but this release is {context.trigger}; have its preview approved, "
            f"and give the digest that it shows."
        )
        told = {**who(context.spec.responsible), "approved": approved, "trigger": context.trigger}
        context.write("attempt refused", None, error=fault, data=told)
        raise StepFailed(fault)


def decided_at() -> str | None:
    """When the release was asked for, if who asked says so. Raises `StepFailed` for what is no past time."""
    said = os.environ.get(DECIDED)
    if not said:
        return None
    try:
        if datetime.fromisoformat(said) <= now():
            return said
    except (ValueError, TypeError):  # no time, or one without its zone
        pass
    raise StepFailed(f"{DECIDED} is {said}, but a past time with its zone is accepted; unset it.")


def since(context: Context, entries: Sequence[Entry]) -> Mapping[str, Any]:
    """When it was asked for: with the restore before it, unless who asks says so."""
    decided, restore = decided_at(), restoration.ended_by(context.spec.image, entries)
    if decided is None and restore is not None and "decided_at" in restore.data:
        return {"decided_at": restore.data["decided_at"], "restored": restore.data["took"]}
    return {"decided_at": decided}


def description(context: Context, entries: Sequence[Entry], known: Sequence[Release]) -> Mapping[str, Any]:
    """What the record says of a release. An artefact that cannot be read is named by its digest."""
    try:
        manifest = context.operations.artefact(context.spec.image).manifest
        version, lock = manifest.version, manifest.lock
    except TargetError:
        version, lock = context.spec.image.rpartition(":")[2][:12], "unknown"
    good = record.last_good(known)
    return {
        "version": version,
        "stack": context.stack,
        "language": context.spec.language,
        "trigger": context.trigger,
        "lock": lock,
        **who(context.spec.responsible),
        "kind": record.kind(known, context.spec.image),
        **since(context, entries),
        "approved": os.environ.get(APPROVED) or None,
        "previous_image": good.image if good else None,
        "previous_version": good.version if good else None,
    }


def announce(context: Context, release: Release) -> Mapping[str, Any]:
    """The line by which the engine knows this release from every other one. Raises `TargetError`."""
    context.operations.artefact(context.spec.image)  # if it cannot be read, the release fails here, on record
    came_from = release.previous_version or "nothing"
    what = f"{came_from} → {release.version}{f' ({release.kind})' if release.kind != 'release' else ''}"
    print(f"release {release.id}: {what}, by {release.responsible}", flush=True)
    return {}


if __name__ == "__main__":
    sys.exit(run(open_record))
