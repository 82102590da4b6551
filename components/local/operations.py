"""What the release's steps may do on the local target. See `components.target.Operations`."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from components.capacity import GRACEFUL_SECONDS, Capacity
from components.local import command, durable, gunicorn, ports, startup, vault
from components.local.artefacts import Store
from components.local.backups import Backups
from components.local.environment import HOST
from components.local.launch import Launch, digest12
from components.local.layout import Layout
from components.local.machine import balancer
from components.local.observing import Observing
from components.local.postgres import connect
from components.local.restores import Restores
from components.local.server import Server
from components.local.supervisor import Program, Supervisor
from components.local.vault import Vault
from components.release.manifest import Manifest
from components.target import (
    DJANGO_FACTS,
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
    Observed,
    Query,
    TargetError,
)

if TYPE_CHECKING:
    from components.release.verification import Result

PREVIOUS = "previous"  # the scratch instance, and its log
PREVIOUS_SIZE = Capacity(workers=1, threads=2)  # each thread may hold a connection to the database
PREVIOUS_STOP_SECONDS = 3
# gunicorn tries for 5 s to bind its port: only after that it has really started
INSTANCE_START_SECONDS = 6
PROCESS_START_SECONDS = 5
LONGEST_STEP = 100
STOP_SECONDS = GRACEFUL_SECONDS + 5


class LocalOperations:
    """Implements `Operations` on the servers of one state folder."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self._layout = Layout(Path(facts["state"]))
        self._store = Store(Path(facts["store"]), self._layout)
        self._vault = Vault(self._layout.secrets)
        self._supervisor = Supervisor(self._layout)
        self._balancer = balancer(self._layout, self._supervisor)
        self._server = Server.of(facts)
        self._lock: int | None = None
        self._manifest = functools.cache(self._store.manifest)

    # -- facts -----------------------------------------------------------------------------------------
    @property
    def public_url(self) -> str:
        return f"http://{HOST}:{self._facts['ports']['public']}"

    def artefact(self, image: str) -> Artefact:
        return Artefact(image=image, manifest=self._manifest(image))

    def missing_secrets(self) -> list[str]:
        return self._vault.missing([*self._facts["secrets"], *vault.OWN])

    def secret(self, name: str) -> str:
        return self._vault.read(name)

    def database(self) -> DatabaseFacts:
        database = self._facts["database"]
        return DatabaseFacts(
            host=self._server.host, port=self._server.port, name=database["name"], user=database["user"]
        )

    def instance(self, name: str) -> Instance:
        launch = self._launch(name)
        status = self._supervisor.status(name)
        return Instance(
            name=name,
            deployment=launch.deployment if launch else None,
            running=status is not None and status.running,
            in_rotation=self._serves(name) and self._balancer.in_rotation(name),
            address=f"http://{HOST}:{self._facts['ports'][name]}" if self._serves(name) else None,
            access_headers={},
            visitor_headers=self._visitor_headers(),
        )

    def applied_migrations(self) -> frozenset[tuple[str, str]]:
        try:
            with self._database() as connection:
                found = connection.execute("SELECT app, name FROM django_migrations").fetchall()
        except psycopg.errors.UndefinedTable:
            return frozenset()
        except psycopg.OperationalError as error:
            raise TargetError(
                f"the database does not answer ({_first_line(error)}), but its migrations must be known; "
                f"run pulumi up."
            ) from None
        return frozenset((app, migration) for app, migration in found)

    def unmet(self, manifest: Manifest) -> str | None:
        needing = [migration for migration in manifest.migrations if migration.icu]
        if not needing:
            return None
        applied = self.applied_migrations()
        pending = next((migration for migration in needing if migration.key not in applied), None)
        with self._database() as connection:
            # initdb makes this one wherever there is ICU. A collation "unicode" is there without ICU as well.
            found = connection.execute("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'").fetchone()
        if found or pending is None:
            return None
        return (
            f"{pending} needs ICU collations, but the PostgreSQL at {self._server.address} is built without "
            f"ICU; name one that has it by relevo:database.binaries or relevo:database.server (see The "
            f"bundled PostgreSQL in docs/own-project.md)"
        )

    # -- work beside the database ----------------------------------------------------------------------
    @contextlib.contextmanager
    def exclusive(self, step: str) -> Iterator[None]:
        if self._lock is not None:
            yield
            return
        descriptor = os.open(self._layout.run / "step.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._wait_for(descriptor)
            os.pwrite(descriptor, step.encode().ljust(LONGEST_STEP), 0)
            self._lock = descriptor
            if self._supervisor.configured(PREVIOUS):  # of a step that was killed
                self._supervisor.remove(PREVIOUS)
            yield
        finally:
            self._lock = None
            os.close(descriptor)

    def manage(
        self,
        image: str,
        arguments: Sequence[str],
        *,
        release: str,
        process: str = "manage",
        show: bool = True,
    ) -> Completed:
        return self._run(image, ["manage.py", *arguments], release=release, process=process, show=show)

    def django_facts(self, image: str, *, release: str, process: str) -> DjangoFacts:
        salt = secrets.token_hex(16)
        script = [str(DJANGO_FACTS), "settings", salt]
        done = self._run(image, script, release=release, process=process, show=False)
        return DjangoFacts.of(
            done,
            settings=self._facts["app"]["settings"],
            is_secret_key=lambda found: self._is_secret_key(found, salt),
        )

    # -- backups ---------------------------------------------------------------------------------------
    def backup(self, name: str, *, kept: Collection[str]) -> Backup:
        return self._backups().take(name, keep=self._facts["backup"]["keep"], protected=kept)

    def last_backup(self) -> Backup | None:
        return self._backups().last()

    def restore(self, backup: str, *, image: str | None) -> Beside:
        return self._restores().restore(backup, image=image)

    def beside(self) -> list[Beside]:
        return self._restores().beside()

    def compare(self, id: str) -> Comparison:
        return self._restores().compare(id)

    def switch(self, id: str, *, image: str | None) -> Beside:
        return self._restores().switch(id, image=image)

    def remove(self, id: str) -> None:
        self._restores().remove(id)

    def drill(self, backup: str, *, image: str | None, release: str) -> Drill:
        with self._restores().scratch(backup) as (restored, database):
            if image is None:
                return restored
            elsewhere = {**self._facts, "database": {**self._facts["database"], "name": database}}
            check = ["manage.py", "migrate", "--check"]
            done = self._run(image, check, release=release, process="manage", facts=elsewhere)
            return replace(restored, image=image, fault=done.last_line if done.status else None)

    # -- instances and processes -----------------------------------------------------------------------
    def drain(self, name: str, *, timeout: float) -> None:
        if self._serves(name):
            self._balancer.drain(name, timeout=timeout)

    def replace(self, name: str, deployment: Deployment) -> None:
        if self._serves(name) and self._balancer.in_rotation(name):
            self._balancer.drain(name, timeout=self._facts["limits"]["drain_seconds"])
        self._begin(
            name,
            deployment,
            process="web" if self._serves(name) else name,
            argv=lambda environment: self._argv(name, environment),
            start_seconds=INSTANCE_START_SECONDS if self._serves(name) else PROCESS_START_SECONDS,
            stop_seconds=STOP_SECONDS,
        )

    def read_aside(self, deployment: Deployment, scenario: str) -> tuple[Result, ...]:
        from components.release import aside  # which imports httpx, and most steps do without

        port = ports.free(self._layout)
        try:
            self._begin(
                PREVIOUS,
                deployment,
                process="web",
                argv=lambda environment: gunicorn.command(
                    self._facts["app"], PREVIOUS_SIZE, environment_folder=environment, port=port
                ),
                start_seconds=INSTANCE_START_SECONDS,
                stop_seconds=PREVIOUS_STOP_SECONDS,
                start_retries=0,
            )
            return aside.ask(
                scenario,
                address=f"http://{HOST}:{port}",
                headers=self._visitor_headers(),
                version=deployment.version,
                secret=self.secret,
                ended=self._previous_ended,
            )
        finally:
            self._supervisor.remove(PREVIOUS)

    def _previous_ended(self) -> str | None:
        status = self._supervisor.status(PREVIOUS)
        if status is not None and status.running:
            return None
        errors = self.startup_errors(PREVIOUS)
        # gunicorn's own lines begin with their time, and say less than the exception between them
        said = next((line for line in errors if not line.startswith("[")), "it ended")
        return f"its process does not stay up ({said.strip()}), see relevo logs {PREVIOUS}"

    def _begin(
        self,
        name: str,
        deployment: Deployment,
        *,
        process: str,
        argv: Callable[[Path], tuple[str, ...]],
        start_seconds: int,
        stop_seconds: int,
        start_retries: int = Program.start_retries,
    ) -> None:
        """Start the deployment in place of what runs under `name`. `argv`: by its environment's folder."""
        self._manifest(deployment.image)  # verifies
        project = self._store.materialise(deployment.image, self._facts["app"])
        environment = self._store.environment(deployment.image)
        launch = Launch(
            facts=self._facts,
            process=process,
            name=name,
            deployment=deployment,
            argv=argv(environment),
            directory=str(project),
            environment_folder=str(environment),
            nonce=secrets.token_hex(8),
        )
        launch.environment()  # raises for a secret that is missing, while the old one still runs
        self._supervisor.stop(name)
        durable.write(self._layout.launch(name), launch.to_json())
        self._supervisor.replace(
            Program(
                name=name,
                # -P: the project's folder must not come before our own modules
                command=(
                    sys.executable,
                    "-P",
                    "-m",
                    "components.local.launch",
                    str(self._layout.launch(name)),
                ),
                start_seconds=start_seconds,
                stop_seconds=stop_seconds,
                start_retries=start_retries,
            )
        )

    def withdraw(self, name: str) -> None:
        self.drain(name, timeout=self._facts["limits"]["drain_seconds"])
        self._supervisor.remove(name)

    def deployed(self, name: str) -> Deployment | None:
        processes = self._supervisor.processes(name)
        if not processes:
            return None
        try:
            environment = processes[0].environ()
            directory = Path(processes[0].cwd())
            deployment = Deployment(
                image=environment["RELEVO_IMAGE"],
                version=environment["RELEVO_VERSION"],
                release=environment["RELEVO_RELEASE_ID"],
            )
        except (psutil.Error, KeyError):  # it is just starting, or already gone
            return None
        if not directory.is_relative_to(self._layout.app / digest12(deployment.image)):
            return None
        if self._serves(name) and not _listens(processes, self._facts["ports"][name]):
            return None
        return deployment

    def startup_errors(self, name: str) -> list[str]:
        launch = self._launch(name)
        if launch is None:
            return []
        status = self._supervisor.status(name)
        errors = startup.errors(startup.since(self._layout.log(name), launch.first_line))
        if status is not None and not status.running:
            errors.append(f"{name} does not stay up: {status.detail}")
        return errors

    def admit(self, name: str, *, timeout: float) -> None:
        if self._serves(name):
            self._balancer.admit(name, timeout=timeout)

    def retire(self) -> None:
        """The balancer has had only the others since its own step, and lets requests end."""

    def prune(self, images: Collection[str]) -> None:
        self._store.prune({*images, *self._placed()})

    # -- after the release -----------------------------------------------------------------------------
    def observe(self, since: datetime, until: datetime) -> Observed:
        return self._observing.observe(since, until, now=datetime.now(UTC))

    def hand_over(self, described: Mapping[str, str]) -> None:
        durable.write(self._layout.handed_over, json.dumps(described))

    def measure(self, image: str, queries: Sequence[Query], *, release: str) -> tuple[Counted, ...]:
        script = [str(DJANGO_FACTS), "volumes", Query.to_json(queries)]
        return Counted.of(self._run(image, script, release=release, process="manage", show=False))

    # -- the record ------------------------------------------------------------------------------------
    def append_record(self, make: Callable[[bytes], str]) -> None:
        try:
            durable.append(self._layout.record, make)
        except OSError as error:
            raise TargetError(
                f"{self._layout.record} cannot be written ({error.strerror}), but whatever is done is "
                f"recorded; correct that, and run pulumi up again."
            ) from None

    def read_record(self) -> bytes:
        try:
            return self._layout.record.read_bytes()
        except FileNotFoundError:
            return b""

    def publish(self, pages: Mapping[str, bytes]) -> None:
        for path, page in pages.items():
            file = self._layout.pages / path
            try:
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                durable.replace(file, page)
            except OSError as error:
                raise TargetError(
                    f"{file} cannot be written ({error.strerror}), but it shows the logbook; correct that."
                ) from None

    # -- inside ----------------------------------------------------------------------------------------
    @functools.cached_property
    def _observing(self) -> Observing:
        return Observing(self._layout, (*self._facts["instances"], *self._facts["processes"]))

    def _serves(self, name: str) -> bool:
        """Whether it is an instance, which has a port and a place in the balancer."""
        return name in self._facts["instances"]

    def _visitor_headers(self) -> dict[str, str]:
        return {"Host": f"{HOST}:{self._facts['ports']['public']}", "X-Forwarded-Proto": "http"}

    def _argv(self, name: str, environment: Path) -> tuple[str, ...]:
        app = self._facts["app"]
        if self._serves(name):
            size = Capacity(workers=app["workers"], threads=app["threads"])
            return gunicorn.command(
                app, size, environment_folder=environment, port=self._facts["ports"][name]
            )
        program, *arguments = self._facts["processes"][name]["command"]
        path = environment / "bin" / program
        if not path.exists():
            raise TargetError(
                f"relevo:app.processes.{name}.command begins with {program}, but the artefact's environment "
                f"has no such program; correct it, or add the package that has it."
            )
        return (str(path), *arguments)

    def _launch(self, name: str) -> Launch | None:
        try:
            return Launch.from_json(self._layout.launch(name).read_text())
        except FileNotFoundError:
            return None

    def _placed(self) -> set[str]:
        """Images that some instance or process is to run."""
        names = (*self._facts["instances"], *self._facts["processes"])
        return {launch.deployment.image for name in names if (launch := self._launch(name))}

    def _run(
        self,
        image: str,
        arguments: Sequence[str],
        *,
        release: str,
        process: str,
        show: bool = True,
        facts: Mapping[str, Any] | None = None,
    ) -> Completed:
        project = self._store.materialise(image, self._facts["app"])
        environment = self._store.environment(image)
        launch = Launch(
            facts=facts or self._facts,
            process=process,
            name="manage",
            deployment=Deployment(image=image, version=self._manifest(image).version, release=release),
            argv=(str(environment / "bin" / "python"), *arguments),
            directory=str(project),
            environment_folder=str(environment),
            nonce=secrets.token_hex(8),
        )
        return command.run(
            launch.argv,
            directory=project,
            environment=launch.environment(),
            timeout=self._facts["limits"]["command_seconds"],
            masked=[self._vault.read(name) for name in (*self._vault.names(), *vault.OWN)],
            held=self._held(),
            show=show,
        )

    def _database(self) -> psycopg.Connection:
        return connect(self._server, self._vault, database=self._facts["database"]["name"])

    def _backups(self) -> Backups:
        return Backups(
            layout=self._layout,
            server=self._server,
            binaries=self._facts["database"].get("binaries"),
            secrets=self._vault,
            database=self._facts["database"]["name"],
            timeout=self._facts["limits"]["command_seconds"],
            held=self._held(),
        )

    def _restores(self) -> Restores:
        return Restores(backups=self._backups())

    def _held(self) -> tuple[int, ...]:
        return () if self._lock is None else (self._lock,)

    def _wait_for(self, descriptor: int) -> None:
        """Take the lock; an orphan of a killed step may still work, and is let finish."""
        deadline = time.monotonic() + self._facts["limits"]["command_seconds"]
        told = ""
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TargetError(
                        f"{_holder(descriptor)} of this stack still runs in {self._layout.root}, but one "
                        f"step at a time is accepted; wait for it or end it."
                    ) from None
                if not told:
                    told = f"waiting for {_holder(descriptor)}, which still runs …"
                    print(told, file=sys.stderr, flush=True)
                time.sleep(0.1)

    def _is_secret_key(self, found: str, salt: str) -> bool | None:
        name = self._facts["app"]["secret_key"]
        if name is None:
            return None
        return found == hashlib.sha256(f"{salt}{self._vault.read(name)}".encode()).hexdigest()


def _holder(descriptor: int) -> str:
    """The step that took the lock."""
    return os.pread(descriptor, LONGEST_STEP, 0).decode(errors="replace").strip() or "another step"


def _listens(processes: Sequence[psutil.Process], port: int) -> bool:
    """Whether one of these, and not a leftover of an earlier release, has the port."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
