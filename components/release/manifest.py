"""What an artefact says of itself: version, lock, migrations and the pipeline's verdict."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from components.release.reading import known

Effect = Literal["additive", "opaque", "breaking"]


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One migration as the artefact's own graph has it.

    `effect` is what it does to the version that still runs while it is applied: *additive* (old code cannot
    notice), *breaking* (old code fails on it), *opaque* (only its author knows: RunPython, RunSQL).
    """

    app: str
    name: str
    effect: Effect
    reversible: bool
    operations: tuple[str, ...]
    dependencies: tuple[tuple[str, str], ...] = ()
    replaces: tuple[tuple[str, str], ...] = ()
    loses: tuple[str, ...] = ()  # operations whose values do not come back when it is reversed
    icu: bool = False  # makes or names a collation that only a PostgreSQL built with ICU has

    @property
    def key(self) -> tuple[str, str]:
        return self.app, self.name

    def __str__(self) -> str:
        return f"{self.app}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class Check:
    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of one artefact. Migrations are in an order in which they can be applied."""

    version: str
    revision: str  # git commit
    built_at: str  # ISO 8601, UTC
    lock: str  # sha256:<hex> of requirements-lock.txt
    python: str  # "3.11"
    migrations: tuple[Migration, ...]
    heads: dict[str, tuple[str, ...]]  # app → its newest migrations (the schema heads)
    pipeline: tuple[Check, ...]  # empty: no run is recorded for this revision
    # folder of the source ("." for itself) → digest of the files in it; empty: an older Relevo built it
    folders: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        data: dict[str, Any] = json.loads(text)
        data["migrations"] = tuple(
            Migration(
                **{
                    **known(Migration, migration),
                    "operations": tuple(migration["operations"]),
                    "dependencies": tuple((app, name) for app, name in migration["dependencies"]),
                    "replaces": tuple((app, name) for app, name in migration["replaces"]),
                    "loses": tuple(migration.get("loses", ())),
                }
            )
            for migration in data["migrations"]
        )
        data["heads"] = {app: tuple(names) for app, names in data["heads"].items()}
        data["pipeline"] = tuple(Check(**known(Check, check)) for check in data["pipeline"])
        return cls(**known(cls, data))
