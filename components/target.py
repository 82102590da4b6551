"""The seam between a target and the release: what the release needs of any infrastructure.

A stack composes components and hands the release one `Target`. The steps, which run as separate processes,
get the target's `facts` as JSON and act through the `Operations` class that the target names. Nothing in
`components/release/` knows more of a target than this module says.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import pulumi

    from components.release.manifest import Manifest
    from components.release.verification import Result


# Run by the project's own Python, in its environment. SECRET_KEY itself never leaves that process.
DJANGO_FACTS = Path(__file__).parent / "release" / "django_facts.py"


class TargetError(Exception):
    """The target cannot do what was asked; the message is one line and carries the remedy."""


class NotKept(TargetError):
    """The target has no such artefact: it was pruned, or never there."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a stack hands to the release.

    `facts` is JSON-able, holds no secret and no output that changes without a reason to release again.
    """

    stack: str
    instances: tuple[str, ...]  # in rolling order
    processes: tuple[str, ...]  # further ones of the same artefact (worker, scheduler), rolled first
    operations: str  # "package.module:Class", built as Class(facts)
    facts: pulumi.Output[dict[str, Any]]
    public_url: pulumi.Output[str]
    image: pulumi.Output[str] | None = None  # what this `up` makes of the artefact; None: it is pinned
    ready: tuple[pulumi.Resource, ...] = ()  # what must exist before the first step


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One artefact put on an instance by one release, whose unique id also tells a stale process apart."""

    image: str  # app@sha256:<64 hex>
    version: str  # version tag of the manifest, e.g. "v2"
    release: str  # release id, e.g. "20261124T140210Z-v2"


@dataclass(frozen=True, kw_only=True)
class Artefact:
    image: str
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class Completed:
    """How a `manage.py` command ended. `output` is stdout and stderr interleaved, already streamed."""

    status: int
    output: str
    seconds: float

    @property
    def last_line(self) -> str:
        """What it said last, for an error."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"exit status {self.status}, no output"

    def answer(self, first_key: str) -> dict[str, Any] | None:
        """The last JSON object that begins with this key: a project may print, too. None if it failed."""
        start = self.output.rfind(f'{{"{first_key}":')
        if self.status != 0 or start < 0:
            return None
        return json.JSONDecoder().raw_decode(self.output[start:])[0]


@dataclass(frozen=True, kw_only=True)
class DjangoFacts:
    """What the project's settings say inside one process's environment, as Django itself sees it."""

    engine: str  # settings.DATABASES["default"]["ENGINE"]
    host: str
    port: str
    name: str
    user: str
    secret_key_matches: bool | None  # None: the environment map gives no secret to compare with
    debug: bool
    allowed_hosts: tuple[str, ...]
    cors_allowed_origins: tuple[str, ...] | None  # None: django-cors-headers is not installed
    cors_allow_all: bool
    static_root: str
    media_root: str

    @classmethod
    def of(
        cls, done: Completed, *, settings: str, is_secret_key: Callable[[str], bool | None]
    ) -> DjangoFacts:
        """From the answer of `django_facts.py settings`; its digest of the key is given to `is_secret_key`.

        Raises `TargetError` where it has none.
        """
        found = done.answer("engine")
        if found is None:
            raise TargetError(
                f"the settings {settings} cannot be loaded ({done.last_line}), but every process needs them; "
                f"correct relevo:app.environment."
            )
        origins = found["cors_allowed_origins"]
        return cls(
            engine=found["engine"],
            host=found["host"],
            port=found["port"],
            name=found["name"],
            user=found["user"],
            secret_key_matches=is_secret_key(found["secret_key_sha256"]),
            debug=found["debug"],
            allowed_hosts=tuple(found["allowed_hosts"]),
            cors_allowed_origins=None if origins is None else tuple(origins),
            cors_allow_all=found["cors_allow_all"],
            static_root=found["static_root"],
            media_root=found["media_root"],
        )


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """The database that was given to the project."""

    host: str
    port: int
    name: str
    user: str


@dataclass(frozen=True, kw_only=True)
class Backup:
    name: str  # the release id, or "manual-<time>"
    taken_at: str  # ISO 8601, UTC
    verified: bool
    location: str
    bytes: int
    detail: Mapping[str, Any] = field(default_factory=dict)  # tables, rows, media files


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A database beside the application's, with the media that belong to it.

    `kept`: it was the application's, until another one was switched into its place.
    """

    id: str  # when it was brought or put aside, e.g. "20261124t143309z"
    database: str
    image: str | None  # the artefact that runs on it; None: not known
    backup: str | None  # which it was restored from; None: from none
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was written into a table since: rows. `updated` None: they have no key to be known again by.

    `columns`: what the older table has not, so that their values are lost as well.
    """

    table: str  # with its schema; "media" for files
    inserted: int
    updated: int | None
    deleted: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the application's database has and one beside it has not: what is lost if that one takes over."""

    changes: tuple[Change, ...]
    migrations: tuple[str, ...]  # "app.name"


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A backup restored for practice. `fault`: what `migrate --check` of its time's artefact has to say."""

    backup: str
    image: str | None  # None: nothing ran when it was taken, so no artefact was asked
    seconds: float  # of the restore, from the stored backup to counted rows
    bytes: int  # of the stored dump
    tables: int
    rows: int
    fault: str | None


@dataclass(frozen=True, kw_only=True)
class Query:
    """One SELECT for a whole number, with %(since)s and %(until)s; it is asked once for each span."""

    sql: str
    spans: tuple[tuple[datetime, datetime], ...]  # from, until; both with a time zone

    @staticmethod
    def to_json(queries: Sequence[Query]) -> str:
        """As `django_facts.py volumes` takes them."""
        return json.dumps(
            [[one.sql, [[end.isoformat() for end in span] for span in one.spans]] for one in queries]
        )


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a query found, in the order of its spans; or, in one line, why it found nothing."""

    found: tuple[int, ...] = ()
    error: str | None = None

    @classmethod
    def of(cls, done: Completed) -> tuple[Self, ...]:
        """From what `django_facts.py volumes` has answered. Raises `TargetError`."""
        answer = done.answer("counted")
        if answer is None:
            raise TargetError(
                f"the volumes cannot be counted ({done.last_line}), but a review compares them; correct that "
                f"and run relevo review."
            )
        return tuple(cls(found=tuple(each["found"]), error=each["error"]) for each in answer["counted"])


LATENCY_BOUNDS = (5, 10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 5000, 10000)
"""Upper ends, in milliseconds, of the classes in which the latencies of requests are counted."""


@dataclass(frozen=True, kw_only=True)
class Raised:
    """Exceptions of one kind: of the same type, raised at the same place of the code."""

    fingerprint: str  # the same for the same kind in every version, e.g. 12 hex digits
    title: str  # for people, e.g. "ValueError in loans/views.py, create"; no data of users
    count: int


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What a span of time had. `until` may be earlier than was asked for: so far the target knows by now."""

    since: str  # ISO 8601, UTC
    until: str
    requests: int
    errors_4xx: int
    errors_5xx: int
    latencies: tuple[int, ...]  # requests in each class of LATENCY_BOUNDS, and last the slower ones
    exceptions: tuple[Raised, ...]
    restarts: int  # of processes that nobody asked to restart


@dataclass(frozen=True, kw_only=True)
class Instance:
    """The state of one instance or process. `deployment` is None when nothing was ever put on it."""

    name: str
    deployment: Deployment | None
    running: bool
    in_rotation: bool
    address: str | None  # scheme://host[:port] of this one alone; None for a process without one
    access_headers: Mapping[str, str]  # without which the address does not answer
    visitor_headers: Mapping[str, str]  # which make a request look as if it came through the balancer


class Operations(Protocol):
    """What the steps may do on a target. Each call is idempotent; each raises `TargetError`.

    Built from the target's facts alone; reads secrets itself when it needs them, and never prints them.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None: ...

    # -- facts -----------------------------------------------------------------------------------------
    @property
    def public_url(self) -> str: ...
    def artefact(self, image: str) -> Artefact:
        """The pinned artefact, its digest and lock verified. Raises `NotKept` for one that is not there."""
        ...

    def missing_secrets(self) -> list[str]:
        """Names (never values) of required secrets that do not resolve."""
        ...

    def secret(self, name: str) -> str: ...
    def database(self) -> DatabaseFacts: ...
    def instance(self, name: str) -> Instance: ...
    def applied_migrations(self) -> frozenset[tuple[str, str]]:
        """(app, name) as recorded in the database's django_migrations; empty where the table is not there."""
        ...

    def unmet(self, manifest: Manifest) -> str | None:
        """What the artefact's migrations need of the database and it has not, with the remedy; else None."""
        ...

    # -- work beside the database ----------------------------------------------------------------------
    def exclusive(self, step: str) -> AbstractContextManager[None]:
        """One step of a stack at a time; `step` is its name. An orphan of a killed one is waited for.

        What the same step has begun in the same release before it was killed is gone on with, not done twice.
        """
        ...

    def manage(
        self,
        image: str,
        arguments: Sequence[str],
        *,
        release: str,
        process: str = "manage",
        show: bool = True,
    ) -> Completed:
        """Run `manage.py` of the artefact in the environment of `process`: "manage", "web", or its name.

        `show`: stream its output.
        """
        ...

    def django_facts(self, image: str, *, release: str, process: str) -> DjangoFacts: ...

    # -- backups ---------------------------------------------------------------------------------------
    def backup(self, name: str, *, kept: Collection[str]) -> Backup:
        """Database and media, verified by listing and by a restore into a scratch database.

        Older ones go when there are more than the stack keeps, but never those named in `kept`.
        """
        ...

    def last_backup(self) -> Backup | None: ...

    def restore(self, backup: str, *, image: str | None) -> Beside:
        """The backup in a database beside the application's, counted; nothing else is changed.

        `image`: the artefact that runs on it. Refused where the later switch would be.
        """
        ...

    def beside(self) -> list[Beside]:
        """Newest first. A switch that was killed before the media were in place is completed."""
        ...

    def compare(self, id: str) -> Comparison: ...

    def switch(self, id: str, *, image: str | None) -> Beside:
        """What is beside takes the place of the application's database and media, which are put aside.

        `image`: the artefact that ran on these. Sessions are ended. Returns what was put aside.
        """
        ...

    def remove(self, id: str) -> None:
        """What is beside, for good."""
        ...

    def drill(self, backup: str, *, image: str | None, release: str) -> Drill:
        """Restore the backup into a scratch database, which is gone when this returns or raises."""
        ...

    # -- instances and processes -----------------------------------------------------------------------
    def drain(self, name: str, *, timeout: float) -> None:
        """Out of rotation; returns when no request is left in it (or it serves none)."""
        ...

    def replace(self, name: str, deployment: Deployment) -> None:
        """Stop what runs there, start the deployment, do not wait for readiness, stay out of rotation."""
        ...

    def withdraw(self, name: str) -> None:
        """Stop what runs there and leave it out of rotation: there is no earlier deployment to go back to."""
        ...

    def deployed(self, name: str) -> Deployment | None:
        """What really runs there, read from the running processes themselves, not from what was asked."""
        ...

    def startup_errors(self, name: str) -> list[str]:
        """Lines of its log since its start which say that the start was not clean."""
        ...

    def read_aside(self, deployment: Deployment, scenario: str) -> tuple[Result, ...]:
        """How each request of the scenario went that was asked of the deployment in a scratch instance.

        That is in no rotation, small, and gone when this returns or raises; only the last request may have
        gone wrong. What a killed step has left of it is gone once another one begins.
        """
        ...

    def admit(self, name: str, *, timeout: float) -> None:
        """Into rotation; returns when the balancer itself sees it healthy."""
        ...

    def retire(self) -> None:
        """Instances that the stack has no more get no request any more; the engine then deletes them."""
        ...

    def prune(self, images: Collection[str]) -> None:
        """Remove what instances had of other images than these and those that are placed on one."""
        ...

    # -- after the release -----------------------------------------------------------------------------
    def observe(self, since: datetime, until: datetime) -> Observed:
        """What visitors met and what the application raised; requests of the balancer's probe are none.

        `since` may be before the release: then it is what the earlier version did.
        """
        ...

    def measure(self, image: str, queries: Sequence[Query], *, release: str) -> tuple[Counted, ...]:
        """Asked by the artefact's Django, each in a transaction that is read only and limited in time.

        One that fails does not keep the others from being asked. Raises `TargetError` where none can be.
        """
        ...

    def hand_over(self, described: Mapping[str, str]) -> None:
        """The release as its steps know it, by the names of their variables, to whoever looks after it.

        That is who watches and reviews it once `pulumi up` has ended: nobody where CI does so.
        """
        ...

    # -- the record ------------------------------------------------------------------------------------
    def append_record(self, make: Callable[[bytes], str]) -> None:
        """Append one line durably: what `make` says that follows what is there, whoever else writes.

        What is there is empty or ends with the end of a line; half a line that a crash left is closed off.
        `make` may be asked again where another writer came first.
        """
        ...

    def read_record(self) -> bytes:
        """As it is; empty where there is none."""
        ...

    def publish(self, pages: Mapping[str, bytes]) -> None:
        """Put pages of the logbook where people read it; whole or not at all, each. Others stay as they are.

        By their paths, such as "es/index.html"; they are HTML in UTF-8, and link to each other by relative
        paths. Local: a folder of the state. Azure: a private container of the storage account.
        """
        ...


def load_operations(path: str, facts: Mapping[str, Any]) -> Operations:
    """The target's operations, from `"package.module:Class"`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)(facts)
