"""A restore on Azure: jobs that each answer in JSON, and what they do beside a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

from components.azure import database_login, dump, job_disk, restore
from components.azure.operations import AzureOperations
from components.azure.restores import DRILL
from components.local.postgres import bundled
from components.target import Beside, Change, Comparison, Drill, TargetError
from tests.azure.arm_stand_in import ArmStandIn, Command
from tests.e2e.servers import postgresql

ROOT = Path(__file__).parents[3]
BESIDE = {"id": "20261124t1z", "database": "assets_x", "image": None, "backup": "r1", "kept": False}
CHANGE = {"table": "public.asset", "inserted": 1, "updated": 2, "deleted": 3, "columns": ["site"]}


def test_each_call_is_a_job_beside_the_database_that_is_run_anew(
    operations: AzureOperations, azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    answers = {
        "bring": {"beside": BESIDE},
        "beside": {"besides": [BESIDE]},
        "compare": {"compared": {"changes": [CHANGE], "migrations": ["site.0002"]}},
        "switch": {"beside": {**BESIDE, "kept": True}},
        "remove": {"removed": "20261124t1z"},
    }
    azure.commands = lambda words: Command([json.dumps(answers[words[1]])])
    beside = Beside(**BESIDE)
    with operations.exclusive("restore"):
        assert operations.restore("r1", image="assets@sha256:1") == beside
        assert operations.beside() == operations.beside() == [beside]
        assert operations.compare(beside.id) == Comparison(
            changes=(Change(**{**CHANGE, "columns": ("site",)}),), migrations=("site.0002",)
        )
        assert operations.switch(beside.id, image=None).kept
        operations.remove(beside.id)
    ran = azure.jobs["caj-backup"]
    assert [execution.words for execution in ran] == [
        ["restore", "bring", "r1", "assets@sha256:1"],
        ["restore", "beside"],
        ["restore", "beside"],
        ["restore", "compare", beside.id],
        ["restore", "switch", beside.id],
        ["restore", "remove", beside.id],
    ]
    assert ran[0].environment["PGUSER"] == facts["database"]["administrator"]
    assert ran[0].environment["RELEVO_MEDIA"] == facts["storage"]["media"]


def test_a_job_that_fails_is_the_error(operations: AzureOperations, azure: ArmStandIn) -> None:
    azure.commands = lambda words: Command(["r9 is not a verified backup in backups"], status=1)
    with operations.exclusive("restore"), pytest.raises(TargetError, match=r"^r9 is not a verified backup"):
        operations.restore("r9", image=None)


def test_a_drill_asks_the_artefact_of_its_time_at_the_scratch_database(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], facts: dict[str, Any]
) -> None:
    facts["app"]["environment"]["DB"] = "{database.name}"
    done = {"backup": "r1", "image": images[0], "seconds": 1.5, "bytes": 5, "tables": 1, "rows": 2}
    azure.commands = lambda words: Command([json.dumps({"drill": {**done, "fault": None}})])
    with operations.exclusive("drill"):
        assert operations.drill("r1", image=images[0], release="r1") == Drill(**done, fault=None)
    (execution,) = azure.jobs["caj-backup"]
    assert execution.environment["RELEVO_IMAGE"] == images[0]
    assert execution.environment["RELEVO_URLS"] == "DATABASE_URL"
    assert execution.environment["DB"] == DRILL
    assert execution.environment["PGDATABASE"] == facts["database"]["name"]


# -- with a real PostgreSQL ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def superuser() -> Iterator[str]:
    """The URL of a server with the jobs' role, which is no superuser, and the application's."""
    with postgresql() as new:
        url = new()
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in (
                "CREATE ROLE jobs LOGIN CREATEDB CREATEROLE PASSWORD 'token'",
                "CREATE ROLE assets LOGIN PASSWORD 'assets'",
                "CREATE ROLE reader",
                "GRANT assets TO jobs",
            ):
                connection.execute(statement.encode())
        yield url


@pytest.fixture
def application(
    superuser: str, azure: ArmStandIn, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[psycopg.Connection]:
    """A session of the application's role in its database, which has rows."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        for statement in (
            "CREATE DATABASE assets OWNER assets",
            "REVOKE ALL ON DATABASE assets FROM PUBLIC",
            "GRANT CONNECT ON DATABASE assets TO reader",
            "ALTER DATABASE assets SET search_path TO public, archive",
        ):
            connection.execute(statement.encode())
    storage, found = facts["storage"], psycopg.conninfo.conninfo_to_dict(superuser)
    for name, value in {
        "PGHOST": found["host"],
        "PGPORT": found["port"],
        "PGUSER": "jobs",
        "PGDATABASE": "assets",
        "PGPASSWORD": "replaced by a token",
        "RELEVO_BLOBS": storage["blob_host"],
        "RELEVO_BACKUPS": storage["backups"],
        "RELEVO_MEDIA": storage["media"],
        "PATH": f"{bundled()}:{os.environ['PATH']}",
        "TMPDIR": tmp_path,  # of a job that is killed, whose container goes with it
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(database_login, "token", lambda: "token")
    url = psycopg.conninfo.make_conninfo(superuser, dbname="assets", user="assets", password="assets")
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (
            "CREATE TABLE asset (id int PRIMARY KEY, name text)",
            "GRANT SELECT ON asset TO reader",
            "INSERT INTO asset SELECT i, 'of r1' FROM generate_series(1, 5) AS i",
            "CREATE TABLE note (text text)",
            "CREATE TABLE tally (text text)",
            "CREATE TABLE still (text text)",
            "INSERT INTO tally VALUES ('a'), ('a'), ('b')",
            "INSERT INTO still VALUES ('a'), ('a'), ('b')",
            "CREATE TABLE django_migrations (app text, name text)",
            "INSERT INTO django_migrations VALUES ('site', '0001')",
        ):
            connection.execute(statement.encode())
        yield connection
    with psycopg.connect(superuser, autocommit=True) as connection:
        for name in databases(connection):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def databases(connection: psycopg.Connection) -> list[str]:
    """Of the application, and of drills."""
    found = connection.execute("SELECT datname FROM pg_database WHERE datname ~ 'assets|relevo'")
    return sorted(name for (name,) in found)


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert restore.main(list(words)) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    return found


def names(url: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM asset ORDER BY id")]


def test_a_backup_is_brought_compared_switched_and_given_back(
    application: psycopg.Connection,
    azure: ArmStandIn,
    facts: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    media, url = facts["storage"]["media"], application.info.dsn + " password=assets"
    azure.blob(media, "a.jpg").upload_blob(b"a")
    assert dump.main(["r1"]) == 0
    for statement in (
        "INSERT INTO asset VALUES (6, 'since'), (7, 'since')",
        "UPDATE asset SET name = 'since' WHERE id = 1",
        "DELETE FROM asset WHERE id IN (2, 3, 4)",
        "ALTER TABLE asset ADD COLUMN place text",
        "INSERT INTO note VALUES ('since')",
        "UPDATE tally SET text = 'c' WHERE text = 'a'",
        "CREATE TABLE site (id int PRIMARY KEY)",
        "INSERT INTO site VALUES (1)",
        "INSERT INTO django_migrations VALUES ('site', '0002')",
    ):
        application.execute(statement.encode())
    azure.blob(media, "b.jpg").upload_blob(b"b")
    after = names(url)

    brought = ask(capsys, "bring", "r1", "assets@sha256:1")
    assert (brought["backup"], brought["image"], brought["kept"]) == ("r1", "assets@sha256:1", False)
    assert ask(capsys, "bring", "r1", "assets@sha256:1") == brought  # after a kill: not once more
    compared = ask(capsys, "compare", brought["id"])
    changes = {change.pop("table"): tuple(change.values()) for change in compared["changes"]}
    assert changes == {
        "public.asset": (2, 1, 3, ["place"]),
        "public.note": (1, None, 0, []),
        "public.site": (1, 0, 0, []),
        "public.tally": (0, None, 0, []),
        "media": (1, 0, 0, []),
    }
    assert compared["migrations"] == ["site.0002"]
    assert names(url) == after

    kept = ask(capsys, "switch", brought["id"], "assets@sha256:2")
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        application.execute("SELECT 1")
    assert names(url) == ["of r1"] * 5
    assert ask(capsys, "switch", brought["id"], "assets@sha256:2") == kept  # after a kill: not back
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO asset VALUES (9, 'by its owner')")
        assert connection.execute(
            "SELECT has_table_privilege('reader', 'asset', 'SELECT'), current_setting('search_path'), "
            "has_database_privilege('reader', 'assets', 'CONNECT'), "
            "has_database_privilege('jobs', 'assets', 'CONNECT'), pg_get_userbyid(datdba) "
            "FROM pg_database WHERE datname = current_database()"
        ).fetchone() == (True, "public, archive", True, True, "assets")
        assert (
            connection.execute(
                "SELECT 1 FROM pg_database WHERE datacl::text LIKE '%{=%' AND datname = 'assets'"
            ).fetchone()
            is None
        )

    assert ask(capsys, "beside") == [kept]
    assert (kept["kept"], kept["image"]) == (True, "assets@sha256:2")
    back = ask(capsys, "switch", kept["id"], "assets@sha256:1")
    assert names(url) == after
    ask(capsys, "remove", back["id"])
    assert ask(capsys, "beside") == []

    project = tmp_path / "manage.py"
    project.write_text(
        "import os, sys\nfrom urllib.parse import urlsplit\n"
        "print('asked', sys.argv[1:], urlsplit(os.environ['DATABASE_URL']).path)\nsys.exit(3)"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restore, "APP_PYTHON", "python3")
    monkeypatch.setenv("RELEVO_IMAGE", "assets@sha256:1")
    monkeypatch.setenv("RELEVO_URLS", "DATABASE_URL")
    monkeypatch.setenv("DATABASE_URL", "postgres://assets:secret@db:5432/assets?sslmode=require")
    drilled = ask(capsys, "drill", "r1")
    assert (drilled["tables"], drilled["rows"]) == (5, 12)
    assert drilled["fault"] == f"asked ['migrate', '--check'] /{DRILL}"
    with psycopg.connect(url, autocommit=True) as connection:
        assert databases(connection) == ["assets"]


def test_who_may_not_make_a_database_is_told_before_anything_is_made(
    application: psycopg.Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dump.main(["r1"]) == 0
    monkeypatch.setenv("PGUSER", "assets")
    monkeypatch.setattr(database_login, "token", lambda: "assets")
    capsys.readouterr()
    assert restore.main(["bring", "r1"]) == 1
    assert "assets may not make a database of assets's beside assets, but" in capsys.readouterr().out
    assert restore.main(["bring", "r2"]) == 1
    assert "r2 is not a verified backup" in capsys.readouterr().out


def test_a_backup_that_does_not_fit_on_the_jobs_disk_names_the_setting(
    application: psycopg.Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dump.main(["r1"]) == 0
    monkeypatch.setenv("RELEVO_CORES", "0.5")
    monkeypatch.setattr(job_disk, "GIB", 100)
    capsys.readouterr()
    assert restore.main(["bring", "r1"]) == 1
    assert capsys.readouterr().out == (
        "relevo:azure.jobs.cores is 0.5, which gives 2 GiB of disk, but the backup r1 needs more; raise it "
        "(8 GiB above 1).\n"
    )


KILLED = """
import os, signal, sys
from components import restoring
from components.azure import database_login, restore

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

database_login.token = lambda: "token"
setattr(restoring.Restoring, sys.argv[1], kill)
restore.main(sys.argv[2:])
"""


def test_killed_while_it_restores_it_begins_anew_and_leaves_nothing(
    application: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dump.main(["r1"]) == 0
    killed = subprocess.run([sys.executable, "-c", KILLED, "_allow", "bring", "r1"], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = databases(application)
    assert len(left) == 2
    assert ask(capsys, "beside") == []
    brought = ask(capsys, "bring", "r1")
    assert databases(application) == sorted(["assets", brought["database"]])


def test_killed_while_it_switches_nothing_has_changed(
    application: psycopg.Connection, superuser: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After both databases have their new names, in a transaction that nobody commits any more."""
    assert dump.main(["r1"]) == 0
    application.execute("INSERT INTO asset VALUES (6, 'since')")
    url = application.info.dsn + " password=assets"
    brought = ask(capsys, "bring", "r1")
    before = databases(application)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "_remark", "switch", brought["id"]], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    with psycopg.connect(superuser, autocommit=True) as connection:
        assert databases(connection) == before
    assert len(names(url)) == 6
    ask(capsys, "switch", brought["id"])
    assert len(names(url)) == 5


def test_a_session_that_it_may_not_end_is_named_and_nothing_is_switched(
    application: psycopg.Connection, superuser: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dump.main(["r1"]) == 0
    brought = ask(capsys, "bring", "r1")
    with psycopg.connect(superuser, dbname="assets") as stranger:
        assert restore.main(["switch", brought["id"]]) == 1
        assert f"{stranger.info.user} is connected to assets, but only" in capsys.readouterr().out
    assert application.execute("SELECT count(*) FROM asset").fetchone() == (5,)
