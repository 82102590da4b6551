"""Who is told what of a release. A receiver that cannot be reached never fails the release."""

from __future__ import annotations

import json
from pathlib import Path

from components.release import logbook, record, return_time
from components.release.context import Context
from components.release.record import Release
from components.release.spec import Receiver
from components.target import TargetError


def tell(context: Context, release: Release) -> dict[str, str]:
    """Tell every receiver how the release stands; returns receiver → "told" or why not."""
    return say(context, release, *text(context, release))


def say(context: Context, release: Release, title: str, body: str) -> dict[str, str]:
    """Tell every receiver this of the release; returns what `tell` does."""
    outcome: dict[str, str] = {}
    for number, receiver in enumerate(context.spec.notify, start=1):
        name = f"{number} ({_kind(receiver)})"
        try:
            _send(context, receiver, release, title, body)
            outcome[name] = "told"
        except Exception as fault:  # noqa: BLE001 - whatever a receiver does, the release is not its business
            # its text may have the receiver's URL, which may be a secret
            outcome[name] = f"not told: {type(fault).__name__}"
            print(f"notify: receiver {name} was not reached ({type(fault).__name__})", flush=True)
    return outcome


def text(context: Context, release: Release) -> tuple[str, str]:
    """Title and one paragraph: what, from which version, who, how it went, what serves, what to do next."""
    back = return_time.of(release)
    noun = "Release" if back is None else "Rollback"
    what = (
        f"{noun} {release.id} of {release.version} (from {release.previous_version or 'nothing'}) "
        f"on stack {context.stack}, by {release.responsible},"
    )
    if release.verdict == "succeeded":
        seconds = sum(release.seconds.values())
        took = f"{seconds:.0f} s" if back is None else str(back)
        return (
            f"{noun} of {release.version} succeeded",
            f"{what} succeeded in {took}; {release.version} serves at "
            f"{context.operations.public_url}. {rewound(release)}Next: watch its log until "
            f"{record.watch_until(release)}, and review it at {record.review_due(release)}. "
            f"Logbook head: {logbook.head(context.operations)}.",
        )
    known = context.releases()
    earlier = record.rollback_target(known)
    way_out = f", or go back to {earlier.version} with relevo rollback" if earlier else ""
    return (
        f"{noun} of {release.version} failed",
        f"{what} failed in step {release.failed_step}: {_sentence(release.error or 'interrupted')} "
        f"{what_serves(context, known)} {rewound(release)}Next: correct the fault and run pulumi up"
        f"{way_out}.",
    )


def rewound(release: Release) -> str:
    """What everybody must know of a rewind, with a space after it; empty where there was none."""
    gone = release.done.get("rewind", {}).get("reversed")
    if not gone:
        return ""
    risk = "may have failed until it served" if release.verdict == "succeeded" else "may fail until it serves"
    return f"It reversed {', '.join(gone)}: requests {risk} on every instance. "


def what_serves(context: Context, known: list[Release]) -> str:
    """A sentence such as "instance-1 serves v2, instance-2 serves v1."."""
    placed = record.serving(known)
    names = [name for name in context.spec.instances if name in placed]
    versions = {placed[name].version for name in names}
    if not names:
        return "Nothing serves yet."
    if len(versions) == 1:
        return f"{versions.pop()} serves on {', '.join(names)}."
    return f"{', '.join(f'{name} serves {placed[name].version}' for name in names)}."


def _sentence(error: str) -> str:
    return error if error.endswith(".") else f"{error}."


def _kind(receiver: Receiver) -> str:
    if receiver.console:
        return "console"
    return "file" if receiver.file else "secret url" if receiver.apprise_secret else "url"


def _send(context: Context, receiver: Receiver, release: Release, title: str, body: str) -> None:
    if receiver.console:
        print(f"{title}. {body}", flush=True)
        return
    if receiver.file is not None:
        path = Path(receiver.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"release": release.id, "verdict": release.verdict, "title": title, "body": body})
        with path.open("a") as file:
            file.write(line + "\n")
        return
    import apprise  # a quarter of a second, which only a step that tells somebody should pay

    url = (
        receiver.url if receiver.url is not None else context.operations.secret(receiver.apprise_secret or "")
    )
    sender = apprise.Apprise()
    if not sender.add(url):
        raise TargetError("the receiver's URL is not one that apprise knows.")
    kind = apprise.NotifyType.FAILURE if release.verdict == "failed" else apprise.NotifyType.SUCCESS
    if not sender.notify(title=title, body=body, notify_type=kind):
        raise TargetError("the receiver did not take the message.")
