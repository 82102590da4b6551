"""open-record: who releases what, over what, from now on."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import time

from components.release import record
from components.release.context import Context, StepFailed, now
from components.release.running import interruptible, masked
from components.target import TargetError

STEP = "open-record"


def responsible(context: Context) -> str:
    """As configured, else the CI actor, else the git identity, else the user of this machine."""
    if context.spec.responsible:
        return context.spec.responsible
    if actor := os.environ.get("GITHUB_ACTOR"):
        return actor
    name = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)
    return name.stdout.strip() or getpass.getuser()


def open_record(context: Context) -> str:
    """The id of the release, opened now, or by an `up` that was killed before the engine knew of it."""
    with context.operations.exclusive():
        began = time.monotonic()
        manifest = context.operations.artefact(context.spec.image).manifest
        known = context.releases()
        newest = record.current(known)
        if (
            newest is not None
            and newest.trigger == context.trigger
            and newest.verdict == "open"
            and set(newest.begun) <= {STEP}
        ):
            release = newest.id
        else:
            good = record.last_good(known)
            release = record.new_id(now(), manifest.version, (other.id for other in known))
            context.write(
                "release opened",
                release,
                data={
                    "version": manifest.version,
                    "trigger": context.trigger,
                    "lock": manifest.lock,
                    "responsible": responsible(context),
                    "previous_image": good.image if good else None,
                    "previous_version": good.version if good else None,
                },
            )
        context.write("step started", release, step=STEP)
        opened = context.current()
        context.write("step done", release, step=STEP, seconds=time.monotonic() - began)
        came_from = opened.previous_version or "nothing"
        print(f"release {release}: {came_from} → {opened.version}, by {opened.responsible}", flush=True)
        return release


def main() -> int:
    try:
        context = Context.from_environment()
        with masked(context), interruptible():
            open_record(context)
    except (StepFailed, TargetError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
