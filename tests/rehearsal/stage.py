"""Where the rehearsal takes place: a stack of its own with the example's releases, and load on it."""

from __future__ import annotations

import contextlib
import functools
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg

from components.local import ports
from components.local.layout import Layout
from components.local.postgres import connect
from components.local.server import Server
from components.local.supervisor import Supervisor
from components.local.vault import Vault
from components.release import record
from components.target import Deployment, Operations
from relevo import operating
from relevo.project import Project as Checkout
from tests.e2e.load import FEW, Load
from tests.e2e.project import Project, committed_configuration
from tests.e2e.releases import Digests, build_repository

READ = "/api/assets/"  # asks the database who reads, and the cache for what
GOOD = ("v1", "v2")  # each can live with the schema of the other


class Stage:
    """`digests`: tag → digest, which builds a release when it is first asked for."""

    def __init__(self, project: Project, digests: dict[str, str]) -> None:
        self.project = project
        self.digests = digests
        self.layout = Layout(project.state)
        self.supervisor = Supervisor(self.layout)
        self.away: list[tuple[float, float]] = []
        """When nothing could serve, from and until in seconds since the epoch."""
        self.base = self.tag = ""
        """The version that serves when a case begins, and the one that is released in it."""

    def begin(self, tag: str | None, limits: Mapping[str, Any]) -> None:
        """A good version serves, and the tag, or the other good version, is built and pinned."""
        self.away.clear()
        if self.release().verdict != "succeeded" or self.release().version not in GOOD:
            self.project.have(self.digests[GOOD[0]])
        self.base = self.release().version
        self.tag = tag or next(version for version in GOOD if version != self.base)
        self.pin(self.tag)
        if limits:
            self.project.set("limits", dict(limits))

    def pin(self, tag: str) -> None:
        self.project.pin(self.digests[tag])

    def up(self, *before: str) -> int:
        """The exit status; `before` is a command that runs it."""
        process = self.project.start(*before, *self.project.up_command(preview=False))
        try:
            output, _ = process.communicate(timeout=300)
        finally:
            self.project.end(process)
        self.project.printed += output
        return process.returncode

    def back(self) -> None:
        """What is pinned can serve again."""
        self.away[:] = [(begin, min(end, time.time())) for begin, end in self.away]

    def load(self) -> Load:
        """That of the clients which read the catalogue."""
        password = Vault(self.layout.secrets).read("SMOKE_PASSWORD")
        login = httpx.post(
            f"{self.project.url}/api/token/", json={"username": "smoke", "password": password}, timeout=30
        )
        headers = {"Authorization": f"Bearer {login.json()['access']}"}
        return Load(self.project.url, READ, headers=headers, clients=FEW)

    def release(self) -> record.Release:
        release = self.project.last_release()
        assert release is not None
        return release

    def operations(self) -> Operations:
        """As a step of the last `up` had them."""
        names = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE")
        checkout = Checkout(
            root=self.project.folder, variables={name: self.project.environment[name] for name in names}
        )
        return operating.context(checkout, self.project.stack).operations

    def connect(self) -> psycopg.Connection:
        """To the application's database, as the server's administrator. Raises `psycopg.OperationalError`."""
        server = Server(port=ports.saved(self.layout)["database"])
        return connect(server, Vault(self.layout.secrets), database="app")

    def put(self, tag: str, instance: str) -> None:
        """Somebody's hand: the instance serves the tag, of which the record knows nothing."""
        operations = self.operations()
        wanted = Deployment(image=self.digests[tag], version=tag, release="by-hand")
        operations.drain(instance, timeout=30)
        operations.replace(instance, wanted)
        wait_until(lambda: operations.deployed(instance) == wanted, f"{instance} runs {tag}")
        operations.admit(instance, timeout=60)


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A new one, gone at the end with all its processes, data and artefacts."""
    folder = Path(tempfile.mkdtemp(prefix="relevo-rehearsal-"))
    try:
        project = Project(folder / "stack")
        project.configure(committed_configuration())
        try:
            project.init()
            digests = Digests(project, build_repository(folder / "prestamos"))
            project.release(digests[GOOD[0]])
            yield Stage(project, digests)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the second Ctrl-C of who is impatient
            project.remove()
    finally:
        shutil.rmtree(folder)


class Watch:
    """Which versions answer at the public address, as seen by one client that asks all the time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seen: list[str] = []
        """Each once, in the order in which they were first seen."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            for version in answering(self._url, times=1) - set(self.seen):
                self.seen.append(version)


def answering(url: str, *, times: int = 8) -> set[str]:
    """The versions that answer so many requests; who cannot answer has none."""
    found = set()
    for _ in range(times):
        with contextlib.suppress(httpx.HTTPError):
            found.add(_client().get(f"{url}/healthz/").headers.get("X-Release"))
    return found - {None}


@functools.cache
def _client() -> httpx.Client:
    """One, since making one loads every certificate authority; a new connection for each request."""
    return httpx.Client(timeout=5, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds:g} s: {what}"
        time.sleep(0.02)
