"""The further sites are what their builders promise (that Relevo releases them is tested elsewhere)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from stacks.settings import Settings
from tests.e2e import servers
from tests.e2e.sites import BARE, OTHER, build_bare, build_other


@pytest.mark.parametrize("configuration", [BARE, OTHER])
def test_the_configurations_are_valid(configuration: dict[str, Any]) -> None:
    settings = Settings.model_validate(configuration)
    assert settings.smoke is not None
    assert Path(settings.smoke).is_file()


def test_the_bare_site_is_startproject_on_the_given_database(
    python: Path, new_database: Callable[[], str], tmp_path: Path
) -> None:
    site = build_bare(tmp_path / "bare", python)
    assert (site / "requirements.txt").read_text().split() == ["Django~=5.2.0"]
    database = urlsplit(new_database())
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "bare.production",
        "SECRET_KEY": "only for this test",
        "ALLOWED_HOSTS": "127.0.0.1",
        "PGHOST": str(database.hostname),
        "PGPORT": str(database.port),
        "PGDATABASE": database.path[1:],
        "PGUSER": str(database.username),
        "PGPASSWORD": str(database.password),
        "STATIC_ROOT": str(tmp_path / "static"),
    }
    manage = [str(python), "manage.py"]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], cwd=site, env=environment, check=True)
    with servers.gunicorn(python, site, environment, "bare.wsgi:application", "/admin/login/") as address:
        assert httpx.get(f"{address}/admin/login/").status_code == 200
    assert not (site / "db.sqlite3").exists()


def test_the_other_site_has_names_a_worker_a_command_and_a_redirect_of_its_own(
    python: Path, new_database: Callable[[], str], tmp_path: Path
) -> None:
    site = build_other(tmp_path / "other") / "server"
    url = new_database()
    database = urlsplit(url)
    port = servers.free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "inventory.settings",
        "APP_KEY": "only for this test",
        "HOSTS": "127.0.0.1",
        "DB_HOST": str(database.hostname),
        "DB_PORT": str(database.port),
        "DB_NAME": database.path[1:],
        "DB_USER": str(database.username),
        "DB_PASS": str(database.password),
        "CACHE_LOCATION": f"redis://127.0.0.1:{port}/0",
    }
    manage = [str(python), "manage.py"]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], cwd=site, env=environment, check=True)
    secure = {"X-Forwarded-Proto": "https"}
    with (
        servers.cache(port),
        servers.gunicorn(python, site, environment, "inventory.wsgi:application", "/") as address,
    ):
        assert httpx.get(address).status_code == 301
        assert httpx.get(address, headers=secure).status_code == 500, "the reference data is not loaded"
        subprocess.run([*manage, "load_reference"], cwd=site, env=environment, check=True)
        page = httpx.get(address, headers=secure)
        assert (page.status_code, "All tariffs" in page.text) == (200, True), "v2 is checked out"

    worker = subprocess.Popen([*manage, "work"], cwd=site, env=environment | {"WORKER_RELEASE": "v2"})
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            query = "SELECT release, pid FROM inventory_heartbeat"
            servers.wait_until(lambda: ("v2", worker.pid) in connection.execute(query).fetchall(), worker)
    finally:
        servers.stop(worker)
    assert worker.returncode == 0, "SIGTERM ends it cleanly"
