"""The example backend by itself: its own tests on PostgreSQL, and a real cache that goes and comes back."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e import servers
from tests.e2e.releases import EXAMPLE


@pytest.fixture(scope="module")
def environment(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a development site with a database of its own."""
    return {
        "PATH": os.environ["PATH"],
        "DEBUG": "true",
        "DATABASE_URL": new_database(),
        "STATIC_ROOT": str(tmp_path_factory.mktemp("static")),
        "SMOKE_PASSWORD": "only for this test",
        "LOG_LEVEL": "CRITICAL",
    }


def manage(python: Path, environment: dict[str, str], *arguments: str) -> None:
    command = [str(python), "manage.py", *arguments]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_tests_pass(python: Path, environment: dict[str, str]) -> None:
    manage(python, environment, "test")


def test_the_catalogue_is_served_while_the_cache_goes_and_comes_back(
    python: Path, environment: dict[str, str]
) -> None:
    manage(python, environment, "migrate", "--verbosity", "0")
    manage(python, environment, "smoke_user")
    port = servers.free_port()
    environment = {**environment, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    with servers.gunicorn(python, EXAMPLE, environment, "config.wsgi:application", "/healthz/") as address:
        login = {"username": "smoke", "password": environment["SMOKE_PASSWORD"]}
        token = httpx.post(f"{address}/api/token/", json=login).json()["access"]
        client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=2)

        def read() -> str:
            answer = client.get("/api/assets/")
            assert answer.status_code == 200
            return answer.headers["X-Cache"]

        with servers.cache(port):
            assert [read(), read()] == ["miss", "hit"]
        assert {read() for _ in range(5)} == {"bypass"}
        assert client.get("/readyz/").json()["status"] == "degraded"
        with servers.cache(port):
            deadline = time.monotonic() + 10
            while read() != "hit":
                assert time.monotonic() < deadline
            assert client.get("/readyz/").json()["status"] == "ok"
