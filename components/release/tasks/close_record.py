"""close-record: the logbook entry of the release, with what took how long and what is due next."""

from __future__ import annotations

import sys

from components.release import record
from components.release.context import Context, StepFailed
from components.release.running import main

STEP = "close-record"


def close(context: Context) -> None:
    release = context.current()
    if release.verdict != "succeeded":
        context.write("release succeeded", release.id)
        release = context.current()
    for step, seconds in release.seconds.items():
        print(f"{seconds:8.2f} s  {step}", flush=True)
    print(f"{release.version} of {release.image}, lock {release.lock}, by {release.responsible}", flush=True)
    print(
        f"watch until {record.watch_until(release)}, review due at {record.review_due(release)}", flush=True
    )


def run() -> int:
    # The verdict follows the step's own entry, so that the step counts as done in it.
    status = main(STEP, lambda _context, _release: {}, once=True)
    if status == 0:
        try:
            close(Context.from_environment())
        except StepFailed as fault:
            print(fault, file=sys.stderr)
            return 1
    return status


if __name__ == "__main__":
    sys.exit(run())
