"""Who is told what of a release. A receiver that cannot be reached never fails the release."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from components.release import delivery, logbook, messages, record, return_time
from components.release.audiences import Language, News
from components.release.context import Context
from components.release.delivery import Delivery, Tone
from components.release.messages import Message, phrase
from components.release.record import Release
from components.release.responsible import who
from components.release.spec import Receiver
from components.target import TargetError

TONES: Mapping[News, Tone] = {
    "done": "success",
    "rolled-back": "success",
    "restored": "success",
    "failed": "failure",
    "recovery-failed": "failure",
    "restore-failed": "failure",
    "drill-failed": "failure",
    "watch-breached": "warning",
    "review-due": "warning",
    "review-bad": "warning",
    "started": "info",
}


def tell(
    context: Context,
    news: News,
    release: Release | None = None,
    *,
    within: float = delivery.SECONDS,
    **facts: str | None,
) -> dict[str, Any]:
    """Tell every receiver who wants to hear it, in at most `within` seconds; returns what is recorded of it.

    That is `event`, of a review its `volume`, and by receiver its `receivers` ("told", or why not) and
    `tries`. `facts` are what the release does not say:

    recovery-failed: `target`, `error`. watch-breached: `measure` (of `messages.PHRASES`, such as errors-5xx),
    `found`, `before`. review-bad: `volume`, `found`, `expected`. restored: `backup`, None for what had been
    put aside. restore-failed and drill-failed: `backup`, `error`. Numbers come with their unit ("4.8 %").
    """
    deliveries = [
        Delivery(name=f"{number} ({_kind(receiver)})", receiver=receiver, message=message)
        for number, receiver, message in _messages(context, news, release, facts)
    ]
    line = {"event": news, "release": release and release.id, "verdict": release and release.verdict}
    delivery.deliver(context.operations, deliveries, TONES[news], line, within=within)
    return {
        "event": news,
        **({"volume": facts["volume"]} if "volume" in facts else {}),
        "receivers": {one.name: one.outcome for one in deliveries},
        "tries": {one.name: one.tries for one in deliveries},
    }


def tell_on_record(
    context: Context,
    news: News,
    release: Release | None = None,
    *,
    within: float = delivery.SECONDS,
    **facts: str | None,
) -> None:
    """The same, with an entry `notified`, where somebody wants to hear it and the record can be written."""
    if any(receiver.wants(news) for receiver in context.spec.notify):
        told = tell(context, news, release, within=within, **facts)
        with contextlib.suppress(TargetError):
            context.write("notified", release and release.id, data=told)


def text(
    context: Context,
    news: News,
    release: Release | None = None,
    *,
    language: Language = "en",
    operates: bool = True,
    **facts: str | None,
) -> Message:
    """What is told: what, from which version, who, how it went, what serves, what to do next."""
    known = _known(context)
    about = {
        "stack": context.stack,
        "responsible": release.responsible if release else who(context.spec.responsible)["responsible"],
        "date": _date(logbook.now().isoformat()),
    }
    if release is not None:
        about |= _of_release(context, release, known, language)
    if news in ("done", "rolled-back") and release is not None:
        about |= _of_success(context, release, known, language)
    about |= _given(context, facts, language)
    back = release is not None and return_time.of(release) is not None
    template = "failed-way-back" if news == "failed" and back else news
    return messages.message(template, language, about, operates=operates)


# -- inside ------------------------------------------------------------------------------------------------
def _messages(
    context: Context, news: News, release: Release | None, facts: Mapping[str, str | None]
) -> list[tuple[int, Receiver, Message]]:
    """The receivers who want to hear it, by their number, with what each is told."""
    made: dict[tuple[Language, bool], Message] = {}
    found = []
    for number, receiver in enumerate(context.spec.notify, start=1):
        if not receiver.wants(news):
            continue
        kind = (receiver.language, receiver.operates)
        if kind not in made:
            made[kind] = text(
                context, news, release, language=receiver.language, operates=receiver.operates, **facts
            )
        found.append((number, receiver, made[kind]))
    return found


def _given(context: Context, facts: Mapping[str, str | None], language: Language) -> dict[str, str]:
    told = {name: value for name, value in facts.items() if value is not None}
    if "error" in told:
        told["error"] = context.masking()(_sentence(told["error"]))
    if "measure" in told:
        told["measure"] = phrase(language, told["measure"])
    if "backup" in facts:
        name = "put aside" if facts["backup"] is None else "backup"
        told["source"] = phrase(language, name, **told)
    return told


def _of_release(
    context: Context, release: Release, known: list[Release] | None, language: Language
) -> dict[str, str]:
    # Not what was released since: to go back from this one is not to itself.
    before = [other for other in known or [] if other.opened_at <= release.opened_at]
    earlier = record.rollback_target(before) if before else None
    previous = release.previous_version
    until = record.watch_until(release, context.spec.watch)
    told = {
        "id": release.id,
        "version": release.version,
        "origin": phrase(language, "replaces", previous=previous) if previous else phrase(language, "first"),
        "serves": what_serves(context, known, language),
        "rewound": _rewound(release, language),
        "step": release.failed_step or "?",
        "way_out": phrase(language, "way out", earlier=earlier.version) if earlier else "",
        "or_back": (
            phrase(language, "or back", earlier=earlier.version)
            if earlier
            else phrase(language, "no way back")
        ),
        "review_due": _date(record.review_due(release, context.spec.review)),
        "watch": phrase(language, "watch", until=_date(until)) if until else "",
    }
    if release.error or release.verdict == "failed":
        told["error"] = _sentence(release.error or "interrupted")
    return told


def _of_success(
    context: Context, release: Release, known: list[Release] | None, language: Language
) -> dict[str, str]:
    return {
        "date": _date(release.closed_at),
        "url": context.operations.public_url,
        "head": logbook.head(context.operations) or "",
        "took": _took(release, language),
        "left": _left(release, known or [], language),
    }


def _known(context: Context) -> list[Release] | None:
    """None where the record cannot be read: people are told all the same."""
    try:
        return context.releases()
    except TargetError:
        return None


def _took(release: Release, language: Language) -> str:
    back = return_time.of(release)
    if back is None:
        return return_time.spoken(sum(release.seconds.values()))
    if back.seconds is None:
        return phrase(language, "not verified")
    limit = return_time.spoken(return_time.LIMIT.total_seconds())
    said = "in time" if back.within else "too late"
    return phrase(language, said, spent=return_time.spoken(back.seconds), limit=limit)


def _left(release: Release, known: list[Release], language: Language) -> str:
    """Which version was gone back from: of a recovery the one that failed, of a rollback the good one."""
    before = [other for other in known if other.opened_at < release.opened_at and other.id != release.id]
    left = before[-1].version if release.kind == "recovery" and before else release.previous_version
    return phrase(language, "left", left=left) if left and left != release.version else ""


def _rewound(release: Release, language: Language) -> str:
    """What everybody must know of a rewind; empty where there was none."""
    gone = release.done.get("rewind", {}).get("reversed")
    if not gone:
        return ""
    said = "has rewound" if release.verdict == "succeeded" else "rewinding"
    return phrase(language, said, gone=", ".join(gone))


def what_serves(context: Context, known: list[Release] | None, language: Language = "en") -> str:
    """A sentence such as "instance-1 serves v2, instance-2 serves v1."."""
    if known is None:
        return phrase(language, "serving unknown")
    placed = record.serving(known)
    names = [name for name in context.spec.instances if name in placed]
    versions = {placed[name].version for name in names}
    if not names:
        return phrase(language, "nothing serves")
    if len(versions) == 1:
        return phrase(language, "serves on", version=versions.pop(), names=", ".join(names))
    there = [phrase(language, "serves there", instance=name, version=placed[name].version) for name in names]
    return f"{', '.join(there)}."


def _date(iso: str | None) -> str:
    """Such as "2026-11-24 14:02 UTC", which is read alike in every language."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC" if iso else ""


def _sentence(error: str) -> str:
    return error if error.endswith(".") else f"{error}."


def _kind(receiver: Receiver) -> str:
    if receiver.console:
        return "console"
    return "file" if receiver.file else "secret url" if receiver.apprise_secret else "url"
