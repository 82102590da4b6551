"""Who is told what of a release. A receiver that cannot be reached never fails the release."""

from __future__ import annotations

import json
from pathlib import Path

import apprise

from components.release import record
from components.release.context import Context
from components.release.record import Release
from components.release.spec import Receiver
from components.target import TargetError


def tell(context: Context, release: Release) -> dict[str, str]:
    """Tell every receiver how the release stands; returns receiver → "told" or why not."""
    title, body = text(context, release)
    outcome: dict[str, str] = {}
    for number, receiver in enumerate(context.spec.notify, start=1):
        name = f"{number} ({_kind(receiver)})"
        try:
            _send(context, receiver, release, title, body)
            outcome[name] = "told"
        except Exception as fault:  # noqa: BLE001 - whatever a receiver does, the release is not its business
            outcome[name] = f"not told: {type(fault).__name__}"
            print(f"notify: receiver {name} was not reached ({type(fault).__name__})", flush=True)
    return outcome


def text(context: Context, release: Release) -> tuple[str, str]:
    """Title and one paragraph."""
    came_from = release.previous_version or "nothing"
    what = f"{release.version} (from {came_from}) on stack {context.stack}, by {release.responsible}"
    if release.verdict == "failed":
        good = record.last_good(context.releases())
        serves = f"{good.version} still serves" if good else "nothing serves yet"
        return (
            f"Release of {release.version} failed",
            f"Release {release.id} of {what} failed in step {release.failed_step}: {release.error} "
            f"Instances that were not replaced keep their version; {serves}. "
            f"Correct it and run pulumi up, or pin the version before and run pulumi up.",
        )
    total = sum(release.seconds.values())
    return (
        f"Release of {release.version} succeeded",
        f"Release {release.id} of {what} succeeded in {total:.0f} s; {release.version} serves at "
        f"{context.operations.public_url}. Watch it until {record.watch_until(release)}; "
        f"its review is due at {record.review_due(release)}.",
    )


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
    url = (
        receiver.url if receiver.url is not None else context.operations.secret(receiver.apprise_secret or "")
    )
    sender = apprise.Apprise()
    if not sender.add(url):
        raise TargetError("the receiver's URL is not one that apprise knows.")
    kind = apprise.NotifyType.FAILURE if release.verdict == "failed" else apprise.NotifyType.SUCCESS
    if not sender.notify(title=title, body=body, notify_type=kind):
        raise TargetError("the receiver did not take the message.")
