"""What a stack's record tells, as its pages show it and `--json` prints it. Pure.

Every shape here is a promise to scripts (docs/logbook.md): fields are added, none is renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

from components.release import chain, reading, record, restoration
from components.release.audiences import Language
from components.release.record import Entry, Kind, Release, Verdict

# What is told beside the releases, of whatever was done to the stack.
BESIDE = (
    "attempt refused",
    "recovery failed",
    "restore started",
    "restore done",
    "restore failed",
    "kept database dropped",
    "drill done",
    "drill failed",
)


@dataclass(frozen=True, kw_only=True)
class Try:
    """A step, each time that it was begun. `seconds` is None while it has not ended."""

    step: str
    outcome: Literal["begun", "done", "failed"]
    began: str
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """Of a scenario. `fault` is None when it was answered as expected; `status` None without an answer."""

    name: str
    status: int | None = None
    milliseconds: int | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The requests that one step asked of one place: "smoke", "roll-instance-1", "v1" on the new schema."""

    step: str
    of: str
    requests: tuple[Request, ...]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Of the smoke scenario: whether it ran, and why."""

    name: str
    run: bool = False
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class BackupTaken:
    name: str
    taken_at: str | None = None
    bytes: int | None = None
    verified: bool = False
    tables: int | None = None
    rows: int | None = None
    media_files: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    found: str
    before: str
    breached: bool


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Exceptions of one kind, since the release and in the hour before."""

    title: str
    count: int = 0
    before: int = 0
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class WatchTold:
    """`verdict` None: it has not ended. `curve`: seconds since its start, requests, 4xx, 5xx, p95 in ms."""

    began: str | None  # None: it has not begun
    until: str | None
    minutes: float | None = None
    verdict: str | None = None
    why: str | None = None
    requests: int | None = None
    first_breach: Mapping[str, Any] | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    curve: tuple[tuple[float, int, int, int, float | None], ...] = ()
    exceptions: tuple[Kinds, ...] = ()
    restarts: int | None = None


@dataclass(frozen=True, kw_only=True)
class VolumeTold:
    """Counted since the release. `low` to `high` was to be expected, after `weeks` and the span before."""

    name: str
    verdict: str | None = None
    found: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    before: float | None = None
    weeks: tuple[float | None, ...] = ()
    change_percent: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReviewTold:
    """`verdict` None: it was not done yet. `early`: of a look before its time, which does not count.

    `left_to`: the next release that succeeded, since when this one's review is not done any more.
    """

    due: str | None
    left_to: str | None = None
    verdict: str | None = None
    early: bool = False
    late_seconds: float | None = None
    volumes: tuple[VolumeTold, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReleaseTold:
    """`seconds` from the opening to the end. `trigger`: the digest that its preview prints.

    `approved` is the same where somebody approved it.
    """

    id: str
    version: str
    kind: Kind
    verdict: Verdict
    image: str
    lock: str
    responsible: str
    identity: Mapping[str, str]
    opened_at: str
    closed_at: str | None
    seconds: float | None
    decided_at: str | None
    previous_version: str | None
    previous_image: str | None
    trigger: str
    approved: str | None
    failed_step: str | None
    error: str | None
    steps: tuple[Try, ...]
    asked: tuple[Asked, ...]
    checks: tuple[Check, ...]
    pending: tuple[str, ...]
    applied: tuple[str, ...]
    reversed: tuple[str, ...]
    backup: BackupTaken | None
    way_back_seconds: float | None  # of a rollback or recovery, from the decision to the last instance
    watch: WatchTold | None
    review: ReviewTold | None


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What was done beside the releases, or refused: one of `BESIDE`."""

    time: str
    event: str
    release: str | None
    image: str | None
    step: str | None
    seconds: float | None
    error: str | None
    responsible: str | None
    backup: str | None


@dataclass(frozen=True, kw_only=True)
class Served:
    """What was put on an instance or a process last, and passed its gate."""

    version: str
    image: str
    release: str


@dataclass(frozen=True, kw_only=True)
class Back:
    """What a rollback from here would release, and the command."""

    version: str
    image: str
    release: str
    command: str


@dataclass(frozen=True, kw_only=True)
class ChainTold:
    """Whether the record is as it was written. `head`: the hash of its last line."""

    entries: int
    head: str | None
    began: str | None
    ended: str | None
    faults: tuple[str, ...]
    sealed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Account:
    """`releases` and `beside` are the oldest first. `serving`: by instance or process."""

    stack: str | None
    language: Language
    serving: Mapping[str, Served]
    back: Back | None
    doubt: str | None  # what a restore that has no end has left, with the remedy
    releases: tuple[ReleaseTold, ...]
    beside: tuple[Beside, ...]
    chain: ChainTold


def of(written: bytes, *, stack: str | None = None) -> Account:
    """The whole record. `stack`: for a record of an older Relevo, which does not say it.

    Raises `TargetError` for an opening that lacks what must be in it.
    """
    entries = record.parse(written)
    known = record.releases(entries)
    theirs: dict[str, list[Entry]] = {release.id: [] for release in known}
    for entry in entries:
        if entry.release in theirs:
            theirs[entry.release].append(entry)
    good = [release.id for release in known if release.verdict == "succeeded"]
    following = dict(pairwise(good))
    newest = record.current(known)
    stack = (newest.stack if newest else None) or stack
    examined = chain.examine(written)
    target = record.rollback_target(known)
    begun = restoration.unfinished(entries)
    return Account(
        stack=stack,
        language=newest.language if newest else "en",
        serving={name: served(release) for name, release in record.serving(known).items()},
        back=back(target, stack) if target else None,
        doubt=restoration.doubt(begun, stack or "STACK") if begun else None,
        releases=tuple(
            told(release, theirs[release.id], following=following.get(release.id)) for release in known
        ),
        beside=tuple(beside(entry) for entry in entries if entry.event in BESIDE),
        chain=ChainTold(
            entries=examined.count,
            head=examined.head,
            began=examined.began,
            ended=examined.ended,
            faults=tuple(map(str, examined.faults)),
            sealed=examined.sealed,
        ),
    )


def served(release: Release) -> Served:
    return Served(version=release.version, image=release.image, release=release.id)


def back(target: Release, stack: str | None) -> Back:
    return Back(
        version=target.version,
        image=target.image,
        release=target.id,
        command=f"relevo rollback --stack {stack}" if stack else "relevo rollback",
    )


def told(release: Release, entries: Sequence[Entry], *, following: str | None = None) -> ReleaseTold:
    """`entries`: all of the release, in their order. `following`: the next one that succeeded."""
    ended = ended_steps(entries)
    closing = ended.get("close-record", {})
    return ReleaseTold(
        **{
            name: getattr(release, name)
            for name in (
                *("id", "version", "kind", "verdict", "image", "lock", "responsible", "identity"),
                *("opened_at", "closed_at", "decided_at", "previous_version", "previous_image", "trigger"),
                *("approved", "failed_step", "error"),
            )
        },
        seconds=between(release.opened_at, release.closed_at) if release.closed_at else None,
        steps=tuple(tries(entries)),
        asked=tuple(asked(ended)),
        checks=tuple(_each(Check, ended.get("smoke", {}).get("checks"))),
        pending=tuple(ended.get("preflight", {}).get("pending", ())),
        applied=tuple(ended.get("migrate", {}).get("applied", ())),
        reversed=tuple(ended.get("rewind", {}).get("reversed", ())),
        backup=backup(ended.get("backup", {})),
        way_back_seconds=closing.get("return_time", {}).get("seconds"),
        watch=watch(release, entries, closing.get("watch_until")),
        review=review(release, closing.get("review_due"), following),
    )


def ended_steps(entries: Iterable[Entry]) -> dict[str, Mapping[str, Any]]:
    """Step → what it said when it ended last, well or not."""
    return {
        entry.step: entry.data
        for entry in entries
        if entry.step and entry.event in ("step done", "step failed")
    }


def tries(entries: Iterable[Entry]) -> list[Try]:
    found: list[Try] = []
    for entry in entries:
        if not entry.step:
            continue
        if entry.event == "step started":
            found.append(Try(step=entry.step, outcome="begun", began=entry.time))
        elif entry.event in ("step done", "step failed"):
            place = next((i for i in reversed(range(len(found))) if found[i].step == entry.step), None)
            ended = Try(
                step=entry.step,
                outcome="done" if entry.event == "step done" else "failed",
                began=entry.time if place is None else found[place].began,
                seconds=entry.seconds,
                error=entry.error,
            )
            if place is None or found[place].outcome != "begun":
                found.append(ended)
            else:
                found[place] = ended
    return found


def asked(ended: Mapping[str, Mapping[str, Any]]) -> list[Asked]:
    """The smoke scenario first."""
    found = []
    for step in sorted(ended, key=lambda name: name != "smoke"):
        data = ended[step]
        if requests := tuple(_each(Request, data.get("requests"))):
            found.append(Asked(step=step, of=step.removeprefix(record.ROLL), requests=requests))
        for one in data.get("asked") or ():
            if requests := tuple(_each(Request, one.get("requests"))):
                found.append(Asked(step=step, of=str(one.get("version")), requests=requests))
    return found


def watch(release: Release, entries: Iterable[Entry], until: str | None) -> WatchTold | None:
    """None: the release is not watched."""
    begun = next((entry for entry in entries if entry.event == "watch started"), None)
    started, done = begun.data if begun else {}, release.watched or {}
    if until is None and not begun and not done:
        return None
    return WatchTold(
        began=begun.time if begun else None,
        until=started.get("until", until),
        minutes=started.get("minutes"),
        verdict=done.get("verdict"),
        why=done.get("why"),
        requests=done.get("requests"),
        first_breach=release.breached,
        measures=measures(done),
        curve=tuple(tuple(point[:5]) for point in done.get("curve") or () if len(point) >= 5),
        exceptions=tuple(exceptions(done)),
        restarts=done.get("restarts"),
    )


def review(release: Release, due: str | None, following: str | None) -> ReviewTold | None:
    """None: there is nothing to review yet.

    Where the stack names no volumes, it is due for people to look at them.
    """
    done = release.reviewed or {}
    due = done.get("due", due)
    early = bool(done.get("early"))
    if due is None and not done:
        return None
    return ReviewTold(
        due=due,
        left_to=following if early or not done else None,
        verdict=done.get("verdict"),
        early=early,
        late_seconds=done.get("late_seconds"),
        volumes=tuple(volumes(done)),
    )


def measures(done: Mapping[str, Any]) -> dict[str, Measure]:
    """`done`: what the watch said at its end. What is no measure is passed over."""
    return {
        name: Measure(**reading.known(Measure, {"breached": False, "found": "", "before": "", **measure}))
        for name, measure in (done.get("measures") or {}).items()
        if isinstance(measure, Mapping)
    }


def exceptions(done: Mapping[str, Any]) -> list[Kinds]:
    """`done`: what the watch said at its end."""
    return _each(Kinds, done.get("exceptions"))


def volumes(done: Mapping[str, Any]) -> list[VolumeTold]:
    """`done`: what a review said. What is no volume is passed over."""
    return [
        VolumeTold(
            **{**reading.known(VolumeTold, volume), "name": name, "weeks": tuple(volume.get("weeks") or ())}
        )
        for name, volume in (done.get("volumes") or {}).items()
        if isinstance(volume, Mapping)
    ]


def beside(entry: Entry) -> Beside:
    responsible, backup = entry.data.get("responsible"), entry.data.get("backup")
    return Beside(
        **{
            name: getattr(entry, name)
            for name in ("time", "event", "release", "image", "step", "seconds", "error")
        },
        responsible=responsible if isinstance(responsible, str) else None,
        backup=backup if isinstance(backup, str) else None,
    )


def between(start: str, end: str) -> float:
    """Seconds."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def backup(data: Mapping[str, Any]) -> BackupTaken | None:
    """`data`: of the step; None where it took none."""
    if "name" not in data:
        return None
    detail = data.get("detail") or {}
    return BackupTaken(**reading.known(BackupTaken, {**detail, **data}))


def _each(kind: type, rows: Iterable[Mapping[str, Any]] | None) -> list[Any]:
    return [kind(**reading.known(kind, row)) for row in rows or () if isinstance(row, Mapping)]
