"""A stack's configuration, validated into frozen settings. The only reader of `pulumi.Config`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

NAMESPACE = "relevo"
IMAGE = re.compile(r"^(?:[a-z0-9][a-z0-9._/:-]*)@sha256:[0-9a-f]{64}$")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What the environment map may be made of, besides {secret.NAME}. Every target gives each of them.
PLACEHOLDERS = (
    *(f"database.{part}" for part in ("url", "host", "port", "name", "user", "password")),
    *(f"cache.{part}" for part in ("url", "host", "port", "user", "password")),
    *(f"cache.readonly.{part}" for part in ("url", "user", "password")),
    *(f"public.{part}" for part in ("url", "host", "port")),
    *(f"release.{part}" for part in ("id", "version", "image")),
    "instance.name",
    "static.root",
    "media.root",
)


class SettingsError(Exception):
    """The configuration cannot be used. One line: key, what was found, what is accepted, remedy."""


def invalid(fault: str, remedy: str) -> PydanticCustomError:
    """A fault in the words of `style.md`; the key is put before it, so `fault` starts with a verb."""
    return PydanticCustomError("relevo", "{fault}; {remedy}.", {"fault": fault, "remedy": remedy})


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True
    )


Arguments = Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
SecretName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Probe(Section):
    """The request by which the balancer and the gate ask an instance whether it can serve."""

    path: Annotated[str, Field(pattern=r"^/\S*$")] = "/"
    status: Annotated[int, Field(ge=100, le=599)] = 200
    headers: dict[str, str] = {}
    release_header: str | None = None  # response header that carries the version, where the project sets one
    instance_header: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60, strict=False)] = 2.0


class Process(Section):
    """A further process of the same artefact: `command` is a program of its environment with its arguments."""

    command: Arguments
    environment: dict[EnvironmentName, str] = {}


class Commands(Section):
    """Further `manage.py` commands, each a list of arguments, run in this order in the release."""

    before_migrate: Annotated[tuple[Arguments, ...], Field(strict=False)] = ()
    after_migrate: Annotated[tuple[Arguments, ...], Field(strict=False)] = ()
    before_collectstatic: Annotated[tuple[Arguments, ...], Field(strict=False)] = ()
    after_collectstatic: Annotated[tuple[Arguments, ...], Field(strict=False)] = ()


class Folders(Section):
    """Folders inside the project which its settings hard-code; each becomes a link to the target's folder."""

    static: str | None = None
    media: str | None = None

    @field_validator("static", "media")
    @classmethod
    def inside_the_project(cls, value: str | None) -> str | None:
        if value is not None and (Path(value).is_absolute() or ".." in Path(value).parts or not value.strip("./")):
            raise invalid(
                f'is "{value}", but a folder inside the project is needed', "give a relative path such as staticfiles"
            )
        return value


class Build(Section):
    """How `relevo build` freezes the project. All paths are relative to the folder given to it."""

    project: str = "."  # the folder with manage.py
    requirements: str = "requirements.txt"  # or a pyproject.toml
    lock: str | None = None  # a committed lock with hashes to use as it is
    packages: Annotated[tuple[str, ...], Field(strict=False)] = ()
    constraints: str | None = None
    python: Annotated[str, Field(pattern=r"^3\.\d+$")] | None = None  # None: the version that runs Relevo
    # manage.py commands that prove the revision; their verdict is the pipeline that preflight asks for
    pipeline: Annotated[tuple[Arguments, ...], Field(strict=False)] = ()


class App(Section):
    """The Django project, as far as Relevo must know it."""

    settings: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
    wsgi: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    asgi: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    build: Build = Build()
    environment: dict[EnvironmentName, str] = {}
    secret_key: SecretName | None = "SECRET_KEY"  # the secret that settings.SECRET_KEY must be
    processes: dict[Name, Process] = {}
    commands: Commands = Commands()
    collectstatic: bool = True
    folders: Folders = Folders()
    probe: Probe = Probe()
    workers: Annotated[int, Field(ge=1, le=64)] | None = None  # gunicorn workers an instance; None: by the hardware
    threads: Annotated[int, Field(ge=1, le=64)] | None = None
    worker_class: str | None = None  # None: gthread for WSGI, uvicorn_worker.UvicornWorker for ASGI

    @model_validator(mode="after")
    def one_entry_point(self) -> Self:
        if (self.wsgi is None) == (self.asgi is None):
            found = "has neither wsgi nor asgi" if self.wsgi is None else "has both wsgi and asgi"
            raise invalid(f"{found}, but exactly one is needed", "set wsgi to PACKAGE.wsgi:application")
        return self


class Secret(Section):
    """A required secret. `generate`: the target makes a random one when there is none."""

    generate: bool = True


class Database(Section):
    """`binaries`: a folder with another PostgreSQL's initdb, postgres, pg_dump … for the local target."""

    name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = "app"
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = "app"
    port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    binaries: str | None = None
    max_connections: Annotated[int, Field(ge=10, le=1000)] = 100


class Cache(Section):
    port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    max_memory_mb: Annotated[int, Field(ge=8, le=65536)] = 64


class BackupPolicy(Section):
    max_age_hours: Annotated[float, Field(gt=0, le=24 * 365, strict=False)] = 24 * 7
    keep: Annotated[int, Field(ge=2, le=1000)] = 10


class Limits(Section):
    """Seconds after which a step is given up."""

    drain_seconds: Annotated[float, Field(gt=0, le=3600, strict=False)] = 30
    ready_seconds: Annotated[float, Field(gt=0, le=3600, strict=False)] = 60
    command_seconds: Annotated[float, Field(gt=0, le=24 * 3600, strict=False)] = 1800


class Notification(Section):
    """One receiver. Exactly one of the three kinds; an `appriseSecret` names a secret whose value is the URL."""

    console: bool = False
    file: str | None = None
    apprise_secret: SecretName | None = None
    url: str | None = None  # an apprise URL that carries no credential, e.g. json://127.0.0.1:9000/hook

    @model_validator(mode="after")
    def one_kind(self) -> Self:
        kinds = [self.console, self.file is not None, self.apprise_secret is not None, self.url is not None]
        if sum(kinds) != 1:
            raise invalid(
                f"names {sum(kinds)} kinds of receiver, but exactly one is needed",
                "give one of console, file, url and appriseSecret",
            )
        return self


class Settings(Section):
    """Everything that a stack's `Pulumi.<stack>.yaml` says under `relevo:`."""

    target: Literal["local"]
    app: App
    image: str | None = None
    instances: int = 2
    port: Annotated[int, Field(ge=1024, le=65535)] | None = None  # the public one; None: a free one, then kept
    smoke: str | None = None  # the scenario file, relative to the Pulumi project
    secrets: dict[SecretName, Secret] = {"SECRET_KEY": Secret()}
    database: Database = Database()
    cache: Cache = Cache()
    backup: BackupPolicy = BackupPolicy()
    limits: Limits = Limits()
    notify: Annotated[tuple[Notification, ...], Field(strict=False)] = (Notification(console=True),)
    accept_incompatible: str | None = None  # a version whose breaking migrations are accepted, for that release only
    responsible: str | None = None  # None: the CI actor or the git identity
    state_dir: str | None = None  # None: .relevo/<stack> beside Pulumi.yaml
