"""open-record: who releases what, over what, from now on."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from components.release import record
from components.release.context import Context
from components.release.logbook import now
from components.release.record import Release
from components.release.running import recorded, run
from components.target import TargetError

STEP = "open-record"


def open_record(context: Context) -> str:
    """The id of the release, opened now, or by an `up` that was killed before the engine knew of it."""
    with context.operations.exclusive("open-record"):
        known = context.releases()
        newest = record.current(known)
        if newest is None or not is_just_opened(context, newest):
            data = description(context, known)
            release = record.new_id(now(), data["version"], (other.id for other in known))
            context.write("release opened", release, data=data)
        opened = context.current()
        recorded(context, opened, STEP, announce)
        return opened.id


def is_just_opened(context: Context, newest: Release) -> bool:
    return newest.trigger == context.trigger and newest.verdict == "open" and set(newest.begun) <= {STEP}


def description(context: Context, known: list[Release]) -> Mapping[str, Any]:
    """What the record says of a release. An artefact that cannot be read is named by its digest."""
    try:
        manifest = context.operations.artefact(context.spec.image).manifest
        version, lock = manifest.version, manifest.lock
    except TargetError:
        version, lock = context.spec.image.rpartition(":")[2][:12], "unknown"
    good = record.last_good(known)
    return {
        "version": version,
        "trigger": context.trigger,
        "lock": lock,
        "responsible": responsible(context),
        "previous_image": good.image if good else None,
        "previous_version": good.version if good else None,
    }


def announce(context: Context, release: Release) -> Mapping[str, Any]:
    """The line by which the engine knows this release from every other one. Raises `TargetError`."""
    context.operations.artefact(context.spec.image)  # if it cannot be read, the release fails here, on record
    came_from = release.previous_version or "nothing"
    print(f"release {release.id}: {came_from} → {release.version}, by {release.responsible}", flush=True)
    return {}


def responsible(context: Context) -> str:
    """As configured, else the CI actor, else the git identity, else the user of this machine."""
    return context.spec.responsible or os.environ.get("GITHUB_ACTOR") or git_identity() or user()


def git_identity() -> str | None:
    try:
        told = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return told.stdout.strip() or None


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in containers
        return f"user {os.getuid()}"


if __name__ == "__main__":
    sys.exit(run(open_record))
