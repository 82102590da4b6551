"""Each release of the example that the tests use really is what its name says."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.e2e import servers
from tests.e2e.releases import TAGS, build_repository

PASSWORD = secrets.token_urlsafe(16)


@pytest.fixture(scope="module")
def checkouts(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """tag → a checkout of it."""
    folder = tmp_path_factory.mktemp("checkouts")
    for tag in TAGS:
        clone = ["git", "clone", "--quiet", "-c", "advice.detachedHead=false", "--branch", tag]
        subprocess.run([*clone, repository, folder / tag], check=True)
    return {tag: folder / tag for tag in TAGS}


class Release:
    """One tag beside one database."""

    def __init__(self, project: Path, python: Path, database: str) -> None:
        self.project = project
        self.python = python
        self.database = database
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "SECRET_KEY": "only for these tests",
            "JWT_SIGNING_KEY": "only for these tests, thirty-two characters",
            "ALLOWED_HOSTS": "127.0.0.1",
            "CORS_ALLOWED_ORIGINS": "https://app.example",
            "SECURE_SSL_REDIRECT": "false",
            "SMOKE_PASSWORD": PASSWORD,
            "RELEASE": project.name,
        }

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), "manage.py", *arguments]
        return subprocess.run(
            command,
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def migrate(self) -> None:
        for command in (["migrate", "--verbosity", "0"], ["smoke_user"]):
            done = self.manage(*command)
            assert done.returncode == 0, done.stderr

    def serve(self) -> AbstractContextManager[str]:
        return servers.gunicorn(
            self.python, self.project, self.environment, "config.wsgi:application", "/healthz/"
        )

    def applied(self) -> set[str]:
        with psycopg.connect(self.database) as connection:
            rows = connection.execute("SELECT name FROM django_migrations WHERE app = 'assets'").fetchall()
        return {name for (name,) in rows}


@pytest.fixture
def release(
    checkouts: dict[str, Path], python: Path, new_database: Callable[[], str]
) -> Callable[[str], Release]:
    """Makes releases that share one new database."""
    database = new_database()
    return lambda tag: Release(checkouts[tag], python, database)


def log_in(address: str) -> httpx.Client:
    login = {"username": "smoke", "password": PASSWORD}
    token = httpx.post(f"{address}/api/token/", json=login, timeout=20).json()["access"]
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=20)


def lend(client: httpx.Client) -> int:
    return client.post("/api/loans/", json={"asset": "SMOKE", "employee": "SMOKE"}).status_code


def test_building_twice_gives_the_same_commits(repository: Path, tmp_path: Path) -> None:
    def revisions(folder: Path) -> str:
        return subprocess.check_output(["git", "show-ref", "--tags"], cwd=folder, text=True)

    assert revisions(build_repository(tmp_path / "again")) == revisions(repository)
    assert set(TAGS) == {line.rpartition("/")[2] for line in revisions(repository).splitlines()}


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag != "broken-migration"])
def test_models_and_migrations_agree(tag: str, release: Callable[[str], Release]) -> None:
    done = release(tag).manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr


def test_v2_is_compatible_both_ways(release: Callable[[str], Release]) -> None:
    old, new = release("v1"), release("v2")
    old.migrate()
    with old.serve() as address, log_in(address) as client:
        new.migrate()
        assert lend(client) == 201, "v1 goes on while and after v2 migrates"
        assert client.get("/readyz/").status_code == 200
        (asset,) = client.get("/api/assets/").json()["results"]
        assert "location" not in asset
    with new.serve() as address, log_in(address) as client:
        (asset,) = client.get("/api/assets/").json()["results"]
        assert asset["location"] is None


def test_v3_can_be_reversed_but_v2_cannot_run_with_it(release: Callable[[str], Release]) -> None:
    old, new = release("v2"), release("v3")
    old.migrate()
    with old.serve() as address, log_in(address) as client:
        assert client.get("/api/assets/").status_code == 200
        new.migrate()
        assert client.get("/api/assets/").status_code == 500
        done = new.manage("migrate", "assets", "0002")
        assert done.returncode == 0, done.stderr
        assert client.get("/api/assets/").status_code == 200


def test_v4_cannot_be_reversed(release: Callable[[str], Release]) -> None:
    new = release("v4")
    new.migrate()
    done = new.manage("migrate", "assets", "0003")
    assert done.returncode != 0
    assert "IrreversibleError" in done.stderr
    assert "0004_upper_case_codes" in new.applied()


def test_broken_start_passes_check_and_migrate_but_serves_nothing(release: Callable[[str], Release]) -> None:
    broken = release("broken-start")
    broken.migrate()
    assert broken.manage("check", "--deploy").returncode == 0
    with pytest.raises(AssertionError, match="ended with status"), broken.serve():
        pass


def test_broken_migration_stops_midway(release: Callable[[str], Release]) -> None:
    good, broken = release("v1"), release("broken-migration")
    good.migrate()
    done = broken.manage("migrate")
    assert done.returncode != 0
    assert "remark" in done.stderr
    assert broken.applied() == {"0001_initial", "0002_asset_note"}
    with good.serve() as address, log_in(address) as client:
        assert lend(client) == 201
        assert client.get("/readyz/").status_code == 200


def test_broken_check_fails_only_the_deployment_check(release: Callable[[str], Release]) -> None:
    broken = release("broken-check")
    broken.migrate()
    assert broken.manage("check").returncode == 0
    done = broken.manage("check", "--deploy", "--fail-level", "ERROR")
    assert done.returncode != 0
    assert "prestamos.E002" in done.stderr
    with broken.serve() as address:
        assert httpx.get(f"{address}/readyz/").status_code == 200


def test_broken_smoke_is_ready_but_assigns_nothing(release: Callable[[str], Release]) -> None:
    broken = release("broken-smoke")
    broken.migrate()
    assert broken.manage("check", "--deploy").returncode == 0
    with broken.serve() as address, log_in(address) as client:
        assert client.get("/readyz/").status_code == 200
        assert lend(client) == 500


def test_broken_in_public_assigns_but_not_through_a_balancer(release: Callable[[str], Release]) -> None:
    broken = release("broken-in-public")
    broken.migrate()
    with broken.serve() as address, log_in(address) as client:
        assert lend(client) == 201
        assert client.delete("/api/loans/smoke/").status_code == 204
        client.headers["X-Forwarded-For"] = "127.0.0.1"
        assert lend(client) == 500


def test_slow_is_slow_but_for_its_process_check(release: Callable[[str], Release]) -> None:
    slow = release("slow")
    slow.migrate()
    with slow.serve() as address:
        for path, at_least, at_most in (("/healthz/", 0, 2), ("/readyz/", 5, 20)):
            started = time.monotonic()
            assert httpx.get(address + path, timeout=30).status_code == 200
            assert at_least <= time.monotonic() - started < at_most, path
