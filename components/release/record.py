"""The record of a stack: append-only entries, and what follows from them.

Pure: the target reads and writes the lines.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from components.release import chain, reading
from components.release.audiences import Language
from components.release.spec import Review, Watch
from components.target import TargetError

Event = Literal[
    "release opened",
    "step started",
    "step done",
    "step failed",
    "release failed",
    "release succeeded",
    "notified",
    "attempt refused",
    "recovery failed",
    "restore started",
    "restore done",
    "restore failed",
    "kept database dropped",
    "drill done",
    "drill failed",
    "watch started",
    "watch breached",
    "watch done",
    "review done",
]
Verdict = Literal["open", "failed", "succeeded"]
Kind = Literal["release", "re-release", "rollback", "recovery"]
WAYS_BACK = ("rollback", "recovery")

REVIEW_AFTER = timedelta(hours=24)
REMEMBERED = 10
OPTIONAL = ("kind", "decided_at", "restored", "identity", "approved", "stack", "language")  # of an opening
SMOKE = "smoke"
ROLL = "roll-"  # begins the name of the step that puts a release on an instance or a further process


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. `time` is ISO 8601 in UTC; `data` is what the event's step has to say, JSON-able.

    `release` and `image` are None for what belongs to no release.
    """

    time: str
    event: Event
    release: str | None
    image: str | None
    step: str | None = None
    seconds: float | None = None
    error: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def after(self, earlier: bytes) -> str:
        """Its line in the record, which has `earlier` before it."""
        return chain.link(earlier, asdict(self))


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release as its entries tell it."""

    id: str
    version: str
    image: str
    trigger: str
    lock: str
    responsible: str
    opened_at: str
    previous_image: str | None
    previous_version: str | None
    kind: Kind = "release"
    decided_at: str | None = None  # when somebody asked for it, if before it was opened
    restored: Mapping[str, float] = field(default_factory=dict)  # seconds of the restore it ends, by part
    identity: Mapping[str, str] = field(default_factory=dict)  # of who is responsible, as far as known
    approved: str | None = None  # the digest of the preview that somebody approved; None: nobody was asked
    stack: str | None = None
    language: Language = "en"  # of the stack's pages
    verdict: Verdict = "open"
    closed_at: str | None = None
    error: str | None = None
    failed_step: str | None = None
    begun: tuple[str, ...] = ()  # steps in the order in which they first began
    done: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # step → its data
    seconds: Mapping[str, float] = field(default_factory=dict)  # step → how long it took
    ended: Mapping[str, str] = field(default_factory=dict)  # step → when it was done
    left: tuple[str, ...] = ()  # instances and processes that have what ran before again, since their step
    told: tuple[str, ...] = ()  # of which events receivers were notified, besides by the step notify
    told_of: tuple[str, ...] = ()  # of which volumes, that they are not stable
    watching: Mapping[str, Any] | None = None  # what the watch said at its beginning
    breached: Mapping[str, Any] | None = None  # what the watch's first breach said
    breaches: tuple[str, ...] = ()  # the measures that were breached
    unasked: tuple[str, ...] = ()  # of these, what was found while the stack did not come back by itself
    watched: Mapping[str, Any] | None = None  # what the watch said at its end
    reviewed: Mapping[str, Any] | None = None  # what the last review said
    stuck: str | None = None  # why the stack could not come back from it by itself


def parse(record: bytes) -> list[Entry]:
    """The entries. Half a line, left by a crash in the middle of writing it, is passed over."""
    entries = []
    for line in record.split(b"\n"):
        with contextlib.suppress(ValueError, TypeError):  # not JSON, not an object, not a whole entry
            entries.append(Entry(**reading.known(Entry, json.loads(line))))
    return entries


def releases(entries: Iterable[Entry]) -> list[Release]:
    """Every release, oldest first. Raises `TargetError` for an opening that lacks what must be in it."""
    found: dict[str, Release] = {}
    for entry in entries:
        if entry.release is None:
            continue
        if entry.event == "release opened":
            found[entry.release] = _opened(entry, list(found.values()))
        elif entry.release in found:
            found[entry.release] = _after(found[entry.release], entry)
    return list(found.values())


def _opened(entry: Entry, earlier: Sequence[Release]) -> Release:
    # An older Relevo did not write the kind.
    data = {
        "kind": entry.data.get("kind") or kind(earlier, entry.image or ""),
        **entry.data,
        "id": entry.release,
        "image": entry.image,
        "opened_at": entry.time,
    }
    needed = reading.required(Release)
    if absent := [name for name in needed if name not in data]:
        raise TargetError(
            f"the record's opening of release {entry.release} has no {', '.join(absent)}, but a release is "
            f"known by them; use the version of Relevo that wrote it."
        )
    # The rest comes from the entries after it.
    return Release(**{name: data[name] for name in (*needed, *OPTIONAL) if name in data})


def _after(release: Release, entry: Entry) -> Release:
    changes: dict[str, Any] = {}
    if entry.event == "step started" and entry.step:
        # What failed and goes on is open again; what succeeded stays so.
        if release.verdict != "succeeded":
            changes = {"verdict": "open", "closed_at": None, "error": None, "failed_step": None}
        if entry.step not in release.begun:
            changes["begun"] = (*release.begun, entry.step)
    elif entry.event == "step done" and entry.step:
        changes = {
            "done": {**release.done, entry.step: entry.data},
            "seconds": {**release.seconds, entry.step: entry.seconds or 0.0},
            "ended": {**release.ended, entry.step: entry.time},
        }
        if entry.step.startswith((ROLL, SMOKE)):  # which those that were reached before must serve
            changes["left"] = ()
    elif entry.event == "notified":
        changes = {"told": (*release.told, entry.data.get("event", "failed"))}
        if "volume" in entry.data:
            changes["told_of"] = (*release.told_of, entry.data["volume"])
    elif entry.event == "watch started":
        changes = {"watching": entry.data}
    elif entry.event == "watch breached":
        measure = entry.data.get("measure", "")
        changes = {
            "breached": release.breached or entry.data,
            "breaches": (*release.breaches, measure),
        }
        if not entry.data.get("asked", True):
            changes["unasked"] = (*release.unasked, measure)
    elif entry.event == "recovery failed":
        changes = {"stuck": entry.error or "it is not known why"}
    elif entry.event == "watch done":
        changes = {"watched": entry.data}
    elif entry.event == "review done":
        changes = {"reviewed": entry.data}
    elif release.verdict == "succeeded":
        pass  # What serves goes on serving, also when telling somebody of it fails.
    elif entry.event == "step failed":
        changes = {"failed_step": entry.step, "error": entry.error}
    elif entry.event == "release failed":
        changes = {"verdict": "failed", "closed_at": entry.time}
    elif entry.event == "release succeeded":
        changes = {"verdict": "succeeded", "closed_at": entry.time, "error": None, "failed_step": None}
    if entry.event == "step failed":  # also of what has succeeded before
        changes["left"] = (*release.left, *entry.data.get("left", ()))
    return Release(**{**vars(release), **changes})


def again(known: Iterable[Release], release: Release) -> Release:
    """The release as it is by now."""
    return next(other for other in known if other.id == release.id)


def current(known: Sequence[Release]) -> Release | None:
    """The release that was opened last."""
    return known[-1] if known else None


def last_good(known: Sequence[Release]) -> Release | None:
    """The newest release that succeeded."""
    return next((release for release in reversed(known) if release.verdict == "succeeded"), None)


def has_succeeded(known: Sequence[Release], image: str) -> bool:
    return any(release.image == image and release.verdict == "succeeded" for release in known)


def serving(known: Sequence[Release]) -> dict[str, Release]:
    """Instance or process → the release that was put there last, passed its gate, and was not taken away."""
    return {
        name: release
        for release in known
        for step in release.done
        if step.startswith(ROLL) and (name := step.removeprefix(ROLL)) not in release.left
    }


def nothing_runs(known: Sequence[Release], applied: Iterable[str]) -> bool:
    """Whether no version can be running on a database that has `applied` ("app.name").

    No release has got as far as an instance, and all that is applied comes from these releases. Else somebody
    else may use the database, of whom the record knows nothing.
    """
    ours = {name for release in known for name in pending(release)}
    return not serving(known) and ours.issuperset(applied)


def kind(earlier: Sequence[Release], image: str) -> Kind:
    """What a release of the image is, after these: its way back, if it is one, is what the time limit is for.

    A recovery puts back what served before a release that did not succeed, a rollback what served before the
    good one. Forward again to a version that was gone back from is a re-release.
    """
    way = _way_back(earlier)
    if way and way[-1].image == image:
        last = earlier[-1]
        return "recovery" if last.image != image and last.verdict != "succeeded" else "re-release"
    if any(release.image == image for release in way):
        return "rollback"
    return "re-release" if has_succeeded(earlier, image) else "release"


def rollback_target(known: Sequence[Release]) -> Release | None:
    """What a rollback would pin: after a failure the last good release, else the good one before it.

    Never a version that was gone back from: whoever goes back twice wants the one still before.
    """
    way = _way_back(known)
    if way and way[-1].image == known[-1].image:
        way.pop()
    return way[-1] if way else None


def _way_back(known: Sequence[Release]) -> list[Release]:
    """Good releases of different images, each released over the one before it; the last one serves."""
    way: list[Release] = []
    for release in known:
        if release.verdict == "succeeded":
            images = [earlier.image for earlier in way]
            if release.image in images:
                del way[images.index(release.image) :]
            way.append(release)
    return way


def reachable_images(known: Sequence[Release]) -> frozenset[str]:
    """Images that a rollback may still need: the last ten good ones, its target's, and the newest one.

    And whose migrations are applied without the newest good one knowing them: a rewind is done by them, and
    only they say what those do.
    """
    good = dict.fromkeys(release.image for release in reversed(known) if release.verdict == "succeeded")
    target = rollback_target(known)
    needed = [release.image for release in (*known[-1:], target, *_of_unknown_schema(known)) if release]
    return frozenset([*list(good)[:REMEMBERED], *needed])


def _of_unknown_schema(known: Sequence[Release]) -> list[Release]:
    """Releases that have begun to migrate since the newest good one, and those of what that left applied."""
    newest = last_good(known)
    since = known[known.index(newest) + 1 :] if newest else known
    rewind = newest.done.get("rewind", {}) if newest else {}
    left = [*rewind.get("left_applied", ()), *rewind.get("left_behind", ())]
    applying = {_applying(known, name) for name in left}
    return [
        *(release for release in since if "migrate" in release.begun),
        *(known[number] for number in applying if number is not None),
    ]


def reachable_backups(known: Sequence[Release]) -> frozenset[str]:
    """Backups that going back may still need.

    Those taken before a reachable image was first released, and before each migration that came since: the
    ones that `backup_without` names. And what such a release has taken besides, since it went on much later.
    """
    images = reachable_images(known)
    kept = [release for release in known if release.verdict == "succeeded" and release.image in images]
    first = {release.image: release for release in reversed(kept)}
    since = known[known.index(kept[0]) :] if kept else known
    before = {name: release for release in since for name in pending(release)}
    needed = (*first.values(), *before.values())
    return frozenset(name for release in needed for name in _backups(release))


def _backups(release: Release) -> list[str]:
    """Their names, the newest last: of its step, then what its rewind and migrate took where that was old."""
    taken = [release.done.get("backup", {}).get("name")]
    taken += [release.done.get(step, {}).get("backup") for step in ("rewind", "migrate")]
    return [name for name in taken if name]


def backup_without(known: Sequence[Release], migrations: Iterable[str]) -> str | None:
    """The newest backup that has none of these migrations ("app.name"); None: the record does not tell.

    A release applies what its preflight found pending, and takes its backup before: so of the releases that
    applied these it is the oldest one's.
    """
    applying = [_applying(known, name) for name in migrations]
    if not applying or None in applying:
        return None
    return known[min(i for i in applying if i is not None)].done.get("backup", {}).get("name")


def is_older_than(known: Sequence[Release], version: str, migration: str) -> bool:
    """Whether the version was first released before the migration ("app.name") was applied by another."""
    first = next((i for i, release in enumerate(known) if release.version == version), None)
    applying = _applying(known, migration)
    return first is not None and applying is not None and first < applying


def _applying(known: Sequence[Release], migration: str) -> int | None:
    """Which release applied it last; None: none of these."""
    return max((i for i, release in enumerate(known) if migration in pending(release)), default=None)


def pending(release: Release) -> Sequence[str]:
    """Migrations ("app.name") that its preflight found to be applied."""
    return release.done.get("preflight", {}).get("pending", ())


def review_due(release: Release, review: Review | None) -> str | None:
    """When its review is due, ISO 8601; None unless the release succeeded.

    Where the stack names no volumes, that is when people look at them.
    """
    return _later(release, timedelta(hours=review.hours) if review else REVIEW_AFTER)


def watch_until(release: Release, watch: Watch | None) -> str | None:
    """When its watch ends, ISO 8601; None unless the release succeeded and is watched."""
    return _later(release, timedelta(minutes=watch.minutes)) if watch else None


def _later(release: Release, span: timedelta) -> str | None:
    if release.verdict != "succeeded" or release.closed_at is None:
        return None
    return (datetime.fromisoformat(release.closed_at) + span).isoformat()


def new_id(now: datetime, version: str, taken: Iterable[str]) -> str:
    """A release id such as 20261124T140210Z-v2, not among `taken`, usable as a file name."""
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in version)
    base = f"{now:%Y%m%dT%H%M%SZ}-{safe}"
    used = set(taken)
    return next(
        name
        for name in (base, *(f"{base}-{number}" for number in range(2, len(used) + 3)))
        if name not in used
    )
