"""What one stack's release is to do, as the steps get it: plain data, JSON in an environment variable."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

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
    """Who is told; one of the four is set."""

    console: bool
    file: str | None
    url: str | None
    apprise_secret: str | None


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
    drill: bool = False  # whether the release restores its backup for practice

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        data: dict[str, Any] = json.loads(text)
        commands: dict[str, Iterable[Iterable[str]]] = data["commands"]
        data["commands"] = Commands(**{phase: tuple(map(tuple, lists)) for phase, lists in commands.items()})
        data["probe"] = Probe(**data["probe"])
        data["limits"] = Limits(**data["limits"])
        data["notify"] = tuple(Receiver(**receiver) for receiver in data["notify"])
        if (pipeline := data["pipeline"]) is not None:
            names = {name: tuple(pipeline[name]) for name in ("checks", "all_but")}
            data["pipeline"] = Pipeline(**{**pipeline, **names})
        for name in ("instances", "processes", "secrets"):
            data[name] = tuple(data[name])
        return cls(**data)
