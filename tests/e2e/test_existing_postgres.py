"""A stack in a PostgreSQL that was there before: asked beforehand, used, and left when the stack goes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql

from components.local.layout import Layout
from components.local.operations import LocalOperations
from components.local.vault import Vault
from tests.e2e.project import TOOLS, Project

pytestmark = pytest.mark.e2e

PASSWORD = "of-the-servers-own-role-7f3a"
OWNER = "loans"


@dataclass(frozen=True)
class Existing:
    """The user's server. `admin` may make roles and databases, but is no superuser."""

    superuser: str  # URL
    address: str  # host:port
    admin: str = "stack_admin"

    def query(self, text: str, *values: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.superuser, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(text.encode(), values)
            return cursor.fetchall() if cursor.description else []

    @property
    def databases(self) -> set[str]:
        return {name for (name,) in self.query("SELECT datname FROM pg_database")}

    def rows(self, table: str) -> int:
        return self.query(f"SELECT count(*) FROM {table}", database=OWNER)[0][0]


@pytest.fixture(scope="module")
def existing(new_database: Callable[[], str]) -> Existing:
    url = new_database()
    parts = urlsplit(url)
    server = Existing(superuser=url, address=f"{parts.hostname}:{parts.port}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                sql.Identifier(server.admin), sql.Literal(PASSWORD)
            )
        )
    return server


@pytest.fixture(scope="module")
def settings(configuration: dict[str, Any], existing: Existing) -> dict[str, Any]:
    return {
        **configuration,
        "secrets": {**configuration["secrets"], "DATABASE_ADMIN": {"generate": False}},
        "database": {
            "server": f"postgresql://{existing.admin}@{existing.address}/",
            "serverSecret": "DATABASE_ADMIN",
            "name": OWNER,
            "user": OWNER,
        },
    }


def give_password(project: Project, value: str) -> None:
    subprocess.run(
        [TOOLS / "relevo", "secret", "set", "DATABASE_ADMIN", "--stack", project.stack],
        cwd=project.folder,
        env=project.environment,
        input=value,
        text=True,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def site(new_project: Callable[..., Project], settings: dict[str, Any], digests: dict[str, str]) -> Project:
    """v2 is pinned, and nothing released yet."""
    project = new_project("existing", settings)
    project.pin(digests["v2"])
    return project


def test_what_speaks_against_the_server_is_said_before_anything_is_made(
    site: Project, settings: dict[str, Any], existing: Existing
) -> None:
    before = existing.databases

    def refusal(**database: Any) -> str:
        site.set("database", {**settings["database"], **database})
        output = site.up(status=None)
        assert "Traceback" not in output
        return output

    try:
        assert (
            "secret DATABASE_ADMIN is missing, but the stack needs it; set it with relevo secret" in refusal()
        )
        give_password(site, "wrong-password")
        assert "does not let stack_admin in" in (output := refusal())
        assert "wrong-password" not in output
        give_password(site, PASSWORD)
        elsewhere = f"postgresql://{existing.admin}@127.0.0.1:1/"
        assert "relevo:database.server is 127.0.0.1:1, but it does not" in refusal(server=elsewhere)
        encrypted = settings["database"]["server"] + "?sslmode=require"
        assert "does not support SSL, but SSL was required" in refusal(server=encrypted)
        assert "is app, but 127.0.0.1:" in refusal(user="app")  # the server's superuser
        existing.query(f"ALTER ROLE {existing.admin} NOCREATEDB")
        assert "may not create databases, but each backup is verified in one" in refusal()
        existing.query(f"ALTER ROLE {existing.admin} CREATEDB")
    finally:
        site.set("database", settings["database"])
    assert existing.databases == before
    assert site.record() == []
    assert list(site.processes()) == []


def test_a_release_its_backup_and_its_rollback_use_the_server(
    site: Project, existing: Existing, digests: dict[str, str]
) -> None:
    printed = site.up()
    assert set(site.versions().values()) == {"v2"}
    assert httpx.get(f"{site.url}/readyz/").status_code == 200
    assert not {process.name() for process in site.processes()} & {"postgres"}
    before = existing.rows("django_migrations"), existing.rows("auth_user")
    assert min(before) > 0
    assert existing.query(
        "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s", OWNER
    ) == [(False, False, False)]

    printed += site.run("relevo", "backup")
    (manual,) = (site.state / "backups").glob("manual-*")
    assert json.loads((manual / "backup.json").read_text())["detail"]["rows"] > sum(before)
    assert not any(name.startswith("relevo_scratch") for name in existing.databases)

    # The migrations of the example need no ICU. One that did would be refused: this server has none.
    operations = LocalOperations(json.loads((site.state / "programs/instance-1.json").read_text())["facts"])
    manifest = operations.artefact(digests["v2"]).manifest
    assert operations.unmet(manifest) is None
    german = replace(manifest.migrations[0], name="0099_german", icu=True)
    lacking = operations.unmet(replace(manifest, migrations=(*manifest.migrations, german)))
    assert lacking is not None
    assert f"{german} needs ICU collations, but the PostgreSQL at {existing.address} is" in lacking

    printed += site.release(digests["v1"])
    assert set(site.versions().values()) == {"v1"}
    assert httpx.get(f"{site.url}/readyz/").status_code == 200
    assert (existing.rows("django_migrations"), existing.rows("auth_user")) == before

    assert "unchanged" in site.preview()
    printed += site.run("pulumi", "stack", "export", "--show-secrets")
    project_password = Vault(Layout(site.state.resolve()).secrets).read("database.user")
    for value in (PASSWORD, project_password):
        assert value not in printed
        assert value not in "".join(path.read_text() for path in (site.state / "programs").iterdir())


def test_destroy_and_purge_leave_the_server_and_its_rows(site: Project, existing: Existing) -> None:
    users = existing.rows("auth_user")
    site.run("pulumi", "destroy", "--stack", site.stack, "--yes")
    assert list(site.processes()) == []
    assert existing.rows("auth_user") == users

    # Whoever comes without the password of the role that the first stack made does not get its rows.
    site.run("relevo", "purge", "--stack", site.stack, "--yes")
    give_password(site, PASSWORD)
    assert "has a role of that name which is not this stack's" in site.up(status=None)
    assert existing.rows("auth_user") == users
