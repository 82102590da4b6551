"""The pages follow the record: what an entry has changed is drawn anew and handed to the target.

An entry of a step changes the page of its release. The index is left alone until the release has ended, but
where something else serves: the longer the record, the more it costs (docs/logbook.md has figures). With each
release all are drawn: an older Relevo wrote none, and a disk may have been full.
"""

from __future__ import annotations

import json
import sys

from jinja2 import TemplateError

from components.release import account, record
from components.release.pages import rendering
from components.release.record import Entry
from components.target import Operations, TargetError

# Whatever a drawing may fail by. Not `Exception`: a step that is interrupted must end.
FAULTS = (
    *(TargetError, TemplateError, ArithmeticError, AttributeError),
    *(LookupError, OSError, RuntimeError, TypeError, ValueError),
)
WITHIN = ("step started", "step done", "step failed", "notified")  # of a release, and not its ends


def publish(operations: Operations, written: bytes, newest: Entry) -> None:
    """After `newest`, the last entry of the whole record `written`. A failure is said, and stops nothing."""
    try:
        while rendering.FIRST in (pages := changed(written, newest)):
            operations.publish(pages)
            # Whoever wrote meanwhile may have published before: then this was an older index.
            if len(now := operations.read_record()) == len(written):
                return
            written = now
        operations.publish(pages)
    except FAULTS as fault:
        if newest.event not in WITHIN:
            said = " ".join(str(fault).split())
            print(
                f"the logbook's pages are not up to date ({type(fault).__name__}: {said}); all else goes on. "
                f"relevo logbook --html FOLDER writes them, too.",
                file=sys.stderr,
                flush=True,
            )


def changed(written: bytes, newest: Entry) -> dict[str, bytes]:
    if newest.event == "release opened":
        return rendering.pages(account.of(written))
    if newest.release is None:
        return rendering.pages(account.of(written), of=())
    entries = of_release(written, newest.release)
    release = next(iter(record.releases(entries)), None)
    rolled = newest.event == "step done" and (newest.step or "").startswith(record.ROLL)
    of_a_step = newest.event in ("step started", "step done") and not rolled
    if release and release.verdict == "open" and of_a_step:
        return rendering.release_pages(account.told(release, entries), release.stack)
    told = account.of(written)
    left = [one.id for one in told.releases if one.review and one.review.left_to == newest.release]
    of = [newest.release, *left] if newest.event == "release succeeded" else [newest.release]
    return rendering.pages(told, of=of)


def of_release(written: bytes, id: str) -> list[Entry]:
    """Without parsing what belongs to others."""
    needle = json.dumps(id).encode()
    lines = b"\n".join(line for line in written.split(b"\n") if needle in line)
    return [entry for entry in record.parse(lines) if entry.release == id]
