"""The local target's real servers without the engine: what is killed comes back, a change loses nothing.

The project is a stand-in: the smallest Django site that writes rows and says which release answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from components.local import control, ports, postgres, vault
from components.local.app import SlotProvider
from components.local.cache import CacheProvider
from components.local.database import DatabaseProvider
from components.local.edge import EdgeProvider
from components.local.layout import Layout
from components.local.operations import LocalOperations
from components.local.processes import SupervisorProvider
from components.local.provider import LocalProvider
from components.local.secrets import VaultProvider
from components.local.storage import FoldersProvider, PortProvider
from components.local.supervisor import Supervisor
from components.release.manifest import Manifest
from components.target import Deployment, TargetError

PACKAGES = ("Django==5.2.19", "gunicorn==27.0.1", "psycopg[binary]==3.3.9", "redis==8.1.0")
LOCK = "".join(f"{package}\n" for package in PACKAGES)

STAND_IN_PROJECT = {
    "manage.py": """
        import sys
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
    """,
    "standin/__init__.py": "",
    "standin/settings.py": """
        import os
        SECRET_KEY = os.environ["SECRET_KEY"]
        DEBUG = False
        ALLOWED_HOSTS = ["127.0.0.1"]
        ROOT_URLCONF = "standin.views"
        INSTALLED_APPS = ["standin"]
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        DATABASES = {"default": {
            "ENGINE": "django.db.backends.postgresql",
            "CONN_MAX_AGE": 0,
            **{key: os.environ["DB_" + key] for key in ("HOST", "PORT", "NAME", "USER", "PASSWORD")},
        }}
        STATIC_ROOT = os.environ["STATIC_ROOT"]
        STATIC_URL = "static/"
    """,
    "standin/models.py": """
        from django.db import models
        class Note(models.Model):
            text = models.TextField()
    """,
    "standin/migrations/__init__.py": "",
    "standin/migrations/0001_initial.py": """
        from django.db import migrations, models
        class Migration(migrations.Migration):
            initial = True
            operations = [migrations.CreateModel("Note", [
                ("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())])]
    """,
    "standin/management/__init__.py": "",
    "standin/management/commands/__init__.py": "",
    "standin/management/commands/work.py": """
        import time
        from django.core.management import BaseCommand
        class Command(BaseCommand):
            def add_arguments(self, parser):
                parser.add_argument("seconds", type=float)
            def handle(self, seconds, **options):
                print("working", flush=True)
                time.sleep(seconds)
                print("worked", flush=True)
    """,
    "standin/views.py": """
        import os, time
        from django.http import JsonResponse
        from django.urls import path
        from django.views.decorators.csrf import csrf_exempt
        from standin.models import Note
        def answer(request):
            return JsonResponse({"version": os.environ["RELEVO_VERSION"],
                                 "instance": os.environ["RELEVO_INSTANCE"],
                                 "forwarded": request.META.get("HTTP_X_FORWARDED_PROTO"),
                                 "client": request.META.get("HTTP_X_FORWARDED_FOR")})
        @csrf_exempt
        def notes(request):
            if request.method == "POST":
                return JsonResponse({"id": Note.objects.create(text=request.body.decode()).pk}, status=201)
            return JsonResponse({"count": Note.objects.count()})
        def slow(request):
            time.sleep(1.5)
            return answer(request)
        urlpatterns = [path("", answer), path("notes/", notes), path("slow/", slow)]
    """,
    "standin/wsgi.py": """
        from django.core.wsgi import get_wsgi_application
        application = get_wsgi_application()
    """,
}


def stand_in_artefact(
    store: Path, version: str, environment: str, changed: Mapping[str, str] | None = None
) -> str:
    """A hand-made artefact in the format of `relevo build`; returns its image."""
    made = store / f".making-{version}"
    shutil.rmtree(made, ignore_errors=True)
    source: dict[str, tuple[str, str]] = {}
    for name, text in {**STAND_IN_PROJECT, "VERSION": version, **(changed or {})}.items():
        file = made / "source" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip())
        file.chmod(0o444)
        source[name] = ("100644", hashlib.sha256(file.read_bytes()).hexdigest())
    lock = f"sha256:{hashlib.sha256(LOCK.encode()).hexdigest()}"
    inputs = json.dumps(
        {"lock": lock, "python": "3.11", "settings": {}, "source": source},
        sort_keys=True,
        separators=(",", ":"),
    )
    manifest = Manifest(
        version=version,
        revision="0" * 40,
        built_at="2026-01-01T00:00:00Z",
        lock=lock,
        python="3.11",
        migrations=(),
        heads={},
        pipeline=(),
    )
    (made / "inputs.json").write_text(inputs)
    (made / "manifest.json").write_text(manifest.to_json())
    (made / "requirements-lock.txt").write_text(LOCK)
    (made / "environment").write_text(f"{environment}\n")
    image = f"app@sha256:{hashlib.sha256(inputs.encode()).hexdigest()}"
    if not (store / image).exists():
        made.rename(store / image)
    return image


@dataclass
class Stack:
    """The resources of a stack, made and changed by their providers as the engine would."""

    state: Path
    store: Path
    instances: tuple[str, ...] = ("instance-1", "instance-2")
    max_connections: int = 60
    probe: str = "/"
    made: dict[str, tuple[LocalProvider, dict[str, Any]]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def wanted(self) -> Iterator[tuple[str, LocalProvider, dict[str, Any]]]:
        state = {"state": str(self.state)}
        names = ("public", "stats", "database", "cache", *self.instances)
        yield "folders", FoldersProvider(), state
        for name in names:
            yield f"port-{name}", PortProvider(), {**state, "server": name, "configured": 0}
        yield "vault", VaultProvider(), {**state, "secrets": {"SECRET_KEY": True}}
        yield "supervisor", SupervisorProvider(), state
        database = {"database": "app", "user": "app", "max_connections": self.max_connections, "binaries": ""}
        yield "database", DatabaseProvider(), {**state, "port": self.ports["database"], **database}
        yield "cache", CacheProvider(), {**state, "port": self.ports["cache"], "max_memory_mb": 16}
        for name in self.instances:
            yield name, SlotProvider(), {**state, "slot": name, "port": self.ports[name]}
        yield "worker", SlotProvider(), {**state, "slot": "worker", "port": 0}
        probe = {"path": self.probe, "status": 200, "headers": {}, "timeout_seconds": 2.0}
        places = {name: self.ports[name] for name in self.instances}
        edge = {
            "port": self.ports["public"],
            "stats_port": self.ports["stats"],
            "instances": places,
            "probe": probe,
        }
        yield "edge", EdgeProvider(), {**state, **edge}

    def up(self) -> list[str]:
        """Returns the names of the resources that were created, updated or deleted."""
        changed, seen = [], []
        for name, provider, inputs in self.wanted():
            seen.append(name)
            assert not provider.check({}, inputs).failures
            if name not in self.made:
                outputs = provider.create(inputs).outs
            elif provider.diff("", self.made[name][1], inputs).changes:
                outputs = provider.update("", self.made[name][1], inputs).outs
            else:
                continue
            assert outputs is not None
            if isinstance(provider, PortProvider):
                self.ports[inputs["server"]] = outputs["port"]
            self.made[name] = (provider, outputs)
            changed.append(name)
        for name in [name for name in self.made if name not in seen]:
            provider, outputs = self.made.pop(name)
            provider.delete("", outputs)
            changed.append(name)
        return changed

    def destroy(self) -> None:
        for name in reversed(list(self.made)):
            provider, outputs = self.made.pop(name)
            provider.delete("", outputs)

    def facts(self) -> dict[str, Any]:
        variables = {
            key: f"{{database.{key[3:].lower()}}}" for key in ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")
        }
        return {
            "stack": "local",
            "state": str(self.state),
            "store": str(self.store),
            "ports": self.ports,
            "database": {
                "name": "app",
                "user": "app",
                "binaries": None,
                "max_connections": self.max_connections,
            },
            "instances": list(self.instances),
            "processes": {"worker": {"command": ["python", "manage.py", "work", "600"], "environment": {}}},
            "app": {
                "settings": "standin.settings",
                "wsgi": "standin.wsgi:application",
                "asgi": None,
                "environment": {
                    **variables,
                    "DB_PASSWORD": "{database.password}",
                    "SECRET_KEY": "{secret.SECRET_KEY}",
                    "STATIC_ROOT": "{static.root}",
                    "CACHE_URL": "{cache.url}",
                },
                "secret_key": "SECRET_KEY",
                "folders": {"static": None, "media": None},
                "probe": {"path": "/", "status": 200, "headers": {}, "timeout_seconds": 2.0},
                "workers": 1,
                "threads": 4,
                "worker_class": None,
                "project": ".",
            },
            "secrets": {"SECRET_KEY": {"generate": True}},
            "limits": {"drain_seconds": 20.0, "ready_seconds": 30.0, "command_seconds": 60.0},
            "backup": {"keep": 2},
        }

    def operations(self) -> LocalOperations:
        return LocalOperations(self.facts())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['public']}"

    def roll(self, image: str, version: str, names: tuple[str, ...] | None = None) -> None:
        """The roll step in short."""
        operations = self.operations()
        for name in names if names is not None else self.instances:
            deployment = Deployment(image=image, version=version, release=f"20260101T000000Z-{version}")
            operations.drain(name, timeout=20)
            operations.replace(name, deployment)
            address = operations.instance(name).address
            assert address is not None
            until(
                lambda name=name, wanted=deployment: operations.deployed(name) == wanted,
                f"{name} runs {version}",
            )
            until(lambda address=address: answers(address), f"{name} answers")
            assert operations.startup_errors(name) == []
            operations.admit(name, timeout=20)


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class Load:
    """A few clients that read and write and never retry; counts what failed."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.port = port
        self.requests = 0
        self.written = 0
        self.failures: list[str] = []
        self.slowest = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(index,)) for index in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self, index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self._stop.is_set():
            write = index % 2 == 1
            started = time.monotonic()
            try:
                connection.request(
                    "POST" if write else "GET", "/notes/" if write else "/", b"note" if write else None
                )
                response = connection.getresponse()
                response.read()
                failure = None if response.status in (200, 201) else f"{response.status}"
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
            with self._lock:
                self.requests += 1
                self.slowest = max(self.slowest, time.monotonic() - started)
                if failure:
                    self.failures.append(failure)
                elif write:
                    self.written += 1
            if failure or index < 2:  # half of the clients open a connection for each request
                connection.close()
            time.sleep(0.01)
        connection.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one environment, and the artefacts v1 and v2."""
    folder = tmp_path_factory.mktemp("store")
    environment = folder / "environments" / "stand-in"
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", str(environment)], check=True, timeout=60)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "-p",
            str(environment),
            *PACKAGES,
        ],
        check=True,
        timeout=240,
    )
    return folder


@pytest.fixture(scope="module")
def images(store: Path) -> dict[str, str]:
    return {version: stand_in_artefact(store, version, "stand-in") for version in ("v1", "v2")}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, store: Path, images: dict[str, str]) -> Iterator[Stack]:
    """A stack that serves v1 on two instances."""
    stack = Stack(state=tmp_path_factory.mktemp("stack") / "state", store=store)
    try:
        stack.up()
        done = stack.operations().manage(images["v1"], ["migrate", "--noinput"], release="first")
        assert done.status == 0, done.output
        stack.roll(images["v1"], "v1")
        yield stack
    finally:
        stack.destroy()
        control.purge(stack.state)


def pid(stack: Stack, name: str) -> int:
    status = Supervisor(Layout(stack.state)).status(name)
    assert status is not None
    assert status.pid is not None, status
    return status.pid


def notes(stack: Stack) -> int:
    return httpx.get(f"{stack.url}/notes/").raise_for_status().json()["count"]


def test_an_unchanged_healthy_stack_has_no_change(stack: Stack) -> None:
    assert stack.up() == []


def test_a_half_made_stack_is_made_again_without_harm(stack: Stack) -> None:
    """A killed `up` leaves created resources out of the state: creating again changes nothing that runs."""
    names = ("database", "cache", "edge", "instance-1")
    before = {name: pid(stack, name) for name in names}
    rows = notes(stack)
    stack.made.clear()
    stack.up()
    assert {name: pid(stack, name) for name in names} == before
    assert notes(stack) == rows


def test_the_site_is_served_with_forwarded_headers(stack: Stack) -> None:
    found = httpx.get(stack.url).json()
    assert (found["version"], found["forwarded"], found["client"]) == ("v1", "http", "127.0.0.1")
    assert httpx.get(stack.url, headers={"X-Forwarded-Proto": "https"}).json()["forwarded"] == "https"


def test_what_runs_is_read_from_the_processes(stack: Stack, images: dict[str, str]) -> None:
    operations = stack.operations()
    deployment = operations.deployed("instance-1")
    assert deployment == Deployment(image=images["v1"], version="v1", release="20260101T000000Z-v1")
    instance = operations.instance("instance-1")
    assert (instance.running, instance.in_rotation, instance.deployment) == (True, True, deployment)
    assert operations.instance("worker").deployment is None


def test_django_sees_the_given_database_and_key(stack: Stack, images: dict[str, str]) -> None:
    facts = stack.operations().django_facts(images["v1"], release="x", process="web")
    given = stack.operations().database()
    assert (facts.host, facts.port, facts.name, facts.user) == (
        given.host,
        str(given.port),
        given.name,
        given.user,
    )
    assert facts.secret_key_matches
    assert not facts.debug


def test_the_role_owns_its_database_and_is_no_superuser(stack: Stack) -> None:
    password = vault.Vault(Layout(stack.state).secrets).read(vault.DATABASE_USER)
    port = stack.ports["database"]
    with psycopg.connect(
        host="127.0.0.1", port=port, user="app", password=password, dbname="app"
    ) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, False)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=port, user="app", password="wrong", dbname="app")


def test_the_cache_has_a_writer_a_reader_and_nobody_else(stack: Stack) -> None:
    secrets = vault.Vault(Layout(stack.state).secrets)
    port = stack.ports["cache"]
    app = redis.Redis(port=port, username="app", password=secrets.read(vault.CACHE_APP))
    reader = redis.Redis(port=port, username="reader", password=secrets.read(vault.CACHE_READER))
    app.set("asset", "1")
    assert reader.get("asset") == b"1"
    for refused in (lambda: reader.set("asset", "2"), reader.flushdb, app.config_get, lambda: app.acl_list()):
        with pytest.raises(redis_errors.NoPermissionError):
            refused()
    with pytest.raises(redis_errors.AuthenticationError):
        redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).ping()


@pytest.mark.parametrize("name", ["cache", "database", "edge", "instance-1"])
def test_a_killed_server_is_back_with_all_rows(stack: Stack, name: str) -> None:
    httpx.post(f"{stack.url}/notes/", content=b"kept").raise_for_status()
    rows, before = notes(stack), pid(stack, name)
    os.kill(before, signal.SIGKILL)
    supervisor = Supervisor(Layout(stack.state))
    until(
        lambda: (status := supervisor.status(name)) is not None and status.pid not in (None, before),
        f"{name} is back",
    )
    until(lambda: answers(f"{stack.url}/notes/"), "the site answers")
    assert notes(stack) == rows
    until(
        lambda: all(stack.operations().instance(name).in_rotation for name in stack.instances),
        "all in rotation",
    )


def test_a_killed_supervisor_is_replaced_and_only_its_programs_are_ended(stack: Stack) -> None:
    rows = notes(stack)
    bystander = subprocess.Popen(
        ["sleep", "300"],
        env={"RELEVO_PROGRAM": f"{stack.state}-other/instance-1", "PATH": os.environ["PATH"]},
    )
    try:
        names = ("database", "cache", "edge", *stack.instances)
        before = {name: psutil.Process(pid(stack, name)) for name in names}
        (daemon,) = [
            process
            for process in psutil.process_iter()
            if _environment(process).get("RELEVO_PROGRAM") == f"{stack.state}/supervisord"
        ]
        daemon.kill()
        until(lambda: not Supervisor(Layout(stack.state)).running(), "the supervisor is gone")
        assert "supervisor" in stack.up()
        assert not [process for process in before.values() if _alive(process)]
        until(lambda: answers(f"{stack.url}/notes/"), "the site answers")
        assert notes(stack) == rows
        assert bystander.poll() is None
        until(
            lambda: all(stack.operations().instance(name).in_rotation for name in stack.instances),
            "in rotation",
        )
        assert stack.up() == []
    finally:
        bystander.kill()
        bystander.wait()


def test_a_stopped_stack_starts_by_one_call(stack: Stack) -> None:
    """What a reboot needs."""
    rows = notes(stack)
    control.stop(stack.state)
    assert not any(status.running for status in control.status(stack.state))
    assert all(status.running for status in control.start(stack.state))
    until(lambda: answers(f"{stack.url}/notes/"), "the site answers")
    assert notes(stack) == rows


def test_a_release_under_load_fails_no_request(stack: Stack, images: dict[str, str]) -> None:
    with Load(stack.ports["public"]) as load:
        for version in ("v2", "v1"):
            started = time.monotonic()
            stack.roll(images[version], version)
            print(f"rolled to {version} in {time.monotonic() - started:.1f} s")
    print(f"{load.requests} requests, slowest {load.slowest:.2f} s")
    assert load.failures == []
    assert load.requests > 200


def test_a_version_that_does_not_start_is_known_at_once_and_the_old_one_put_back(
    stack: Stack, images: dict[str, str], store: Path
) -> None:
    broken = stand_in_artefact(store, "v3", "stand-in", {"standin/wsgi.py": "import missing_module"})
    operations = stack.operations()
    before = operations.deployed("instance-1")
    assert before is not None
    with Load(stack.ports["public"]) as load:
        operations.drain("instance-1", timeout=10)
        operations.replace("instance-1", Deployment(image=broken, version="v3", release="broken"))
        took = until(lambda: bool(operations.startup_errors("instance-1")), "its log tells")
        assert "ModuleNotFoundError: No module named 'missing_module'" in operations.startup_errors(
            "instance-1"
        )
        assert not operations.instance("instance-1").in_rotation
        stack.roll(before.image, before.version, ("instance-1",))
    print(f"known after {took:.2f} s")
    assert load.failures == []


def test_an_idle_instance_stops_within_two_seconds(stack: Stack) -> None:
    """Connections that the balancer pooled made gunicorn's graceful stop wait for more than 3 s."""
    for _ in range(50):
        httpx.get(stack.url).raise_for_status()
    operations = stack.operations()
    deployment = operations.deployed("instance-2")
    assert deployment is not None
    operations.drain("instance-2", timeout=10)
    started = time.monotonic()
    Supervisor(Layout(stack.state)).stop("instance-2")
    took = time.monotonic() - started
    print(f"stopped in {took:.2f} s")
    stack.roll(deployment.image, deployment.version, ("instance-2",))
    assert took < 2


def test_a_drain_waits_for_the_request_in_it(stack: Stack) -> None:
    results: list[httpx.Response] = []
    clients = [
        threading.Thread(target=lambda: results.append(httpx.get(f"{stack.url}/slow/"))) for _ in range(2)
    ]
    for client in clients:
        client.start()
    time.sleep(0.3)  # both are in an instance now
    with pytest.raises(TargetError, match=r"instance-1 still has 1 request"):
        stack.operations().drain("instance-1", timeout=0.1)
    stack.operations().drain("instance-1", timeout=10)
    for client in clients:
        client.join()
    stack.operations().admit("instance-1", timeout=10)
    assert [response.status_code for response in results] == [200, 200]


def test_instances_come_and_go_under_load_without_a_failed_request(
    stack: Stack, images: dict[str, str]
) -> None:
    kept = {name: pid(stack, name) for name in ("instance-1", "instance-2", "edge", "database")}
    with Load(stack.ports["public"]) as load:
        stack.instances = ("instance-1", "instance-2", "instance-3", "instance-4")
        assert stack.up() == ["port-instance-3", "port-instance-4", "instance-3", "instance-4", "edge"]
        stack.roll(images["v1"], "v1", ("instance-3", "instance-4"))
        seen = {httpx.get(stack.url).json()["instance"] for _ in range(60)}
        stack.instances = ("instance-1", "instance-2")
        assert stack.up() == ["edge", "port-instance-3", "port-instance-4", "instance-3", "instance-4"]
        time.sleep(0.5)
    assert seen == {"instance-1", "instance-2", "instance-3", "instance-4"}
    assert load.failures == []
    assert {name: pid(stack, name) for name in kept} == kept
    assert stack.up() == []


def test_a_probe_that_what_serves_does_not_answer_is_refused_before_anything_changes(stack: Stack) -> None:
    stack.probe = "/ready/"
    (_, provider, inputs) = list(stack.wanted())[-1]
    (failure,) = provider.check({}, inputs).failures
    assert failure.reason.startswith("relevo:app.probe expects 200 of /ready/, but ")
    assert "on instance-1 answers 404" in failure.reason
    stack.probe = "/notes/"
    assert stack.up() == ["edge"]
    stack.probe = "/"
    assert stack.up() == ["edge"]
    assert answers(stack.url)


def test_more_connections_are_a_change_that_keeps_the_rows(stack: Stack) -> None:
    rows = notes(stack)
    stack.max_connections = 80
    assert stack.up() == ["database"]
    until(lambda: answers(f"{stack.url}/notes/"), "the site answers")
    assert notes(stack) == rows


def test_a_backup_is_verified_and_old_ones_go_unless_a_release_needs_them(stack: Stack) -> None:
    operations = stack.operations()
    layout = Layout(stack.state)
    (layout.media / "photo.jpg").write_bytes(b"x" * 1000)
    names = ("kept-v1", "manual-1", "manual-2", "manual-3")
    for name in names:
        backup = operations.backup(name, kept=["kept-v1"])
        assert backup.verified
        assert backup.detail["rows"] >= notes(stack)
        assert backup.detail["media_files"] == 1
        time.sleep(1.0)  # their order is told by the second
    assert {path.name for path in layout.backups.iterdir()} == {"kept-v1", "manual-2", "manual-3"}
    last = operations.last_backup()
    assert last is not None
    assert last.name == "manual-3"
    assert operations.backup("manual-3", kept=()) == last


def test_a_command_that_takes_too_long_is_ended(stack: Stack, images: dict[str, str]) -> None:
    facts = stack.facts()
    facts["limits"]["command_seconds"] = 2.0
    with pytest.raises(TargetError, match=r"manage.py work takes longer than 2 s"):
        LocalOperations(facts).manage(images["v1"], ["work", "60"], release="x")
    assert not [
        process
        for process in psutil.process_iter()
        if _environment(process).get("RELEVO_PROGRAM") == f"{stack.state}/manage"
    ]


def test_one_step_at_a_time_also_when_its_parent_was_killed(stack: Stack, images: dict[str, str]) -> None:
    step = textwrap.dedent("""
        import json, sys
        from components.local.operations import LocalOperations
        operations = LocalOperations(json.loads(sys.argv[1]))
        with operations.exclusive("a-step"):
            operations.manage(sys.argv[2], ["work", "3"], release="x")
    """)
    killed = subprocess.Popen(
        [sys.executable, "-c", step, json.dumps(stack.facts()), images["v1"]],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "working\n"
    started = time.monotonic()
    killed.kill()
    killed.wait()
    with stack.operations().exclusive("a-step"):
        assert time.monotonic() - started > 1.5
    killed.stdout.close()


def test_a_process_without_a_port_runs_the_artefact(stack: Stack, images: dict[str, str]) -> None:
    operations = stack.operations()
    deployment = Deployment(image=images["v1"], version="v1", release="r1")
    operations.drain("worker", timeout=1)
    operations.replace("worker", deployment)
    until(lambda: operations.deployed("worker") == deployment, "the worker runs")
    assert operations.startup_errors("worker") == []
    assert operations.instance("worker").address is None
    operations.withdraw("worker")
    assert operations.deployed("worker") is None


def test_a_damaged_artefact_is_refused(stack: Stack, store: Path) -> None:
    image = stand_in_artefact(store, "damaged", "stand-in")
    file = store / image / "source" / "standin" / "views.py"
    file.chmod(0o644)
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(TargetError, match=r"is damaged \(standin/views.py"):
        stack.operations().artefact(image)


def test_no_secret_is_in_a_file_of_the_state_but_the_vault(stack: Stack) -> None:
    secrets = vault.Vault(Layout(stack.state).secrets)
    values = [secrets.read(name).encode() for name in (*secrets.names(), *vault.OWN)]
    command_lines = [_command_line(process) for process in psutil.process_iter()]
    for folder, _, names in os.walk(stack.state):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and path.parent.name != "secrets":
                content = path.read_bytes()
                assert not [value for value in values if value in content], path
    assert not [line for line in command_lines for value in values if value in line]
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in Layout(stack.state).secrets.iterdir())


def test_destroy_leaves_no_process_and_all_data(stack: Stack) -> None:
    stack.destroy()
    left = [
        process
        for process in psutil.process_iter()
        if _environment(process).get("RELEVO_PROGRAM", "").startswith(f"{stack.state}/")
    ]
    assert left == []
    stack.up()
    password = vault.Vault(Layout(stack.state).secrets).read(vault.DATABASE_USER)
    port = stack.ports["database"]
    with psycopg.connect(
        host="127.0.0.1", port=port, user="app", password=password, dbname="app"
    ) as connection:
        row = connection.execute("SELECT count(*) FROM standin_note").fetchone()
        assert row is not None
        assert row[0] > 0


@pytest.fixture
def lone_database(tmp_path: Path) -> Iterator[Stack]:
    """A stack of which only the database is made."""
    stack = Stack(state=tmp_path / "state", store=tmp_path)
    Layout(stack.state).make()
    vault.Vault(Layout(stack.state).secrets).generate(vault.OWN)
    stack.ports["database"] = ports.allocate(Layout(stack.state), "database", None)
    try:
        control.ensure(Layout(stack.state))
        yield stack
    finally:
        control.purge(stack.state)


def ensure_database(stack: Stack) -> None:
    inputs = {"database": "app", "user": "app", "max_connections": 20, "binaries": ""}
    DatabaseProvider().create({**inputs, "state": str(stack.state), "port": stack.ports["database"]})


def test_a_cluster_whose_making_was_killed_is_made_again(lone_database: Stack) -> None:
    layout = Layout(lone_database.state)
    for home in (layout.database, layout.outside / "database"):
        (home / "data.partial" / "base").mkdir(parents=True)
        (home / "data.partial" / "PG_VERSION").write_text("18\n")
        if os.geteuid() != 0:
            break
    ensure_database(lone_database)
    assert lone_database.operations().applied_migrations() == frozenset()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_binaries_that_the_servers_user_cannot_reach_are_copied(
    lone_database: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a clone under a 0700 folder, such as /root or what mktemp -d makes."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = postgres.bundled().parent.parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    monkeypatch.setattr(postgres, "bundled", lambda: closed / package.name / "pginstall" / "bin")
    ensure_database(lone_database)
    outside = Layout(lone_database.state).outside
    (server,) = [
        process
        for process in psutil.process_iter()
        if _environment(process).get("RELEVO_PROGRAM") == f"{lone_database.state}/database"
    ]
    assert server.exe().startswith(f"{outside}/binaries/")
    assert server.username() == "nobody"
    control.purge(lone_database.state)
    assert not outside.exists()


def _alive(process: psutil.Process) -> bool:
    """A zombie has ended; where process 1 does not collect orphans it stays listed."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _command_line(process: psutil.Process) -> bytes:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()).encode()
    return b""
