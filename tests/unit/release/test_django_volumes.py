"""What a project's Django counts for a review: by a real PostgreSQL, in a transaction that can only read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest

from components.target import DJANGO_FACTS, Completed, Counted, Query, TargetError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PROJECT = {
    "manage.py": (
        "import os, sys\nprint('a project may print')\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
        "from django.core.management import execute_from_command_line as run\nrun(sys.argv)\n"
    ),
    "settings.py": (
        "import os\nDATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', "
        "**{k: os.environ[k] for k in ('HOST', 'PORT', 'USER', 'PASSWORD', 'NAME')}}}\n"
    ),
}
BETWEEN = "WHERE at >= %(since)s AND at < %(until)s"
COUNT = f"SELECT count(*) FROM loan {BETWEEN}"


def measured(folder: Path, environment: Mapping[str, str], *sql: str) -> tuple[Counted, ...]:
    queries = [Query(sql=one, spans=((NOW - DAY, NOW), (NOW - 8 * DAY, NOW - 7 * DAY))) for one in sql]
    argv = [sys.executable, str(DJANGO_FACTS), "volumes", Query.to_json(queries)]
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Counted.of(Completed(status=done.returncode, output=done.stdout, seconds=0))


@pytest.fixture
def environment(tmp_path: Path, new_database: Callable[[], str]) -> dict[str, str]:
    """Of a project in the folder, with three loans in one span, one in the other, and one at an end."""
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    url = new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE loan (at timestamptz, name text)")
        times = [NOW - DAY, NOW - DAY / 2, NOW - DAY / 3, NOW, NOW - 7.5 * DAY]
        connection.cursor().executemany("INSERT INTO loan VALUES (%s, 'a')", [(at,) for at in times])
        connection.execute(
            "CREATE FUNCTION sneaky() RETURNS bigint LANGUAGE sql AS 'DELETE FROM loan; SELECT 1'"
        )
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return {
        "PATH": os.environ["PATH"],
        **{name: str(parts[name.lower()]) for name in ("HOST", "PORT", "USER", "PASSWORD")},
        "NAME": str(parts["dbname"]),
        "URL": url,
    }


EVER = "WHERE %(since)s::timestamptz < %(until)s"
ASKED: dict[str, tuple[int, ...] | str] = {
    COUNT: (3, 1),
    f"SELECT sum(length(name))::numeric FROM loan {BETWEEN} AND name LIKE 'a%%'": (3, 1),
    f"SELECT setting::int FROM pg_settings {EVER} AND name = 'statement_timeout'": (60_000, 60_000),
    f"SELECT count(*) FROM lent {BETWEEN}": 'relation "lent" does not exist',
    f"SELECT sneaky() + count(*) FROM loan {BETWEEN}": "read-only transaction",
    f"SELECT at FROM loan {BETWEEN}": "it gives several rows, but one number is asked for",
    f"SELECT 1 {EVER} AND false": "it gives no row, but one number",
    f"SELECT 1, 2 {EVER}": "it gives 2 columns, but one number",
    f"SELECT NULL::int {EVER}": "it gives None, but a whole number of at least 0 is asked for",
    f"SELECT 2.5 {EVER}": "it gives Decimal('2.5'), but a whole number",
    f"SELECT -1 {EVER}": "it gives -1, but a whole number",
    f"SELECT 'NaN'::numeric {EVER}": "it gives Decimal('NaN'), but a whole number",
    f"SELECT true {EVER}": "it gives True, but a whole number",
}


def test_each_query_counts_its_spans_or_says_why_not_and_changes_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    found = measured(tmp_path, environment, *ASKED)
    for (sql, expected), counted in zip(ASKED.items(), found, strict=True):
        if isinstance(expected, str):
            assert expected in (counted.error or ""), sql
            assert counted.found == (), sql
        else:
            assert counted == Counted(found=expected), sql
    with psycopg.connect(environment["URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM loan").fetchone() == (5,)


def test_without_a_database_nothing_is_counted(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(TargetError, match=r"^the volumes cannot be counted \(OperationalError: .*; correct"):
        measured(tmp_path, {**environment, "NAME": "no_such_database"}, COUNT)
