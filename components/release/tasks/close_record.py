"""close-record: the logbook entry of the release, with what took how long and what is due next.

What no release to go back to needs any more is removed, and who looks after the release is told of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from components.release import logbook, record, return_time
from components.release.context import Context
from components.release.record import Release
from components.release.running import main


def close(context: Context, release: Release) -> Mapping[str, Any]:
    if release.verdict != "succeeded":
        context.write("release succeeded", release.id)
        release = context.current()
    for step, seconds in release.seconds.items():
        print(f"{seconds:8.2f} s  {step}", flush=True)
    print(f"{release.version} of {release.image}, lock {release.lock}, by {release.responsible}", flush=True)
    context.operations.prune(record.reachable_images(context.releases()))
    watch = record.watch_until(release, context.spec.watch)
    review = record.review_due(release, context.spec.review)
    print(f"watch until {watch}, review due at {review}" if watch else f"review due at {review}", flush=True)
    back = return_time.of(release)
    if back is not None:
        print("\n".join(back.table()), flush=True)
        print(f"{release.kind} to {release.version}: {back}", flush=True)
    context.operations.hand_over(context.to_hand_over())
    # The last line, and its last word: the output `logbook` of the release.
    print(f"logbook: {logbook.head(context.operations)}", flush=True)
    told = {"watch_until": watch, "review_due": review}
    return told if back is None else {**told, "return_time": {**asdict(back), "within": back.within}}


if __name__ == "__main__":
    sys.exit(main("close-record", close))
