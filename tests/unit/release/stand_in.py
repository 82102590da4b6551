"""A target in memory, and a site of Python's own HTTP server, for the tests of the release's steps."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.release.context import Context, trigger
from components.release.manifest import Check, Manifest, Migration
from components.release.record import Entry, parse
from components.release.spec import Commands, Limits, Probe, Spec, Watch
from components.release.verification import Result
from components.target import (
    LATENCY_BOUNDS,
    Artefact,
    Backup,
    Beside,
    Comparison,
    Completed,
    Counted,
    DatabaseFacts,
    Deployment,
    DjangoFacts,
    Drill,
    Instance,
    NotKept,
    Observed,
    Operations,
    Query,
    TargetError,
)

OPERATIONS = "tests.unit.release.stand_in:StandInOperations"
SECRET = "correct horse"
CHANGING = (
    "append_record",
    "manage",
    "backup",
    "restore",
    "switch",
    "remove",
    "drain",
    "replace",
    "admit",
    "withdraw",
    "retire",
    "prune",
)
DATABASE = DatabaseFacts(host="127.0.0.1", port=5433, name="site", user="site")
GOOD_SETTINGS = DjangoFacts(
    engine="django.db.backends.postgresql",
    host=DATABASE.host,
    port=str(DATABASE.port),
    name=DATABASE.name,
    user=DATABASE.user,
    secret_key_matches=True,
    debug=False,
    allowed_hosts=("site.example",),
    cors_allowed_origins=("https://site.example",),
    cors_allow_all=False,
    static_root="/static",
    media_root="/media",
)


class Killed(BaseException):
    """The step's process has ended as by kill -9: nothing that it does afterwards has any effect."""


@dataclass
class Slot:
    """One instance or process as the target has it. `asked` was put there, `runs` is what really runs."""

    asked: Deployment | None = None
    runs: Deployment | None = None
    in_rotation: bool = False
    address: str | None = None


class StandInOperations:
    """Implements `Operations` in memory. `calls` has what was asked; `before` a call, a test may act.

    Facts: `manifests` (image → JSON), `secrets`, `applied`, and `record`, a file for the record of a step
    that runs as a process of its own; all may be left out.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.manifests = {
            image: Manifest.from_json(text) for image, text in facts.get("manifests", {}).items()
        }
        self.secrets: dict[str, str] = dict(facts.get("secrets", {}))
        self.missing: list[str] = []
        self.applied: set[tuple[str, str]] = {(app, name) for app, name in facts.get("applied", ())}
        self.lacking: str | None = None  # what the database has not
        self.settings: dict[str, DjangoFacts] = {}  # by process; the others have GOOD_SETTINGS
        self.backups: list[Backup] = []
        self.lying_beside: list[Beside] = []
        self.compared = Comparison(changes=(), migrations=())
        self.drill_fault: str | None = None
        self.slots: dict[str, Slot] = {}
        self.completed: dict[str, Completed] = {}  # by the command's first word
        self.managed: list[tuple[str, str]] = []  # image and command
        self.lasting: set[tuple[str, str]] = set()  # what Django cannot reverse, whatever the manifest says
        self.errors: dict[str, list[str]] = {}  # image → what its log says of its start
        self.dies: set[str] = set()  # images whose processes end at once
        self.sql: dict[str, Any] = {"pending": [], "relations": {}, "server": 180003}  # as of django_sql.py
        self.aside: dict[str, tuple[Result, ...]] = {}  # image → what it answers in a scratch instance
        self.observing: Callable[[datetime, datetime], Observed] = nothing_observed
        self.counting: Callable[[Query], Counted] = lambda query: Counted(found=(0,) * len(query.spans))
        self.handed: Mapping[str, str] | None = None
        self.pages: dict[str, bytes] = {}  # what was published, by path
        self.stale: set[str] = set()  # slots whose old process does not go away
        self.calls: list[tuple[Any, ...]] = []
        self.before: dict[str, Callable[..., None]] = {}
        self.kill_after: int | None = None  # so many calls that change something
        self._dead = False
        self._written = b""
        self._record = Path(facts["record"]) if "record" in facts else None

    # -- what tests do with it -------------------------------------------------------------------------
    def fail(self, call: str, message: str = "the target is out of order") -> None:
        """From now on, `call` fails."""

        def fault(*_: Any) -> None:
            raise TargetError(message)

        self.before[call] = fault

    def kill_at(self, call: str) -> None:
        """The process dies when it makes `call`."""

        def die(*_: Any) -> None:
            self._dead = True

        self.before[call] = die

    def start_again(self) -> None:
        """A new process, after the one that died."""
        self._dead = False
        self.kill_after = None
        self.before.clear()
        self.calls.clear()

    def acted(self, *names: str) -> list[tuple[Any, ...]]:
        """The calls of these names, in order."""
        return [call for call in self.calls if call[0] in names]

    def entries(self) -> list[Entry]:
        return parse(self.read_record())

    def _called(self, name: str, *arguments: Any) -> None:
        if self._dead:
            raise Killed
        self.calls.append((name, *arguments))
        if self.kill_after is not None and len(self.acted(*CHANGING)) > self.kill_after:
            self._dead = True
            raise Killed
        if name in self.before:
            self.before[name](*arguments)
        if self._dead:
            raise Killed

    # -- Operations ------------------------------------------------------------------------------------
    @property
    def public_url(self) -> str:
        self._called("public_url")
        return "http://site.example"

    def artefact(self, image: str) -> Artefact:
        self._called("artefact", image)
        if image not in self.manifests:
            raise NotKept(f"{image} is not in the store; build it.")
        return Artefact(image=image, manifest=self.manifests[image])

    def missing_secrets(self) -> list[str]:
        self._called("missing_secrets")
        return self.missing

    def secret(self, name: str) -> str:
        self._called("secret", name)
        if name not in self.secrets:
            raise TargetError(f"secret {name} is missing; set it.")
        return self.secrets[name]

    def database(self) -> DatabaseFacts:
        self._called("database")
        return DATABASE

    def instance(self, name: str) -> Instance:
        self._called("instance", name)
        slot = self.slots[name]
        return Instance(
            name=name,
            deployment=slot.asked,
            running=slot.runs is not None,
            in_rotation=slot.in_rotation,
            address=slot.address,
            access_headers={},
            visitor_headers={},
        )

    def applied_migrations(self) -> frozenset[tuple[str, str]]:
        self._called("applied_migrations")
        return frozenset(self.applied)

    def unmet(self, manifest: Manifest) -> str | None:
        self._called("unmet")
        return self.lacking

    @contextmanager
    def exclusive(self, step: str) -> Iterator[None]:
        self._called("exclusive")
        yield

    def manage(
        self,
        image: str,
        arguments: Sequence[str],
        *,
        release: str,
        process: str = "manage",
        show: bool = True,
    ) -> Completed:
        self._called("manage", " ".join(arguments))
        self.managed.append((image, " ".join(arguments)))
        done = self.completed.get(arguments[0], Completed(status=0, output="", seconds=0.0))
        if done.status == 0 and arguments[0] == "migrate" and "--noinput" in arguments:
            if len(arguments) == 4:
                self.applied -= set(self._following(image, *arguments[1:3]))
            else:
                self.applied |= {migration.key for migration in self.manifests[image].migrations}
        if arguments[0] == "shell" and arguments[2].endswith("\nshow()") and not done.output:
            return replace(done, output=json.dumps(self.sql))
        if arguments[0] == "shell" and not done.output:
            commands = ast.literal_eval(arguments[2].rpartition("show(")[2].partition(")  #")[0])
            rows = [key for command in commands for key in self._following(image, *command)]
            unapplied = [(f"{app}.{name}", (app, name) not in self.lasting) for app, name in rows]
            return replace(done, output=json.dumps({"unapplied": unapplied}))
        return done

    def _following(self, image: str, app: str, name: str) -> list[tuple[str, str]]:
        """What `migrate app name` unapplies where each migration depends on the one before it in its app."""
        rows = [migration.key for migration in self.manifests[image].migrations if migration.app == app]
        begin = 0 if name == "zero" else rows.index((app, name)) + 1
        return [key for key in rows[begin:] if key in self.applied]

    def django_facts(self, image: str, *, release: str, process: str) -> DjangoFacts:
        self._called("django_facts", process)
        return self.settings.get(process, GOOD_SETTINGS)

    def backup(self, name: str, *, kept: Collection[str]) -> Backup:
        self._called("backup", name)
        taken = Backup(name=name, taken_at="2026-11-24T14:00:00+00:00", verified=True, location="/b", bytes=1)
        self.backups.append(taken)
        return taken

    def last_backup(self) -> Backup | None:
        self._called("last_backup")
        return self.backups[-1] if self.backups else None

    def restore(self, backup: str, *, image: str | None) -> Beside:
        self._called("restore", backup)
        brought = Beside(id="1", database="site_restored_1", image=image, backup=backup, kept=False)
        self.lying_beside.append(brought)
        return brought

    def beside(self) -> list[Beside]:
        self._called("beside")
        return list(self.lying_beside)

    def compare(self, id: str) -> Comparison:
        self._called("compare", id)
        return self.compared

    def switch(self, id: str, *, image: str | None) -> Beside:
        self._called("switch", id)
        kept = Beside(id="2", database="site_before_2", image=image, backup=None, kept=True)
        self.lying_beside = [kept, *(other for other in self.lying_beside if other.id != id)]
        return kept

    def remove(self, id: str) -> None:
        self._called("remove", id)
        self.lying_beside = [other for other in self.lying_beside if other.id != id]

    def drill(self, backup: str, *, image: str | None, release: str) -> Drill:
        self._called("drill", backup, image, release)
        return Drill(
            backup=backup, image=image, seconds=2.5, bytes=9, tables=3, rows=7, fault=self.drill_fault
        )

    def drain(self, name: str, *, timeout: float) -> None:
        self._called("drain", name)
        self.slots[name].in_rotation = False

    def replace(self, name: str, deployment: Deployment) -> None:
        self._called("replace", name, deployment)
        slot = self.slots[name]
        slot.asked, slot.in_rotation = deployment, False
        if name not in self.stale:
            slot.runs = None if deployment.image in self.dies else deployment

    def withdraw(self, name: str) -> None:
        self._called("withdraw", name)
        self.slots[name].runs = None
        self.slots[name].in_rotation = False

    def deployed(self, name: str) -> Deployment | None:
        self._called("deployed", name)
        return self.slots[name].runs

    def startup_errors(self, name: str) -> list[str]:
        self._called("startup_errors", name)
        asked = self.slots[name].asked
        return self.errors.get(asked.image, []) if asked else []

    def read_aside(self, deployment: Deployment, scenario: str) -> tuple[Result, ...]:
        self._called("read_aside", deployment, scenario)
        return self.aside.get(deployment.image, ())

    def admit(self, name: str, *, timeout: float) -> None:
        self._called("admit", name)
        self.slots[name].in_rotation = self.slots[name].address is not None

    def retire(self) -> None:
        self._called("retire")

    def prune(self, images: Collection[str]) -> None:
        self._called("prune", frozenset(images))

    def append_record(self, make: Callable[[bytes], str]) -> None:
        self._called("append_record")
        line = make(self.read_record()).encode() + b"\n"
        if self._record is None:
            self._written += line
        else:
            with self._record.open("ab") as file:
                file.write(line)

    def observe(self, since: datetime, until: datetime) -> Observed:
        self._called("observe", since, until)
        return self.observing(since, until)

    def measure(self, image: str, queries: Sequence[Query], *, release: str) -> tuple[Counted, ...]:
        self._called("measure", image, tuple(queries))
        return tuple(self.counting(query) for query in queries)

    def hand_over(self, described: Mapping[str, str]) -> None:
        self._called("hand_over")
        self.handed = described

    def publish(self, pages: Mapping[str, bytes]) -> None:
        self.pages.update(pages)

    def read_record(self) -> bytes:
        if self._record is None:
            return self._written
        return self._record.read_bytes() if self._record.exists() else b""


if TYPE_CHECKING:
    _protocol: type[Operations] = StandInOperations


# -- what is released --------------------------------------------------------------------------------------
def image(version: str) -> str:
    """A digest that belongs to the version."""
    return f"app@sha256:{version.encode().hex():0>64}"


def migration(
    key: str,
    effect: Any = "additive",
    *,
    reversible: bool = True,
    replaces: str = "",
    after: str = "",
) -> Migration:
    """From "app.name"; `replaces` and `after` are lists of such, separated by spaces."""
    app, _, name = key.partition(".")
    return Migration(
        app=app,
        name=name,
        effect=effect,
        reversible=reversible,
        operations=(),
        replaces=keys(replaces),
        dependencies=keys(after),
    )


def keys(words: str) -> tuple[tuple[str, str], ...]:
    return tuple((word.partition(".")[0], word.partition(".")[2]) for word in words.split())


def manifest(
    version: str,
    *migrations: Migration,
    pipeline: Sequence[Check] | None = None,
    revision: str = "0123abc",
    built_at: str = "2026-11-24T12:00:00+00:00",
) -> Manifest:
    """Where a migration does not say what it is after, it is after the one before it of its app."""
    heads: dict[str, tuple[str, ...]] = {}
    chained: list[Migration] = []
    for one in migrations:
        after = tuple((one.app, name) for name in heads.get(one.app, ()))
        chained.append(replace(one, dependencies=one.dependencies or after))
        heads[one.app] = (one.name,)
    green = (Check(name="tests", passed=True),)
    return Manifest(
        version=version,
        revision=revision,
        built_at=built_at,
        lock="sha256:" + "1" * 64,
        python="3.11",
        migrations=tuple(chained),
        heads=heads,
        pipeline=green if pipeline is None else tuple(pipeline),
    )


def specification(version: str = "v1", **changes: Any) -> Spec:
    described: dict[str, Any] = {
        "image": image(version),
        "instances": ("instance-1", "instance-2"),
        "processes": (),
        "commands": Commands(
            before_migrate=(), after_migrate=(), before_collectstatic=(), after_collectstatic=()
        ),
        "collectstatic": True,
        "probe": probe(),
        "scenario": None,
        "secrets": tuple(changes.pop("secrets", ())),
        "secret_key": "SECRET_KEY",
        "limits": Limits(drain_seconds=1, ready_seconds=0.3, command_seconds=5),
        "backup_max_age_hours": 24,
        "notify": (),
        "accept_incompatible": None,
        "responsible": "Ada",
        "pipeline": None,
        "watch": Watch(minutes=60, every_seconds=15),
    }
    return Spec(**{**described, **changes})


def nothing_observed(since: datetime, until: datetime, **changes: Any) -> Observed:
    described: dict[str, Any] = {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "requests": 0,
        "errors_4xx": 0,
        "errors_5xx": 0,
        "latencies": (0,) * (len(LATENCY_BOUNDS) + 1),
        "exceptions": (),
        "restarts": 0,
    }
    return Observed(**{**described, **changes})


def probe(**changes: Any) -> Probe:
    described: dict[str, Any] = {
        "path": "/healthz/",
        "status": 200,
        "headers": {"Host": "site.example"},
        "release_header": "X-Release",
        "instance_header": "X-Instance",
        "timeout_seconds": 1,
    }
    return Probe(**{**described, **changes})


def target_json(facts: Mapping[str, Any] | None = None) -> str:
    return json.dumps({"stack": "local", "operations": OPERATIONS, "facts": facts or {}})


def context(operations: StandInOperations, spec: Spec) -> Context:
    return Context(
        stack="local",
        trigger=trigger(target_json(), spec.to_json()),
        spec=spec,
        operations=operations,
    )


# -- sites -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as the site got it. `json` is None where the body is not JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`body` is sent as it is when it is text, else as JSON."""

    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class StandInSite:
    """Where it listens and what it was asked. It answers by `answer`, which a test may exchange."""

    url: str
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.asked]


@contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[StandInSite]:
    """A site on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            request = Asked(
                method=self.command,
                path=self.path,
                headers=dict(self.headers.items()),
                content=self.rfile.read(int(self.headers.get("Content-Length", 0))),
            )
            site.asked.append(request)
            said = site.answer(request)
            text = said.body if isinstance(said.body, str) else json.dumps(said.body)
            kind = "text/plain; charset=utf-8" if isinstance(said.body, str) else "application/json"
            self.send_response(said.status)
            for name, value in {"Content-Type": kind, **said.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    site = StandInSite(url=f"http://127.0.0.1:{server.server_address[1]}", answer=answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def instance_of(operations: StandInOperations, name: str) -> Callable[[Asked], Answer]:
    """A process that answers well and says which release and instance it is."""

    def answer(_: Asked) -> Answer:
        runs = operations.slots[name].runs
        if runs is None:
            return Answer(status=503)
        return Answer(headers={"X-Release": runs.version, "X-Instance": name})

    return answer
