"""A database that is no longer needed goes, whoever is still in it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from components.dumping import drop
from tests.e2e.servers import postgresql

HURRIED = ("naptime = 1", "vacuum_threshold = 1", "vacuum_cost_delay = 100", "vacuum_cost_limit = 1")


@pytest.fixture
def databases() -> Iterator[tuple[str, str]]:
    """The administrator's URLs of a database of `keeper`, who is no superuser, and of another one."""
    with postgresql() as new:
        scratch, own = new(), new()
        with psycopg.connect(own, autocommit=True) as administrator:
            for setting in HURRIED:
                administrator.execute(f"ALTER SYSTEM SET autovacuum_{setting}".encode())
            administrator.execute("SELECT pg_reload_conf()")
            administrator.execute("CREATE ROLE keeper LOGIN CREATEDB PASSWORD 'of-a-test'")
            name = scratch.rpartition("/")[2]
            administrator.execute(f"ALTER DATABASE {name} OWNER TO keeper".encode())
        yield scratch, own


def as_keeper(url: str) -> str:
    return f"postgresql://keeper:of-a-test@{url.partition('@')[2]}"


def test_a_database_is_dropped_by_its_owner_while_autovacuum_works_in_it(databases: tuple[str, str]) -> None:
    scratch, own = databases
    name = scratch.rpartition("/")[2]
    with (
        psycopg.connect(as_keeper(scratch), autocommit=True) as left,
        psycopg.connect(as_keeper(own), autocommit=True) as keeper,
        psycopg.connect(own, autocommit=True) as administrator,
    ):
        left.execute("CREATE TABLE rows AS SELECT i FROM generate_series(1, 200000) AS i")
        left.execute("DELETE FROM rows WHERE i % 2 = 0")
        working = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'autovacuum worker'"
        deadline = time.monotonic() + 60
        while administrator.execute(working, [name]).fetchone() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            keeper.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        drop(keeper, name)
        there = keeper.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        assert there.fetchone() is None
        drop(keeper, name)  # which is no fault
