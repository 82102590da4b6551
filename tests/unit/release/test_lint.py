"""Lint: only what makes somebody wait or may break them is told, with the size of what is locked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

from components.release import django_sql
from components.release.lint import Finding, NotLinted, advice, findings
from components.target import Completed
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import StandInOperations

TABLE = {"asset": [2_500_000, 3 * 1024**3, None], "asset_code": [-1, 10**6, "asset"]}
PROJECT = {
    "manage.py": (
        "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
        "from django.core.management import execute_from_command_line as run\nrun(sys.argv)\n"
    ),
    "settings.py": (
        "import os\nINSTALLED_APPS = ['shop']\nDATABASES = {'default': {'ENGINE': "
        "'django.db.backends.postgresql', **{k: os.environ[k] for k in ('HOST', 'PORT', 'USER', 'PASSWORD', "
        "'NAME')}}}\n"
    ),
    "shop/__init__.py": "",
    "shop/models.py": "",
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": """
from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("asset", [("id", models.AutoField(primary_key=True)),
                                                   ("code", models.CharField(max_length=9))])]
""",
    "shop/migrations/0002_index.py": """
from django.db import connection, migrations, models
from django.contrib.postgres.operations import AddIndexConcurrently
class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [AddIndexConcurrently("asset", models.Index(fields=["code"], name="by_code"))]
""",
    "shop/migrations/0003_data.py": """
from django.db import migrations, models
class Writes(migrations.operations.base.Operation):
    def state_forwards(self, app, state): pass
    def database_forwards(self, app, editor, before, after):
        editor.connection.cursor().execute("INSERT INTO shop_asset (code) VALUES ('x')")
class Migration(migrations.Migration):
    dependencies = [("shop", "0002_index")]
    operations = [migrations.RunPython(lambda *_: None), migrations.AddField("asset", "place",
                  models.CharField(max_length=9, default=""))]
""",
    "shop/migrations/0004_writes.py": """
from django.db import migrations
from importlib import import_module
class Migration(migrations.Migration):
    dependencies = [("shop", "0003_data")]
    operations = [import_module("shop.migrations.0003_data").Writes()]
""",
    "shop/migrations/0005_writes_at_once.py": """
from django.db import migrations
from importlib import import_module
class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0004_writes")]
    operations = [import_module("shop.migrations.0003_data").Writes()]
""",
}


def found(operations: StandInOperations, *sql: str, code: int = 0, **more: Any) -> list[Finding]:
    pending = {"migration": "shop.0002", "atomic": True, "sql": sql, "code": code, **more}
    operations.sql = {"pending": [pending], "relations": TABLE, "server": 170002}
    return findings(*opened(operations, "v2"))


def test_a_lock_that_makes_requests_wait_is_told_with_what_it_locks(operations: StandInOperations) -> None:
    (finding,) = found(operations, 'ALTER TABLE "asset" RENAME COLUMN "code" TO "number";')
    assert str(finding) == (
        'shop.0002: ALTER TABLE "asset" RENAME COLUMN "code" TO "number";: ACCESS EXCLUSIVE on asset (about '
        "2,500,000 rows, 3072 MB), which blocks reads and writes: Renaming a column may break existing "
        "clients. [renaming-column]"
    )


def test_a_table_that_the_release_makes_is_nobodys_yet(operations: StandInOperations) -> None:
    assert (
        found(
            operations,
            "CREATE TABLE new (id int);",
            "CREATE INDEX i ON new (id);",
            "INSERT INTO new VALUES (1);",
        )
        == []
    )


def test_an_index_locks_its_table(operations: StandInOperations) -> None:
    (finding,) = found(operations, "DROP INDEX asset_code;")
    assert [(lock.table, lock.rows) for lock in finding.locks] == [("asset", 2_500_000)]


def test_what_nobody_waits_for_is_not_told(operations: StandInOperations) -> None:
    sql = ("CREATE INDEX CONCURRENTLY i ON asset (x);", "DELETE FROM asset WHERE false;")
    assert found(operations, *sql, atomic=False) == []
    (finding,) = found(operations, *sql)
    assert "transaction" in str(finding)


def test_what_cannot_be_seen_before_is_said(operations: StandInOperations) -> None:
    lines = [str(finding) for finding in found(operations, code=2, fault="ValueError: no constraint")]
    assert (
        "can only be told once the migrations before it are applied (ValueError: no constraint)" in lines[0]
    )
    assert "2 of its operations run Python" in lines[1]


def test_advice_belongs_to_the_statement_that_it_is_about() -> None:
    sql = ["SELECT 1\n  AS one;", "SELECT 2;", "DROP TABLE\n  asset;"]
    assert list(advice(sql, in_transaction=True, server=180003)) == [2]


def test_without_squawk_it_is_not_linted(monkeypatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    with pytest.raises(NotLinted, match="squawk does not answer"):
        advice(["SELECT 1"], in_transaction=True, server=180003)


def test_django_tells_the_sql_of_what_is_pending_and_changes_nothing(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    url = new_database()
    parts = psycopg.conninfo.conninfo_to_dict(url)
    environment = {
        "PATH": "/usr/bin:/bin",
        **{name: str(parts[name.lower()]) for name in ("HOST", "PORT", "USER", "PASSWORD")},
        "NAME": str(parts["dbname"]),
    }

    def manage(*words: str) -> str:
        argv = [sys.executable, "manage.py", *words]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    manage("migrate", "shop", "0001")
    text = Path(django_sql.__file__).read_text()
    answer = Completed(status=0, seconds=0, output=manage("shell", "-c", f"{text}\n\nshow()")).answer(
        "pending"
    )
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM shop_asset").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM django_migrations").fetchone() == (1,)
    assert answer is not None
    index, data, writes, writes_at_once = answer["pending"]
    assert index["sql"] == ['CREATE INDEX CONCURRENTLY "by_code" ON "shop_asset" ("code");']
    assert (index["atomic"], data["atomic"]) == (False, True)
    assert data["code"] == 1
    assert data["sql"][0].startswith('ALTER TABLE "shop_asset" ADD COLUMN "place"')
    for fault in (writes["fault"], writes_at_once["fault"]):
        assert "read-only transaction" in fault
    rows, size, of = answer["relations"]["shop_asset"]
    assert (rows, of) == (-1, None)
    assert size > 0
    assert answer["server"] >= 180000
    assert json.dumps(answer).count("django_migrations") == 0, "only what is mentioned"
