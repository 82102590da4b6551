"""What one stack's release is to do, as the steps get it: plain data, JSON in an environment variable."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from components.release import reading
from components.release.audiences import WANTED, Audience, Language, News

Arguments = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The request by which an instance is asked whether it can serve."""

    path: str
    status: int
    headers: dict[str, str]
    release_header: str | None
    instance_header: str | None
    timeout_seconds: float


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Further `manage.py` commands around migrate and collectstatic."""

    before_migrate: tuple[Arguments, ...]
    after_migrate: tuple[Arguments, ...]
    before_collectstatic: tuple[Arguments, ...]
    after_collectstatic: tuple[Arguments, ...]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds after which a step gives up."""

    drain_seconds: float
    ready_seconds: float
    command_seconds: float


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Who is told what, and in which language; one of the first four is set."""

    console: bool
    file: str | None
    url: str | None
    apprise_secret: str | None
    audience: Audience = "all"
    events: tuple[News, ...] = ()  # empty: those of the audience
    language: Language = "en"

    def wants(self, news: News) -> bool:
        if self.console and news == "started":
            return False  # open-record has just said it there, and what it prints identifies the release
        return news in (self.events or WANTED[self.audience])

    @property
    def operates(self) -> bool:
        """Whether commands and the program's own error lines are of use to it."""
        return self.audience in ("all", "operations")


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Where CI says how a revision stands. `checks` must be green; where none are named, all but `all_but`.

    `token` is the name of a secret of the stack, else of an environment variable.
    """

    github: str  # owner/repository
    checks: tuple[str, ...]
    all_but: tuple[str, ...]
    token: str
    api: str


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How long after a release its errors are compared with those before it, and how often."""

    minutes: float
    every_seconds: float


@dataclass(frozen=True, kw_only=True)
class Volume:
    """What is counted in a span of time; either of the first two is set.

    `sql` is a read-only query for one number, with %(since)s and %(until)s; `command` the arguments of
    manage.py, with {since} and {until} in ISO 8601, whose last line is the number.
    """

    name: str
    sql: str | None
    command: Arguments | None
    tolerance_percent: float


@dataclass(frozen=True, kw_only=True)
class Review:
    """`hours` after a release its volumes are compared with the same span before it."""

    hours: float
    weeks: int  # of the weekly pattern
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, kw_only=True)
class Spec:
    image: str
    instances: tuple[str, ...]  # in rolling order
    processes: tuple[str, ...]
    commands: Commands
    collectstatic: bool
    probe: Probe
    scenario: str | None  # the smoke scenario itself (YAML), so that no step can read another one
    secrets: tuple[str, ...]  # names
    secret_key: str | None
    limits: Limits
    backup_max_age_hours: float
    notify: tuple[Receiver, ...]
    accept_incompatible: str | None
    responsible: str | None
    pipeline: Pipeline | None  # None: only the run that relevo build records
    checks: Literal["touched", "always"] = "touched"  # which checks of the scenario run
    drill: bool = False  # whether the release restores its backup for practice
    watch: Watch | None = None  # None: there is no watch
    review: Review | None = None  # None: there is no review
    language: Language = "en"  # of the logbook's page

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        data: dict[str, Any] = json.loads(text)
        commands: dict[str, Iterable[Iterable[str]]] = data["commands"]
        data["commands"] = Commands(**{phase: tuple(map(tuple, lists)) for phase, lists in commands.items()})
        data["probe"] = Probe(**data["probe"])
        data["limits"] = Limits(**data["limits"])
        data["notify"] = tuple(_receiver(receiver) for receiver in data["notify"])
        if (pipeline := data["pipeline"]) is not None:
            names = {name: tuple(pipeline[name]) for name in ("checks", "all_but")}
            data["pipeline"] = Pipeline(**{**pipeline, **names})
        data["watch"] = Watch(**data["watch"]) if data.get("watch") else None
        data["review"] = _review(data["review"]) if data.get("review") else None
        for name in ("instances", "processes", "secrets"):
            data[name] = tuple(data[name])
        return cls(**data)


def _review(data: Mapping[str, Any]) -> Review:
    volumes = tuple(
        Volume(**{**volume, "command": volume["command"] and tuple(volume["command"])})
        for volume in data["volumes"]
    )
    return Review(**{**data, "volumes": volumes})


def _receiver(data: Mapping[str, Any]) -> Receiver:
    """Also one that another version of Relevo has described."""
    told = reading.known(Receiver, data)
    return Receiver(**{**told, "events": tuple(told.get("events", ()))})
