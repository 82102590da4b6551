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


def test_each_query_counts_its_spans_or_says_why_not_and_changes_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    found = measured(
        tmp_path,
        environment,
        COUNT,
        f"SELECT count(*) FROM lent {BETWEEN}",
        f"SELECT sneaky() + count(*) FROM loan {BETWEEN}",
        f"SELECT sum(length(name))::numeric FROM loan {BETWEEN} AND name LIKE 'a%%'",
        f"SELECT 2.5 {BETWEEN.replace('at', 'now()')} OR true",
        f"SELECT at FROM loan {BETWEEN}",
        "SELECT NULL::int WHERE %(since)s < %(until)s",
        "SELECT 1, 2 WHERE %(since)s < %(until)s",
    )
    assert found[0] == Counted(found=(3, 1))
    assert found[3] == Counted(found=(3, 1))
    errors = [each.error or "" for each in found]
    assert 'relation "lent" does not exist' in errors[1]
    assert "read-only transaction" in errors[2]
    assert "it gives Decimal('2.5'), but a whole number of at least 0 is asked for" in errors[4]
    assert "it gives several rows, but one number is asked for" in errors[5]
    assert "it gives None, but a whole number" in errors[6]
    assert "it gives 2 columns" in errors[7]
    assert [each.found for each in found if each.error] == [()] * 6
    with psycopg.connect(environment["URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM loan").fetchone() == (5,)


def test_without_a_database_nothing_is_counted(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(TargetError, match=r"^the volumes cannot be counted \(OperationalError: .*; correct"):
        measured(tmp_path, {**environment, "NAME": "no_such_database"}, COUNT)
