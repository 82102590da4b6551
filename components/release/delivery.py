"""How a message reaches its receivers: tried again where it does not, and never waited for long."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from components.release.messages import Message
from components.release.spec import Receiver
from components.target import Operations

PAUSES = (1.0, 3.0)  # seconds before the second try and before the third, which is the last
SECONDS = 15.0  # for all receivers together; then the release goes on without those who have not answered

Tone = Literal["info", "success", "warning", "failure"]  # apprise's NotifyType


@dataclass(kw_only=True)
class Delivery:
    """One message to one receiver. `fault` is None once it has been taken."""

    name: str  # such as "1 (console)": who it is without the URL, which may be a secret
    receiver: Receiver
    message: Message
    tries: int = 0
    fault: str | None = "no answer in time"
    gave_up: threading.Event = field(default_factory=threading.Event)

    @property
    def outcome(self) -> str:
        return "told" if self.fault is None else f"not told: {self.fault}"


def deliver(
    operations: Operations,
    deliveries: Sequence[Delivery],
    tone: Tone,
    facts: Mapping[str, Any],
    *,
    within: float = SECONDS,
) -> None:
    """Send each; how it went is then in it. `facts` are those of a line in a file. Raises nothing."""
    end = time.monotonic() + within
    threads: list[threading.Thread] = []
    for delivery in deliveries:
        receiver = delivery.receiver
        if receiver.console or receiver.file is not None:
            _at_once(delivery, facts)
            continue
        services = _services(operations, delivery)
        if services:
            # A daemon: one that never answers must not hold up the end of the step's process either.
            sender = threading.Thread(target=_send, args=(delivery, services, tone, end), daemon=True)
            sender.start()
            threads.append(sender)
    for sender in threads:
        sender.join(max(end - time.monotonic(), 0.0))
    for delivery in deliveries:
        delivery.gave_up.set()
        if delivery.fault is not None:
            # Not on stdout, which may be a step's result.
            print(f"notify: receiver {delivery.name} was {delivery.outcome}", file=sys.stderr, flush=True)


def _at_once(delivery: Delivery, facts: Mapping[str, Any]) -> None:
    receiver, message = delivery.receiver, delivery.message
    delivery.tries = 1
    try:
        if receiver.file is None:
            print(f"{message.title}. {message.paragraph}", flush=True)
        else:
            path = Path(receiver.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            line = json.dumps({**facts, "title": message.title, "body": message.paragraph})
            with path.open("a") as file:
                file.write(line + "\n")
    except Exception as fault:  # noqa: BLE001 - whatever a receiver does, the release is not its business
        delivery.fault = type(fault).__name__
    else:
        delivery.fault = None


def _services(operations: Operations, delivery: Delivery) -> list[Any]:
    """What apprise makes of the receiver's URL, of which there may be several in one secret."""
    import apprise  # a quarter of a second, which only who tells somebody should pay

    logging.getLogger("apprise").disabled = True  # it logs hosts and parts of URLs
    receiver = delivery.receiver
    try:
        url = receiver.url or operations.secret(receiver.apprise_secret or "")
    except Exception as fault:  # noqa: BLE001 - whatever a receiver does, the release is not its business
        delivery.fault = f"its secret cannot be read ({type(fault).__name__})"
        return []
    # Without a limit of its own apprise sends in this thread, not in one that the process would wait for.
    sender = apprise.Apprise(asset=apprise.AppriseAsset(service_timeout=0))
    if not sender.add(url):
        delivery.fault = "its URL is not one that apprise knows"
        return []
    return list(sender)


def _send(delivery: Delivery, services: list[Any], tone: Tone, end: float) -> None:
    """Try each until it has taken the message."""
    import apprise

    for pause in (*PAUSES, None):
        delivery.tries += 1
        faults = {service: _fault(apprise, service, delivery.message, tone) for service in services}
        if delivery.gave_up.is_set():
            return  # how it stood when the release went on is what was told and recorded
        services = [service for service, fault in faults.items() if fault]
        delivery.fault = next(filter(None, faults.values()), None)
        if not services:
            return
        if pause is None or time.monotonic() + pause >= end or delivery.gave_up.wait(pause):
            return


def _fault(apprise: Any, service: Any, message: Message, tone: Tone) -> str | None:
    """None: it has taken the message."""
    sender = apprise.Apprise(service)
    try:
        taken = sender.notify(
            title=message.title,
            body="\n".join(message.sentences),
            body_format=apprise.NotifyFormat.TEXT,
            notify_type=tone,
        )
    except Exception as fault:  # noqa: BLE001 - whatever a receiver does, the release is not its business
        return type(fault).__name__  # its text may have the URL in it
    return None if taken else "it did not take the message"
