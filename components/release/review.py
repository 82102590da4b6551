"""The review of a release: when it is due, what its volumes have, what is recorded of it, who is told.

Only the newest release that succeeded is reviewed. What is compared are the data and not a version: of one
that another has followed before its time the newer one's review says it all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from components.release import logbook, notices, record, reviewing, spec
from components.release.audiences import News
from components.release.context import Context
from components.release.record import Release
from components.release.reviewing import Counts, Judged, Span, Spans
from components.target import Counted, Query, TargetError

NEWS: Mapping[str, News] = {"not stable": "review-bad", "not measured": "review-due"}  # by verdict


class _NoNumber(Exception):
    """The command of a volume ran, and does not say how many; the message says how it ended."""


def due(known: Sequence[Release], wanted: spec.Review | None, now: datetime) -> Release | None:
    """The release whose review has come due and was not done; None: there is none."""
    last = record.last_good(known)
    if wanted is None or last is None or done(last):
        return None
    return last if _due_at(last, wanted) <= now else None


def done(release: Release) -> bool:
    """Before its time somebody may have looked: that does not count."""
    return release.reviewed is not None and not release.reviewed.get("early")


def untold(context: Context, release: Release) -> bool:
    """Whether somebody wants to hear of what its review has found, and was not told of it."""
    news = _news(_untold(release, (release.reviewed or {}).get("volumes", {})))
    return any(receiver.wants(one) for receiver in context.spec.notify for one in news)


def review(context: Context, release: Release, now: datetime) -> Mapping[str, Any]:
    """Count and judge what the release's volumes have, record it and tell who is to know; returns the data.

    Before its time it is one over the span so far, marked as early, of which nobody is told. Where the review
    is done already that is returned, and who is to know is told if whoever has done it could not. Raises
    `TargetError` where nothing can be counted: people are told once that it is due; it can be tried again.
    """
    wanted = context.spec.review
    assert wanted is not None
    assert release.closed_at is not None
    if release.reviewed is not None and done(release):
        _tell(context, release, _untold(release, release.reviewed["volumes"]))
        return release.reviewed
    due_at = _due_at(release, wanted)
    spans = reviewing.spans(
        opened_at=datetime.fromisoformat(release.opened_at),
        closed_at=datetime.fromisoformat(release.closed_at),
        until=min(now, due_at),
        weeks=wanted.weeks,
    )
    early = now < due_at
    try:
        volumes = _judged(context, release, wanted.volumes, spans)
    except TargetError:
        if not early and "review-due" not in release.told:
            notices.tell_on_record(context, "review-due", release)
        raise
    data = {
        "verdict": reviewing.overall(volumes),
        "due": due_at.isoformat(),
        "until": spans.after[1].isoformat(),
        "early": early,
        "late_seconds": max(0.0, (now - due_at).total_seconds()),
        "volumes": {name: volume.data() for name, volume in volumes.items()},
    }
    if not early:  # first, so that a kill in between tells people twice and not never
        _tell(context, release, data["volumes"])
    if logbook.write(
        context.operations,
        "review done",
        release=release.id,
        image=release.image,
        data=data,
        unless=lambda earlier: done(_again(record.parse(earlier), release)),
    ):
        return data
    return _again(record.parse(context.operations.read_record()), release).reviewed or data


def said(release: Release, data: Mapping[str, Any]) -> list[str]:
    """For people: a line for each volume, and the verdict."""
    lines = [line(name, volume) for name, volume in data["volumes"].items()]
    so_far = f", so far; it is due at {data['due']}" if data.get("early") else ""
    return [*lines, f"review of {release.version}: {data['verdict']}{so_far}"]


def overdue(known: Sequence[Release], wanted: spec.Review | None, now: datetime) -> str | None:
    """What there is to say about a review that has come due and was not done; None: there is none."""
    release = due(known, wanted, now)
    if release is None or wanted is None:
        return None
    at = _due_at(release, wanted)
    return f"that of {release.version} ({release.id}) was due on {at:%Y-%m-%d %H:%M} UTC and is not done"


# -- inside ------------------------------------------------------------------------------------------------
def _due_at(release: Release, wanted: spec.Review) -> datetime:
    at = record.review_due(release, wanted)
    assert at is not None
    return datetime.fromisoformat(at)


def _again(entries: Iterable[record.Entry], release: Release) -> Release:
    return record.again(record.releases(entries), release)


def _judged(
    context: Context, release: Release, volumes: Sequence[spec.Volume], spans: Spans
) -> dict[str, Judged]:
    hidden = context.masking()
    queries = [Query(sql=volume.sql, spans=spans.all()) for volume in volumes if volume.sql is not None]
    found = iter(context.operations.measure(release.image, queries, release=release.id) if queries else ())
    judged = {}
    for volume in volumes:
        counted = (
            next(found) if volume.command is None else _by_command(context, release, volume.command, spans)
        )
        if counted.error is not None:
            judged[volume.name] = Judged(verdict="not measured", error=hidden(counted.error))
        else:
            judged[volume.name] = reviewing.judge(
                Counts.of(counted.found), tolerance_percent=volume.tolerance_percent
            )
    return judged


def _by_command(context: Context, release: Release, command: spec.Arguments, spans: Spans) -> Counted:
    try:
        return Counted(found=tuple(_number(context, release, command, span) for span in spans.all()))
    except _NoNumber as fault:
        return Counted(error=str(fault))


def _number(context: Context, release: Release, command: spec.Arguments, span: Span) -> int:
    """What the command's last line is. Raises `_NoNumber`, and `TargetError` where it could not be run."""
    since, until = (end.isoformat() for end in span)
    words = [word.replace("{since}", since).replace("{until}", until) for word in command]
    ended = context.operations.manage(release.image, words, release=release.id, show=False)
    if ended.status != 0:
        raise _NoNumber(f"{' '.join(words)} ended with status {ended.status}: {ended.last_line}")
    if not re.fullmatch(r"\d{1,18}", ended.last_line, re.ASCII):
        raise _NoNumber(
            f"{' '.join(words)} ends with {ended.last_line!r}, but its last line is to be a whole number"
        )
    return int(ended.last_line)


def _untold(release: Release, volumes: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Those of which nobody was told yet: whoever began to may have been killed after the first."""
    return {
        name: volume
        for name, volume in volumes.items()
        if (volume["verdict"] == "not stable" and name not in release.told_of)
        or (volume["verdict"] == "not measured" and "review-due" not in release.told)
    }


def _news(volumes: Mapping[str, Mapping[str, Any]]) -> set[News]:
    return {NEWS[volume["verdict"]] for volume in volumes.values() if volume["verdict"] in NEWS}


def _tell(context: Context, release: Release, volumes: Mapping[str, Mapping[str, Any]]) -> None:
    for name, volume in volumes.items():
        if volume["verdict"] == "not stable":
            expected, low, high = _rounded(volume)
            notices.tell_on_record(
                context,
                "review-bad",
                release,
                volume=name,
                found=str(volume["found"]),
                expected=f"{expected} ({low}-{high})",
            )
    if "review-due" in _news(volumes):
        notices.tell_on_record(context, "review-due", release)


def line(name: str, volume: Mapping[str, Any]) -> str:
    """`volume`: of the entry `review done`."""
    if volume["error"] is not None:
        return f"{name}: not measured, {volume['error']}"
    if volume["expected"] is None:
        return f"{name}: {volume['found']}, {volume['verdict']}"
    expected, low, high = _rounded(volume)
    return (
        f"{name}: {volume['found']}, {volume['verdict']}: {volume['change_percent']:+.1f} % from the "
        f"expected {expected}, and {low} to {high} may come by chance"
    )


def _rounded(volume: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{volume['expected']:.0f}", f"{volume['low']:.0f}", f"{volume['high']:.0f}"
