"""The review that the clock starts in a stack's own network: what it found is one line of JSON.

Nobody is told from there, since no way leads out: an alert on that line reaches people.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from components.release import logbook, review
from components.release.context import Context
from components.release.running import run


def review_what_is_due(context: Context) -> None:
    silent = replace(context, spec=replace(context.spec, notify=()))
    now = logbook.now()
    release = review.due(silent.releases(), silent.spec.review, now)
    if release is None:
        print("no review is due", flush=True)
        return
    data = review.review(silent, release, now)
    told = {"relevo": "reviewed", "release": release.id, "version": release.version}
    print(json.dumps({**told, **data}), flush=True)


if __name__ == "__main__":
    sys.exit(run(review_what_is_due))
