"""Records with everything that a stack can have in one, written as Relevo writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from components.release.record import Entry, Event

STEPS = ("open-record", "preflight", "backup", "check", "rewind", "migrate", "collectstatic")
ROLLS = ("roll-instance-1", "roll-instance-2")
TRIGGER = "4f0c" * 16  # what a preview printed
BEGIN = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)


@dataclass
class Book:
    """`written` so far; each entry is a second after the one before."""

    now: datetime = BEGIN
    lines: list[bytes] = field(default_factory=list)

    @property
    def written(self) -> bytes:
        return b"".join(self.lines)

    def write(self, event: Event, release: str | None = None, **values: Any) -> None:
        self.now += timedelta(seconds=1)
        image = values.pop("image", None)
        entry = Entry(
            time=self.now.isoformat(timespec="milliseconds"),
            event=event,
            release=release,
            image=image,
            **values,
        )
        # The chain looks at the last line alone, once there is one.
        self.lines.append(entry.after(self.lines[-1] if self.lines else b"").encode() + b"\n")

    def open(self, version: str, **changes: Any) -> tuple[str, str]:
        """Id and image of the release that is open then."""
        id = changes.pop("id", f"{self.now:%Y%m%dT%H%M%SZ}-{version}")
        image = changes.pop("image", f"app@sha256:{hashlib.sha256(repr(version).encode()).hexdigest()}")
        data = {
            "version": version,
            "kind": "release",
            "trigger": TRIGGER,
            "lock": "sha256:" + "1" * 64,
            "responsible": "Ada",
            "identity": {"git": "Ada <ada@example.org>"},
            "approved": TRIGGER,
            "previous_image": None,
            "previous_version": "v0",
            "stack": "prod",
            "language": "es",
        }
        self.write("release opened", id, image=image, data={**data, **changes})
        return id, image

    def step(self, release: tuple[str, str], name: str, data: Mapping[str, Any] | None = None) -> None:
        id, image = release
        self.write("step started", id, image=image, step=name)
        self.write("step done", id, image=image, step=name, seconds=1.25, data=data or {})

    def succeed(self, version: str, **changes: Any) -> tuple[str, str]:
        """A release with all that a good one has, but what comes after it."""
        release = self.open(version, **changes)
        found = {
            "preflight": {"pending": ["loans.0002_due", "loans.0003_late"]},
            "backup": {
                "name": release[0],
                "taken_at": "2026-11-24T14:00:00+00:00",
                "bytes": 11233,
                "verified": True,
                "location": "/backups",
                "detail": {"rows": 812, "tables": 13, "media_files": 4},
            },
            "rewind": {"reversed": ["audit.0009_extra"]},
            "migrate": {"applied": ["loans.0002_due", "loans.0003_late"]},
        }
        for name in STEPS:
            self.step(release, name, found.get(name))
        for name in ROLLS:
            self.step(release, name, requests("log in on it"))
        checks = [{"name": "import", "run": True, "why": "assets differs from v1", "definition": "d"}]
        self.step(release, "smoke", {**requests("log in", "assign a loan", "return it"), "checks": checks})
        self.write("release succeeded", release[0], image=release[1])
        due = {
            "watch_until": (self.now + timedelta(hours=1)).isoformat(),
            "review_due": (self.now + timedelta(hours=24)).isoformat(),
        }
        self.step(release, "close-record", due)
        return release

    def fail(self, version: str, error: str, **changes: Any) -> tuple[str, str]:
        """In smoke."""
        release = self.open(version, **changes)
        for name in (*STEPS, *ROLLS):
            self.step(release, name)
        id, image = release
        self.write("step started", id, image=image, step="smoke")
        asked = requests("log in")["requests"]
        wrong = [*asked, {"name": "assign a loan", "status": 500, "milliseconds": 31, "fault": error}]
        self.write(
            "step failed", id, image=image, step="smoke", seconds=2.0, error=error, data={"requests": wrong}
        )
        self.write("release failed", id, image=image)
        return release

    def watch(self, release: tuple[str, str], verdict: str = "breached", why: str = "It rose.") -> None:
        id, image = release
        self.write("watch started", id, image=image, data={"until": "2026-11-24T15:00:00Z", "minutes": 60})
        if verdict == "breached":
            first = {"measure": "errors-5xx", "found": "4.8 %", "before": "0.1 %", "requests": 412}
            self.write("watch breached", id, image=image, data=first)
        data = {
            "verdict": verdict,
            "why": why,
            "requests": 1250,
            "measures": {
                "errors-5xx": {"found": "4.8 %", "before": "0.1 %", "breached": verdict == "breached"},
                "latency": {"found": "93 ms", "before": "90 ms", "breached": False},
            },
            "curve": [[30 * n, 10 + n % 7, n % 2, n % 3, 90 + n if n % 5 else None] for n in range(120)],
            "exceptions": [
                {"fingerprint": "f", "title": "ValueError in loans/views.py", "count": 3, "before": 0}
            ],
            "restarts": 0,
        }
        self.write("watch done", id, image=image, data=data)

    def review(self, release: tuple[str, str], verdict: str = "not stable", *, early: bool = False) -> None:
        id, image = release
        volume = {
            "verdict": verdict,
            "found": 70,
            "expected": 101.5,
            "low": 90,
            "high": 112,
            "before": 99,
            "weeks": [98, 104],
            "change_percent": -31.0,
            "error": None,
        }
        data = {
            "verdict": verdict,
            "due": "2026-11-25T14:00:00Z",
            "early": early,
            "late_seconds": 90,
            "volumes": {"loans": volume},
        }
        self.write("review done", id, image=image, data=data)

    def refuse(self, error: str) -> None:
        self.write("attempt refused", step="rollback", error=error, data={"responsible": "Grace"})

    def restore(self) -> None:
        data = {"backup": "20261124T140000Z-v1", "responsible": "Grace"}
        self.write("restore started", data=data)
        self.write("restore done", seconds=12.3, data=data)

    def drill(self) -> None:
        self.write("drill done", seconds=2.5, data={"backup": "20261124T140000Z-v1", "rows": 812})


def requests(*names: str) -> dict[str, Any]:
    return {
        "requests": [
            {"name": name, "status": 200, "milliseconds": 12 + place, "fault": None}
            for place, name in enumerate(names)
        ]
    }


def full(error: str = "assign a loan: status is 500, but 201 is expected") -> Book:
    """v0, v1, v2, v3 that fails, the rollback to v1; a refusal, a restore, a drill; watched and reviewed."""
    book = Book()
    book.succeed("v0", previous_version=None)
    first = book.succeed("v1")
    book.watch(first, verdict="quiet", why="Nothing rose; in 1250 requests it would have shown.")
    book.review(first, verdict="stable")
    second = book.succeed("v2", previous_version="v1")
    book.watch(second)
    book.review(second)
    book.fail("v3", error, previous_version="v2")
    book.refuse("v2 cannot go back past v1; run relevo restore.")
    book.restore()
    book.drill()
    back = {"previous_version": "v2", "decided_at": BEGIN.isoformat(), "approved": None}
    book.succeed("v1", kind="rollback", **back)
    return book


def long(releases: int) -> bytes:
    """A record of so many releases, of about as many bytes as real ones have."""
    book = Book()
    for number in range(releases):
        release = book.succeed(f"v{number}")
        book.watch(release, verdict="quiet", why="Nothing rose.")
        book.review(release, verdict="stable")
    return book.written
