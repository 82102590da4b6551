"""A stack's configuration, validated into frozen settings. The only reader of `pulumi.Config`."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.release.audiences import EVERYTHING, WANTED, Audience, Language, News
from stacks import azure_rules
from stacks.azure_settings import AzureSection
from stacks.section import PLACEHOLDER, Section, Text, accepts, at, did_you_mean, invalid

NAMESPACE = "relevo"
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-f:.]+:[0-9a-f:.]*")  # a name or an address, also of IPv6
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")  # libpq's
# What the environment map may be made of, besides {secret.NAME}. Every target gives each of them.
PLACEHOLDERS = (
    *(f"database.{part}" for part in ("url", "host", "port", "name", "user", "password")),
    *(f"cache.{part}" for part in ("url", "host", "port", "user", "password")),
    *(f"cache.readonly.{part}" for part in ("url", "user", "password")),
    *(f"public.{part}" for part in ("url", "host", "port")),
    *(f"release.{part}" for part in ("id", "version", "image")),
    "instance.name",
    "instance.host",
    "instance.verify.host",
    "static.root",
    "media.root",
    "insights.connection",
)
# Set for every process by the target itself.
RESERVED_VARIABLES = ("DJANGO_SETTINGS_MODULE", "PATH", "HOME")
# A name of what is secret, and not of how long or how one is; so is a URL that has a password. As in policy/.
SECRET_NAME = re.compile(
    r"(SECRET|PASSWORD|PASSWD|TOKEN|(^|_)KEY|CREDENTIAL|CONNECTION_?STRING)(S|_BASE|_FALLBACKS?|_?V?\d+)?$",
    re.I,
)
CREDENTIAL_URL = re.compile(r"\w+://[^/\s:@]*:[^/\s@]+@")
# Of apprise: what a URL of these schemes has in its host and path is an address, elsewhere mostly a token.
OPEN_SCHEMES = ("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "syslog")
CREDENTIAL_QUERY = re.compile(
    r"[&;](?:[+:-]|%2b|%3a|(?:user|pass|pwd|token|secret|\w*key)\w*=)", re.I
)  # or headers
HARMLESS = re.compile(r"\s*|[\d.]+|true|false|yes|no|on|off", re.I)  # whatever its name
RESERVED_PROCESSES = ("web", "manage", "database", "cache", "edge", "pages", "attendant", "previous")


class SettingsError(Exception):
    """The configuration cannot be used. A line a fault: key, what was found, what is accepted, remedy."""


Port = Annotated[int, accepts("a port from 1024 to 65535", ge=1024, le=65535)]
Seconds = Annotated[float, accepts("a number of seconds above 0", gt=0, le=24 * 3600, strict=False)]
Arguments = Annotated[tuple[Text, ...], accepts("a list of words, at least one", min_length=1, strict=False)]
ArgumentsList = Annotated[
    tuple[Arguments, ...], accepts("a list of commands, each a list of words", strict=False)
]
ProcessName = Annotated[str, accepts("a name such as worker-2", pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Variable = Annotated[str, accepts("a variable name such as DB_HOST", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Value = Annotated[str, accepts("text (in quotes where YAML would see a number)")]
Environment = Annotated[dict[Variable, Value], accepts("a map from variable names to text")]
SecretName = Annotated[str, accepts("a secret's name such as SECRET_KEY", pattern=r"^[A-Z][A-Z0-9_]*$")]
VolumeName = Annotated[
    str,
    accepts(
        "a name such as loans, of at most 40 letters, digits, spaces, . _ and -", pattern=r"^\w[\w .-]{0,39}$"
    ),
]
Identifier = Annotated[
    str, accepts("a PostgreSQL name of lower-case letters, digits and _", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
]
Event = Annotated[News, accepts(f"one of {', '.join(EVERYTHING)}")]
EntryPoint = Annotated[
    str, accepts("an object such as mysite.wsgi:application", pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
]
HeaderName = Annotated[str, accepts("a header's name such as X-Release", pattern=r"^[A-Za-z0-9-]+$")]
HeaderValue = Annotated[str, accepts("text on one line", pattern=r"^[^\r\n]*$")]


class Probe(Section):
    """The request by which the balancer and the gate ask an instance whether it can serve."""

    path: str = accepts("a path such as /readyz/", pattern=r"^/\S*$", default="/")
    status: int = accepts("an HTTP status from 100 to 599", ge=100, le=599, default=200)
    headers: dict[HeaderName, HeaderValue] = accepts("a map from header names to text", default={})
    release_header: HeaderName | None = (
        None  # response header that carries the version, where the project sets one
    )
    instance_header: HeaderName | None = None
    timeout_seconds: Seconds = 2.0


class Process(Section):
    """A further process of the same artefact: `command` is a program of its environment and its arguments."""

    command: Arguments
    environment: Environment = {}


class Commands(Section):
    """Further `manage.py` commands, each a list of arguments, run in this order in the release."""

    before_migrate: ArgumentsList = ()
    after_migrate: ArgumentsList = ()
    before_collectstatic: ArgumentsList = ()
    after_collectstatic: ArgumentsList = ()


def inside(value: str | None) -> str | None:
    """`value`, a relative path that does not lead out of its folder."""
    if value is not None and (Path(value).is_absolute() or ".." in Path(value).parts or not value.strip()):
        raise invalid(
            f'is "{value}", but only a path inside the folder given to relevo build is accepted',
            "give a relative path without ..",
        )
    return value


class Folders(Section):
    """Folders inside the project which its settings hard-code; each becomes a link to the target's folder."""

    static: str | None = accepts("a folder inside the project such as staticfiles", default=None)
    media: str | None = accepts("a folder inside the project such as media", default=None)

    _inside = field_validator("static", "media")(inside)


class Build(Section):
    """How `relevo build` freezes the project. All paths are relative to the folder given to it."""

    project: str = accepts("the folder with manage.py", default=".")
    requirements: str = accepts("a requirements file or a pyproject.toml", default="requirements.txt")
    lock: str | None = accepts("a committed lock with hashes", default=None)
    packages: Annotated[
        tuple[Text, ...], accepts("a list of requirements such as gunicorn==23.0.0", strict=False)
    ] = ()
    constraints: str | None = accepts("a constraints file", default=None)
    python: str | None = accepts("a version such as 3.12", pattern=r"^3\.\d+$", default=None)
    base: str | None = accepts("an image with Python such as python:3.12-slim@sha256:…", default=None)
    # manage.py commands that prove the revision; their verdict is the pipeline that preflight asks for
    pipeline: ArgumentsList = ()

    _inside = field_validator("project", "requirements", "lock", "constraints")(inside)


class App(Section):
    """The Django project, as far as Relevo must know it."""

    settings: str = accepts(
        "a settings module such as mysite.settings", pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
    )
    wsgi: EntryPoint | None = None
    asgi: EntryPoint | None = None
    build: Build = Build()
    environment: Environment = {}
    secret_key: SecretName | None = "SECRET_KEY"  # the secret that settings.SECRET_KEY must be
    processes: dict[ProcessName, Process] = accepts("a map from process names to their commands", default={})
    commands: Commands = Commands()
    collectstatic: bool = accepts("true or false", default=True)
    folders: Folders = Folders()
    probe: Probe = Probe()
    # None: derived from the hardware
    workers: int | None = accepts("a number of gunicorn workers from 1 to 64", ge=1, le=64, default=None)
    threads: int | None = accepts("a number of threads from 1 to 64", ge=1, le=64, default=None)
    worker_class: Text | None = None  # None: gthread for WSGI, uvicorn_worker.UvicornWorker for ASGI

    @model_validator(mode="after")
    def one_entry_point(self) -> Self:
        if (self.wsgi is None) == (self.asgi is None):
            found = "has neither wsgi nor asgi" if self.wsgi is None else "has both wsgi and asgi"
            raise invalid(f"{found}, but exactly one is accepted", "set wsgi to PACKAGE.wsgi:application")
        return self

    @field_validator("processes")
    @classmethod
    def free_names(cls, processes: dict[str, Process]) -> dict[str, Process]:
        for name in processes:
            if name in RESERVED_PROCESSES or name.startswith("instance-"):
                raise invalid(
                    f'has a process "{name}", but that name is the target\'s own', "choose another name"
                )
        return processes

    def environments(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Each environment map with its key below `app`."""
        yield "environment", self.environment
        for name, process in self.processes.items():
            yield f"processes.{name}.environment", process.environment


class Secret(Section):
    """A required secret. `generate`: the target makes a random one when there is none."""

    generate: bool = accepts("true or false", default=True)


@dataclass(frozen=True, kw_only=True)
class DatabaseServer:
    """`relevo:database.server` taken apart. `role` administers it; its password is a secret."""

    host: str
    port: int
    role: str
    sslmode: str
    sslrootcert: str

    @classmethod
    def parse(cls, url: object) -> Self:
        """Without ever showing the URL: it could carry a password."""
        example = "give one such as postgresql://admin@db.example.org:5432/?sslmode=require"
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            port = parts.port or 5432
        except ValueError:
            raise invalid("is not a URL", example) from None
        if parts.scheme not in ("postgresql", "postgres") or not HOST.fullmatch(parts.hostname or ""):
            raise invalid("is not the URL of one PostgreSQL server", example)
        if parts.password is not None:
            raise invalid(
                "carries a password, but settings hold no secret",
                "put it into a secret and name that by database.serverSecret",
            )
        if not parts.username:
            raise invalid("names no role, but somebody must log in", example)
        if parts.path.strip("/"):
            raise invalid("names a database, too", "set database.name instead")
        unknown = sorted(options.keys() - {"sslmode", "sslrootcert"})
        if unknown:
            raise invalid(f"has {unknown[0]}, but only sslmode and sslrootcert are accepted", "remove it")
        sslmode = options.get("sslmode", "prefer")
        if sslmode not in SSL_MODES:
            raise invalid(f"has sslmode={sslmode}, but {', '.join(SSL_MODES)} are accepted", "correct it")
        return cls(
            host=parts.hostname or "",
            port=port,
            role=unquote(parts.username),
            sslmode=sslmode,
            sslrootcert=options.get("sslrootcert", ""),
        )


class Database(Section):
    """Of the local target. `binaries`: a folder with another PostgreSQL's initdb, postgres, pg_dump …

    `server`: one that is there already, instead of the stack's own.
    """

    name: Identifier = "app"
    user: Identifier = "app"
    port: Port | None = None
    binaries: Text | None = None
    max_connections: int = accepts("a number from 10 to 1000", ge=10, le=1000, default=100)
    server: DatabaseServer | None = None
    server_secret: SecretName | None = None  # the secret that is the password of the server's role

    @field_validator("server", mode="plain")
    @classmethod
    def taken_apart(cls, url: object) -> DatabaseServer | None:
        return None if url is None else DatabaseServer.parse(url)

    @model_validator(mode="after")
    def one_server(self) -> Self:
        if (self.server is None) != (self.server_secret is None):
            has, lacks = ("server", "serverSecret") if self.server else ("serverSecret", "server")
            raise invalid(
                f"has {has} but no {lacks}", "give both, or neither for a server of the stack's own"
            )
        for name in ("port", "max_connections"):
            if self.server is not None and getattr(self, name) != type(self).model_fields[name].default:
                raise invalid(f"has {to_camel(name)} beside server, which has its own", "remove it")
        return self


class Cache(Section):
    port: Port | None = None
    max_memory_mb: int = accepts("a number of megabytes from 8 to 65536", ge=8, le=65536, default=64)


class BackupPolicy(Section):
    max_age_hours: float = accepts(
        "a number of hours above 0", gt=0, le=24 * 365, strict=False, default=24 * 7
    )
    keep: int = accepts("a number of backups from 2 to 1000", ge=2, le=1000, default=10)
    drill: bool = accepts("true or false", default=False)  # each release restores its backup for practice


class Limits(Section):
    """Seconds after which a step is given up."""

    drain_seconds: Seconds = 30.0
    ready_seconds: Seconds = 60.0
    command_seconds: Seconds = 1800.0


class Watch(Section):
    """How long after a release what visitors meet is compared with the hour before; 0 minutes: not at all."""

    minutes: float = accepts("a number of minutes from 0 (no watch) to 1440", ge=0, le=24 * 60, default=60)
    every_seconds: float = accepts("a number of seconds from 1 to 3600", ge=1, le=3600, default=15)


class Volume(Section):
    """What a review counts, by a query or by a manage.py command whose last line is the number."""

    sql: Text | None = None
    command: Arguments | None = None
    tolerance_percent: float = accepts("a percentage from 0 to 100", ge=0, le=100, default=20)

    @field_validator("sql")
    @classmethod
    def reads(cls, sql: str | None) -> str | None:
        from components.release import volume_query  # whose parser most stacks do not need

        if sql is not None and (found := volume_query.fault(sql)):
            raise invalid(
                f"{found}, but one SELECT with %(since)s and %(until)s is accepted",
                f"write it as {volume_query.EXAMPLE}",
            )
        return sql

    @field_validator("command")
    @classmethod
    def of_a_span(cls, command: tuple[str, ...] | None) -> tuple[str, ...] | None:
        absent = [end for end in ("{since}", "{until}") if command and not any(end in w for w in command)]
        if absent:
            raise invalid(
                f"has no {' and no '.join(absent)}, but it is to count what lies between them",
                "give both to the command, as in [count_loans, --since, {since}, --until, {until}]",
            )
        return command

    @model_validator(mode="after")
    def one_way(self) -> Self:
        if (self.sql is None) == (self.command is None):
            found = "has neither sql nor command" if self.sql is None else "has both sql and command"
            raise invalid(f"{found}, but exactly one is accepted", "count it by sql where that can be done")
        return self


class Review(Section):
    """When volumes of data are compared with the span before a release and with those of earlier weeks."""

    hours: float = accepts("a number of hours above 0, at most 168", gt=0, le=168, default=24)
    weeks: int = accepts("a number of weeks from 0 (no weekly pattern) to 52", ge=0, le=52, default=4)
    volumes: dict[VolumeName, Volume] = accepts("a map from names to volumes, at least one", min_length=1)


class Logbook(Section):
    """Where the logbook's pages are below the public address, and whose password opens them."""

    path: str = accepts(
        "a path such as /.relevo/logbook/, which begins and ends with / and is not / itself",
        pattern=r"^/(?:\.?[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)+$",
        default="/.relevo/logbook/",
    )
    user: str = accepts("a name of letters, digits and ._-", pattern=r"^[A-Za-z0-9._-]+$", default="relevo")
    secret: SecretName


class Pipeline(Section):
    """Where CI says how a revision stands. `token` names a secret, else a variable where `pulumi up` runs.

    The checks are named, since all of them would include the job that releases, which waits for itself.
    """

    github: str = accepts(
        "a repository such as owner/name", pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]*[A-Za-z0-9_-]$"
    )
    checks: Annotated[
        tuple[Text, ...], accepts("a list of names of checks, at least one", min_length=1, strict=False)
    ] = ()
    all_but: Annotated[tuple[Text, ...], accepts("a list of names of checks", strict=False)] = ()
    token: SecretName = "GITHUB_TOKEN"
    api: str = accepts("the URL of GitHub's REST API", default="https://api.github.com")

    @field_validator("api")
    @classmethod
    def encrypted(cls, api: str) -> str:
        parts = urlsplit(api)
        here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
        if not parts.hostname or not (parts.scheme == "https" or here):
            raise invalid("is not an https URL", "give one such as https://github.example.org/api/v3")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise invalid("has more than host and path", "give one such as https://github.example.org/api/v3")
        return api

    @model_validator(mode="after")
    def one_choice(self) -> Self:
        given = self.model_fields_set & {"checks", "all_but"}
        if len(given) != 1:
            found = "has both checks and allBut" if given else "has neither checks nor allBut"
            raise invalid(
                f"{found}, but exactly one is accepted", "name the checks that must be green by checks"
            )
        return self


class Notification(Section):
    """One receiver, of one kind. `apprise_secret` names a secret whose value is an apprise URL."""

    console: bool = accepts("true or false", default=False)
    file: Text | None = None
    apprise_secret: SecretName | None = None
    url: Text | None = None
    audience: Audience = accepts(f"one of {', '.join(WANTED)}", default="all")
    events: tuple[Event, ...] = accepts(
        "a list of events, at least one (left out: those of the audience)",
        min_length=1,
        default=(),
        strict=False,
    )
    language: Language | None = accepts("en or es", default=None)  # None: the stack's

    @field_validator("url")
    @classmethod
    def without_credentials(cls, url: str | None) -> str | None:
        if url is not None:
            try:
                parts = urlsplit(url)
            except ValueError:
                parts = urlsplit("")  # its own error would repeat the URL
            if not parts.scheme or not parts.netloc:
                raise invalid("is not a URL", "give an apprise URL such as json://127.0.0.1:9000/hook")
            secret = "put the URL into a secret and name it by appriseSecret"
            # apprise reads a query in a fragment, too
            query = "&".join(["", parts.query, *parts.fragment.split("?")])
            if parts.username or parts.password or CREDENTIAL_QUERY.search(query):
                raise invalid("carries a credential, but settings hold no secret", secret)
            if parts.scheme.lower() not in OPEN_SCHEMES:
                raise invalid(
                    f"has the scheme {parts.scheme}, but only one whose URL is no secret itself is accepted "
                    f"({', '.join(OPEN_SCHEMES)})",
                    secret,
                )
        return url

    @model_validator(mode="after")
    def one_kind(self) -> Self:
        kinds = sum(
            [self.console, self.file is not None, self.apprise_secret is not None, self.url is not None]
        )
        if kinds != 1:
            raise invalid(
                f"names {kinds} kinds of receiver, but exactly one is accepted",
                "give one of console: true, file, url and appriseSecret",
            )
        return self


class Settings(Section):
    """Everything that a stack's `Pulumi.<stack>.yaml` says under `relevo:`."""

    target: Literal["local", "azure"] = accepts("local or azure")
    azure: AzureSection | None = None
    app: App
    image: str | None = accepts(
        "a digest as relevo build prints it (app@sha256:<64 hex digits>)",
        pattern=r"^[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}$",
        default=None,
    )
    instances: int = accepts("a whole number of at least 2", default=2)
    port: Port | None = None  # the public one; None: a free one, then kept
    smoke: Text | None = None  # the scenario file, relative to the Pulumi project
    # which of the scenario's checks run: those of what a release touches, or all
    checks: Literal["touched", "always"] = accepts("touched or always", default="touched")
    secrets: dict[SecretName, Secret] = accepts(
        "a map from secret names to their options", default={"SECRET_KEY": Secret()}
    )
    database: Database = Database()
    cache: Cache = Cache()
    backup: BackupPolicy = BackupPolicy()
    limits: Limits = Limits()
    watch: Watch = Watch()
    review: Review | None = None  # None: people look at the volumes
    logbook: Logbook | None = None  # None: its pages are written, and not served
    pipeline: Pipeline | None = None  # None: only the run that relevo build records
    notify: Annotated[tuple[Notification, ...], accepts("a list of receivers", strict=False)] = (
        Notification(console=True),
    )
    accept_incompatible: Text | None = None  # the version whose breaking migrations are accepted
    # rollback: a release that fails on an instance or in smoke is followed by one of the last good artefact
    on_failure: Literal["stop", "rollback"] = accepts("stop or rollback", default="stop")
    language: Language = accepts("en or es", default="en")  # of notifications
    responsible: Text | None = None  # None: the CI actor or the git identity
    state_dir: Text | None = None  # None: .relevo/<stack> beside Pulumi.yaml

    @property
    def instance_names(self) -> tuple[str, ...]:
        """In rolling order."""
        return tuple(f"instance-{number}" for number in range(1, self.instances + 1))

    @field_validator("instances")
    @classmethod
    def enough_to_roll(cls, instances: int) -> int:
        if instances < 2:
            raise invalid(f"is {instances}, but a rolling release needs at least 2", "raise it")
        return instances

    @model_validator(mode="after")
    def consistent(self) -> Self:
        for key, environment in self.app.environments():
            for variable, template in environment.items():
                self._check_variable(f"app.{key}.{variable}", variable, template)
        if self.app.secret_key is not None:
            if self.app.secret_key not in self.secrets:
                raise at(
                    "app.secretKey",
                    f"is {self.app.secret_key}, which is not among relevo:secrets",
                    "declare it there, or set app.secretKey to null if the project has no such key",
                )
            carried = f"{{secret.{self.app.secret_key}}}"
            if carried not in self.app.environment.values():
                raise at(
                    "app.environment",
                    f"has no variable with {carried}, but settings.SECRET_KEY must be that secret",
                    f'add the variable that the project reads, e.g. SECRET_KEY: "{carried}"',
                )
        for index, receiver in enumerate(self.notify):
            if receiver.apprise_secret is not None and receiver.apprise_secret not in self.secrets:
                raise at(
                    f"notify[{index}].appriseSecret",
                    f"is {receiver.apprise_secret}, which is not among relevo:secrets",
                    "declare it there with generate: false",
                )
        if self.logbook is not None:
            self._check_logbook(self.logbook)
        password = self.database.server_secret
        if password is not None and (password not in self.secrets or self.secrets[password].generate):
            raise at(
                "database.serverSecret",
                f"is {password}, which is not a secret that you give",
                f"declare it in relevo:secrets as {password}: {{generate: false}}",
            )
        used: dict[int, str] = {}
        ports = {"port": self.port, "database.port": self.database.port, "cache.port": self.cache.port}
        for key, port in ports.items():
            if port is None:
                continue
            if port in used:
                raise at(key, f"is {port}, which relevo:{used[port]} has already", "give each its own port")
            used[port] = key
        return self

    @model_validator(mode="after")
    def of_its_target(self) -> Self:
        if self.target == "azure":
            if self.azure is None:
                raise at("azure", "is missing, but target is azure", "add it, as docs/azure.md says")
            azure_rules.check(self, self.azure)
        elif self.azure is not None:
            raise at("azure", f"is given, but target is {self.target}", "remove it, or set target to azure")
        return self

    def _check_logbook(self, logbook: Logbook) -> None:
        if logbook.secret not in self.secrets:
            raise at(
                "logbook.secret",
                f"is {logbook.secret}, which is not among relevo:secrets",
                "declare it there",
            )
        if logbook.secret == self.app.secret_key:
            raise at(
                "logbook.secret",
                f"is {logbook.secret}, which signs the project's sessions",
                "declare another one for those who read the pages",
            )
        if self.app.probe.path.startswith(logbook.path):
            raise at(
                "logbook.path",
                f"is {logbook.path}, but relevo:app.probe.path is below it and needs no password",
                "choose another",
            )

    def _check_variable(self, key: str, variable: str, template: str) -> None:
        if variable in RESERVED_VARIABLES or variable.startswith("RELEVO_"):
            remedy = "use app.settings" if variable == "DJANGO_SETTINGS_MODULE" else "choose another name"
            raise at(key, "is set by the target itself", remedy)
        rest = template.replace("{{", "").replace("}}", "")
        for placeholder in PLACEHOLDER.findall(rest):
            if placeholder.startswith("secret."):
                if placeholder.removeprefix("secret.") not in self.secrets:
                    raise at(
                        key, f"uses {{{placeholder}}}, which is not among relevo:secrets", "declare it there"
                    )
            elif placeholder not in PLACEHOLDERS:
                accepted = f"{{secret.NAME}} and {', '.join(PLACEHOLDERS)}"
                raise at(
                    key,
                    f"uses {{{placeholder}}}, but only {accepted} are accepted",
                    did_you_mean(placeholder, PLACEHOLDERS) or "write a literal brace as {{ or }}",
                )
        literal = PLACEHOLDER.sub("", rest)
        if "{" in literal or "}" in literal:
            raise at(key, "has a brace without its pair", "write a literal brace as {{ or }}")
        named = SECRET_NAME.search(variable) and literal == rest and not HARMLESS.fullmatch(literal)
        if named or CREDENTIAL_URL.search(literal):
            raise at(
                key,
                "has a secret in plain text, but only {secret.NAME} stays out of git and of the state",
                f"declare it in relevo:secrets with generate: false, and run relevo secret set {variable}",
            )


def load() -> Settings:
    """The running stack's settings. Raises `SettingsError`."""
    import pulumi  # takes most of a second, and the desk's commands do without it

    config = pulumi.runtime.config
    values = {**config.get_config_env(), **config.CONFIG.get()}
    secret = set(config.get_config_secret_keys_env()) | config._SECRET_KEYS.get()
    ours = {key: value for key, value in values.items() if key.startswith(f"{NAMESPACE}:")}
    return parse(ours, source=f"Pulumi.{pulumi.get_stack()}.yaml", secret=secret)


def load_file(path: Path) -> Settings:
    """The settings of a `Pulumi.<stack>.yaml`, outside the engine. Raises `SettingsError`."""
    try:
        document = YAML(typ="safe").load(path.read_text())
    except FileNotFoundError:
        raise SettingsError(
            f"{path.name} is missing, but each stack has one; copy Pulumi.local.yaml."
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path.name} is not YAML ({' '.join(str(error).split())}); correct it."
        ) from None
    config = (document or {}).get("config") if isinstance(document or {}, dict) else None
    if not isinstance(config, dict):
        raise SettingsError(
            f"{path.name} has no map under config, but relevo: keys are needed; copy Pulumi.local.yaml."
        )
    ours = {key: value for key, value in config.items() if str(key).startswith(f"{NAMESPACE}:")}
    # The engine hands scalars over as text and the rest as JSON: do likewise, so that both readers agree.
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in ours.items()}
    secret = {key for key, value in ours.items() if isinstance(value, dict) and "secure" in value}
    return parse(values, source=path.name, secret=secret)


def parse(values: Mapping[str, str], *, source: str, secret: typing.Collection[str] = ()) -> Settings:
    """Settings from `relevo:key` → text, where what is not text is JSON. `source` is named in errors."""
    if secret:
        key = sorted(secret)[0]
        raise SettingsError(
            f"{key} is encrypted, but settings hold no secret; use relevo secret set and its name."
        )
    fields = {to_camel(name): field for name, field in Settings.model_fields.items()}
    document: dict[str, Any] = {}
    for key, value in values.items():
        name = key.removeprefix(f"{NAMESPACE}:")
        textual = name in fields and str in _alternatives(fields[name].annotation)
        try:
            document[name] = value if textual else json.loads(value)
        except (TypeError, ValueError):
            document[name] = value
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        lines = [_line(detail, document, source) for detail in error.errors(include_url=False)]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None


def _line(detail: ErrorDetails, document: Mapping[str, Any], source: str) -> str:
    """One fault as key, what was found, what is accepted, remedy."""
    context = detail.get("ctx", {})
    parts = [part for part in detail["loc"] if part != "[key]"]
    key = f"{NAMESPACE}:{'.'.join(filter(None, (_path(parts), context.get('key'))))}"
    if detail["type"] == "relevo-line":
        return detail["msg"]
    if detail["type"] == "relevo":
        return f"{key} {detail['msg']}"
    of_key = "[key]" in detail["loc"]
    model, accepted = _find(parts, of_key=of_key)
    if detail["type"] == "extra_forbidden":
        left_out = azure_rules.LEFT_OUT.get(_path(parts))
        if left_out:
            return f"{key} is not a key, but {left_out}."
        known = sorted(to_camel(name) for name in model.model_fields)
        remedy = did_you_mean(str(parts[-1]), known) or "remove it"
        return f"{key} is not a key, but only {', '.join(known)} are accepted there; {remedy}."
    if detail["type"] == "missing":
        return f"{key} is missing, but {accepted or 'it'} is needed; add it to {source}."
    found = _shown(parts[-1] if of_key else _value(document, parts))
    if (parts[0] == "secrets" and not of_key) or parts == ["pipeline", "token"]:
        found = "something else"  # whoever writes a value there means it as the secret
    return f"{key} is {found}, but {accepted or 'a map'} is accepted; correct it in {source}."


def _path(parts: list[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _value(document: Any, parts: list[int | str]) -> Any:
    for part in parts:
        document = document[part]
    return document


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone, without what `Annotated` adds."""
    if typing.get_origin(annotation) is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return tuple(part for member in typing.get_args(annotation) for part in _alternatives(member))
    return (str,) if typing.get_origin(annotation) is Literal else (annotation,)


def _find(parts: list[int | str], *, of_key: bool) -> tuple[type[BaseModel], str | None]:
    """The section in which a fault lies, and the words for what is accepted there (`of_key`: as a key)."""
    model: type[BaseModel] = Settings
    annotation: Any = Settings
    accepted: str | None = None
    for part in parts:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
            field = next(
                (f for name, f in model.model_fields.items() if part in (name, to_camel(name))), None
            )
            if field is None:
                return model, accepted
            annotation, accepted = field.annotation, field.description
        elif typing.get_origin(annotation) is dict:
            names, values = typing.get_args(annotation)
            annotation, accepted = (names if of_key and part == parts[-1] else values), None
        elif typing.get_origin(annotation) is tuple:
            annotation, accepted = typing.get_args(annotation)[0], None
        annotation, accepted = _unwrap(annotation, accepted)
    return model, accepted


def _unwrap(annotation: Any, accepted: str | None) -> tuple[Any, str | None]:
    """The one type inside unions with None and `Annotated`, and the description that the latter carries."""
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation, *extras = typing.get_args(annotation)
            accepted = accepted or next(
                (extra.description for extra in extras if hasattr(extra, "description")), None
            )
        elif typing.get_origin(annotation) in (types.UnionType, typing.Union):
            annotation = next(member for member in typing.get_args(annotation) if member is not type(None))
        else:
            return annotation, accepted
