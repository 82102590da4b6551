"""The example backend by itself: its own tests, its smoke scenario, and a cache that goes and comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from components.release.scenario import parse
from components.release.verification import Runner, ScenarioFailed
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
        "MEDIA_ROOT": str(tmp_path_factory.mktemp("media")),
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


def test_its_scenario_passes_on_the_real_import_and_finds_a_row_that_arrives_wrong(
    python: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    manage(python, environment, "migrate", "--verbosity", "0")
    manage(python, environment, "smoke_user")
    scenario = parse((EXAMPLE / "smoke.yaml").read_text(), "smoke.yaml")
    broken = tmp_path / "broken"
    shutil.copytree(EXAMPLE, broken, ignore=shutil.ignore_patterns(".venv", "media"))
    views = broken / "imports" / "views.py"
    right, wrong = "model(**row, **marks)", 'model(**{**row, "name": row["name"].lstrip("0")}, **marks)'
    assert right in views.read_text()
    views.write_text(views.read_text().replace(right, wrong))

    def ran(project: Path) -> tuple[list[str], str | None]:
        """The requests' names, and the fault; what the run has left is nothing but what is always there."""
        with servers.gunicorn(
            python, project, environment, "config.wsgi:application", "/healthz/"
        ) as address:
            fault = None
            try:
                results = Runner(
                    scenario, base_url=address, version="v1", secret=environment.__getitem__
                ).run(scenario.checks)
            except ScenarioFailed as failed:
                results, fault = failed.results, str(failed)
            login = {"username": "smoke", "password": environment["SMOKE_PASSWORD"]}
            token = httpx.post(f"{address}/api/token/", json=login).json()["access"]
            client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"})
            left = client.get("/api/assets/").json()["results"]
            assert [asset["code"] for asset in left] == ["SMOKE"]
            assert client.get("/api/imports/").json()["count"] == 0
            assert not [path for path in Path(environment["MEDIA_ROOT"]).rglob("*") if path.is_file()]
            return [result.name for result in results], fault

    (check,) = scenario.checks
    parts = (scenario.steps, check.steps, check.cleanup, scenario.cleanup)
    assert ran(EXAMPLE) == ([step.name for part in parts for step in part], None)

    names, fault = ran(broken)
    assert fault is not None
    assert fault.startswith(
        'import: "its rows have arrived" GET /api/assets/?category=SMOKE-{run.number}: row 4'
    )
    assert fault.endswith(': name is "42", but expected "0042"')
    assert names[-4:] == [
        "its rows have arrived",
        *(step.name for step in (*check.cleanup, *scenario.cleanup)),
    ]


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
