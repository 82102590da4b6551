"""The watch over a release: what visitors meet, looked at again and again, beside the hour before it.

What it finds is judged by `watching.py`. It goes on where it was when it is started again: when it began is
in the record, and what was observed meanwhile in the target's logs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from components.release import logbook, notices, record, recovery, spec, watching
from components.release.context import Context
from components.release.record import ROLL, Release
from components.release.recovery import Recovery
from components.release.watching import Judgement
from components.target import Observed, TargetError

ALIGNED = timedelta(minutes=2)  # of which at least one whole minute is, where a target counts by the minute
LATE = timedelta(minutes=6)  # by which a target may know what happened later than it happened
EXACT = timedelta(seconds=1)


def due(known: Sequence[Release], watch: spec.Watch | None) -> Release | None:
    """The release that is to be watched now, or whose watch was left off; None: there is none.

    That is the last good one while it serves, also after another that failed before it reached an instance.
    """
    if watch is None:
        return None
    last = record.last_good(known)
    if last is None or last.watched is not None:
        return None
    begins = known[-1].verdict != "open" and not is_replaced(known, last)
    return last if last.watching is not None or begins else None


def is_replaced(known: Sequence[Release], release: Release) -> bool:
    """Whether a newer release serves, or may: what it began to roll has not what ran before."""
    newer = known[[other.id for other in known].index(release.id) + 1 :]
    reached = [
        step
        for other in newer
        for step in other.begun
        if step.startswith(ROLL) and step.removeprefix(ROLL) not in other.left
    ]
    return bool(reached) or any(other.verdict == "succeeded" for other in newer)


class Watch:
    """What is known of one release's time so far. Reads only."""

    def __init__(self, context: Context, release: Release, watch: spec.Watch) -> None:
        assert release.closed_at is not None
        self.release = release
        self.minutes = watch.minutes
        self.spans = watching.spans(
            opened_at=datetime.fromisoformat(release.opened_at),
            closed_at=datetime.fromisoformat(release.closed_at),
            minutes=watch.minutes,
        )
        self._operations = context.operations
        self._every = timedelta(seconds=watch.every_seconds)
        self._before: list[Observed] | None = None
        self._parts: list[Observed] = []
        self._seen = self.spans.since
        self._breaches: Collection[str] = release.breaches

    @property
    def before(self) -> list[Observed]:
        """The parts of the hour before that are known; none of the first release. Raises `TargetError`."""
        if self._before is None:
            spans = self.spans.before if self.release.previous_version is not None else ()
            parts = [self._operations.observe(*span) for span in spans]
            self._before = [part for part in parts if part.since < part.until]
        return self._before

    def look(self, now: datetime) -> Judgement:
        """Of all that is known by now. Raises `TargetError`."""
        before = self.before
        while (seen := self._next(min(now, self.spans.until))) is not None:
            self._parts = watching.extended(self._parts, seen, minutes=self.minutes)
            self._seen = datetime.fromisoformat(seen.until)
        judgement = watching.judge(before, self._parts, minutes=self.minutes, already=self._breaches)
        self._breaches = judgement.breached
        return judgement

    def over(self, now: datetime, *, failing: bool = False) -> bool:
        """Whether nothing more is to come that belongs to it. `failing`: the target cannot be asked now."""
        late = 2 * LATE if failing else LATE
        return self._seen > self.spans.until - EXACT or now > self.spans.until + late

    def wait(self, now: datetime) -> float:
        """Seconds until there is something new."""
        left = self.spans.until + EXACT - now
        return (min(self._every, left) if left > timedelta() else self._every).total_seconds()

    def _next(self, end: datetime) -> Observed | None:
        for length in (self._every, ALIGNED):
            if self._seen < end:
                seen = self._operations.observe(self._seen, min(self._seen + length, end))
                if datetime.fromisoformat(seen.until) > self._seen:
                    return seen
        return None


def watch(
    context: Context,
    release: Release,
    *,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
    until_breach: bool = False,
    show: Callable[[Watch, Judgement], None] = lambda *_: None,
) -> Judgement | None:
    """Watch the release to the end, also if another takes its place before; record and tell what is found.

    `until_breach`: the first breach that is a reason to go back is the end, and `goes_back` says so in the
    record: what was found while nobody asked for a way back is never a reason for it later. Returns
    None where another watch has recorded the end before. Raises `TargetError` where the record can be
    neither read nor written for long after the end.
    """
    assert context.spec.watch is not None
    view = Watch(context, release, context.spec.watch)
    judgement = watching.judge((), (), minutes=view.minutes, already=release.breaches)
    patient_until = max(view.spans.until, clock()) + 2 * LATE
    written: Mapping[str, Any] | None = None  # that the watch is done, as far as is known
    while True:
        now, fault = clock(), None
        try:
            judgement = view.look(now)
        except TargetError as error:  # what it does not say now, it says at the next look
            fault = _said(release, error)
        try:
            known = context.releases()
            release = record.again(known, release)
            if release.watched is not None:
                return judgement if release.watched == written else None
            if release.watching is None and fault is None:
                _begin(context, view)
            _tell(context, release, judgement, asked=until_breach)
            show(view, judgement)
            replaced = is_replaced(known, release)
            over = view.over(now, failing=fault is not None)
            goes_back = not replaced and until_breach and _goes_back(context, release, judgement)
            if replaced or over or goes_back:
                if fault is not None and not replaced:
                    judgement = judgement.unseen(context.masking()(fault))
                written = {**judgement.done(cut_short=replaced), "goes_back": goes_back}
                mine = _write(context, "watch done", release, written, unless=lambda known: known.watched)
                return judgement if mine else None
        except TargetError as error:  # what is found by then is recorded once it can be
            _said(release, error)
            if now > patient_until:
                raise
        sleep(view.wait(clock()))


def _said(release: Release, error: TargetError) -> str:
    print(f"watch of {release.version}: {error}", file=sys.stderr, flush=True)
    return str(error)


def _goes_back(context: Context, release: Release, judgement: Judgement) -> bool:
    """Whether the stack will come back from it, as far as the record tells: not from a way back, say."""
    wanted = recovery.due(context.releases(), release.image)
    return (
        judgement.goes_back(release.unasked)
        and isinstance(wanted, Recovery)
        and wanted.failed.id == release.id
    )


def _begin(context: Context, view: Watch) -> None:
    data = watching.started(view.before, until=view.spans.until, minutes=view.minutes)
    _write(context, "watch started", view.release, data, unless=lambda known: known.watching)


def _tell(context: Context, release: Release, judgement: Judgement, *, asked: bool) -> None:
    """An entry for each measure that is breached, and people are told of the first: once, also if killed.

    `asked`: the stack comes back by itself from what is found now.
    """
    for name in judgement.breached:
        if name not in release.breaches:
            _write(
                context,
                "watch breached",
                release,
                {**judgement.breach(name), "asked": asked},
                unless=lambda known, name=name: name in known.breaches,
            )
    if judgement.breached and "watch-breached" not in release.told:
        name = judgement.breached[0]
        measure = judgement.measures[name]
        notices.tell_on_record(
            context, "watch-breached", release, measure=name, found=measure.found, before=measure.before
        )


def _write(
    context: Context,
    event: record.Event,
    release: Release,
    data: Mapping[str, Any],
    *,
    unless: Callable[[Release], object],
) -> bool:
    """Returns False where that is on record: CI and a desk may watch the same release."""
    return logbook.write(
        context.operations,
        event,
        release=release.id,
        image=release.image,
        data=data,
        unless=lambda earlier: bool(unless(record.again(record.releases(record.parse(earlier)), release))),
    )
