"""What one stack's release is to do, as the steps get it: plain data, JSON in an environment variable."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

Arguments = tuple[str, ...]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Probe(Part):
    """The request by which an instance is asked whether it can serve."""

    path: str
    status: int
    headers: dict[str, str]
    release_header: str | None
    instance_header: str | None
    timeout_seconds: float


class Commands(Part):
    """Further `manage.py` commands around migrate and collectstatic."""

    before_migrate: tuple[Arguments, ...]
    after_migrate: tuple[Arguments, ...]
    before_collectstatic: tuple[Arguments, ...]
    after_collectstatic: tuple[Arguments, ...]


class Limits(Part):
    """Seconds after which a step gives up."""

    drain_seconds: float
    ready_seconds: float
    command_seconds: float


class Receiver(Part):
    """Who is told; one of the four is set."""

    console: bool
    file: str | None
    url: str | None
    apprise_secret: str | None


class Spec(Part):
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

    def to_json(self) -> str:
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.model_validate_json(text)
