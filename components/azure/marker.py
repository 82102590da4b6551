"""The lines by which our own parts in a container tell the runner what runs and what has ended. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from components.target import Deployment

STARTED, ENDED = "started", "ended"
BEGIN = '{"relevo": '


@dataclass(frozen=True, kw_only=True)
class Started:
    """One process of a site or container app, as it starts. `start` names the replacing that it is of."""

    release: str
    image: str
    version: str
    instance: str
    worker: str  # WEBSITE_INSTANCE_ID, or the replica
    start: str

    @property
    def deployment(self) -> Deployment:
        return Deployment(image=self.image, version=self.version, release=self.release)

    def to_line(self) -> str:
        return json.dumps({"relevo": STARTED, **asdict(self)})


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job's command ended. `key`: that of its execution, which no project can guess."""

    status: int
    key: str
    seconds: float

    def to_line(self) -> str:
        return json.dumps({"relevo": ENDED, **asdict(self)})


def started(line: str) -> Started | None:
    """What the line says, which may stand behind a time stamp of the platform's."""
    found = _data(line, STARTED)
    try:
        return Started(**found) if found else None
    except TypeError:
        return None


def ended(lines: Iterable[str], key: str) -> Ended | None:
    for line in lines:
        found = _data(line, ENDED)
        if found and found.get("key") == key:
            return Ended(**found)
    return None


def _data(line: str, kind: str) -> dict[str, Any] | None:
    start = line.find(BEGIN)
    if start < 0:
        return None
    try:
        found = json.loads(line[start:])
    except ValueError:
        return None
    return found if found.pop("relevo", None) == kind else None
