"""Each statement's lock is the one that PostgreSQL takes: asked of a PostgreSQL, statement by statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from components.release.locks import MODES, taken

SETUP = """
CREATE TABLE a (id int PRIMARY KEY, x int, y text);
CREATE TABLE b (id int PRIMARY KEY);
CREATE INDEX a_x ON a (x);
ALTER TABLE a ADD CONSTRAINT a_positive CHECK (x > 0) NOT VALID;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f();
CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p1 (id int);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (2) TO (3);
"""
STATEMENTS = [
    "ALTER TABLE a ADD COLUMN z varchar(80) DEFAULT '' NOT NULL",
    "ALTER TABLE a ADD COLUMN z int REFERENCES b (id)",
    "ALTER TABLE a ALTER COLUMN x TYPE bigint",
    "ALTER TABLE a ALTER COLUMN x SET STATISTICS 200",
    "ALTER TABLE a ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES b (id) DEFERRABLE INITIALLY DEFERRED",
    "ALTER TABLE a ADD CONSTRAINT u UNIQUE (x)",
    "ALTER TABLE a VALIDATE CONSTRAINT a_positive",
    "ALTER TABLE a DISABLE TRIGGER t",
    "ALTER TABLE a RENAME COLUMN x TO z",
    "ALTER TABLE a RENAME TO c",
    "CREATE TABLE c (id int REFERENCES b (id))",
    "CREATE TABLE c (id int, FOREIGN KEY (id) REFERENCES b (id))",
    "CREATE INDEX i ON a (y)",
    "CREATE TRIGGER s AFTER INSERT ON a EXECUTE FUNCTION f()",
    "COMMENT ON TABLE a IS 'something'",
    "COMMENT ON COLUMN a.x IS 'something'",
    "TRUNCATE a",
    "REFRESH MATERIALIZED VIEW m",
    "LOCK TABLE a IN SHARE MODE",
    "CLUSTER a USING a_x",
    "ANALYZE a",
    "CREATE TABLE c PARTITION OF p FOR VALUES FROM (1) TO (2)",
    "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (1) TO (2)",
    "ALTER TABLE p DETACH PARTITION p2",
    "UPDATE a SET x = 1",
    "INSERT INTO a VALUES (2)",
    "DELETE FROM a",
    "ALTER TABLE a ALTER COLUMN x SET STATISTICS 200, ALTER COLUMN x SET NOT NULL",
]


@pytest.fixture(scope="module")
def database(new_database: Callable[[], str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(new_database()) as connection:
        connection.execute(SETUP)
        connection.commit()
        yield connection


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_lock_is_the_one_that_postgresql_takes(database: psycopg.Connection, statement: str) -> None:
    before = dict(
        database.execute("SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'm', 'p')").fetchall()
    )
    database.execute(statement.encode())
    held = database.execute(
        "SELECT relation, replace(mode, 'Lock', '') FROM pg_locks "
        "WHERE pid = pg_backend_pid() AND locktype = 'relation'"
    ).fetchall()
    database.rollback()
    spelled = {mode.title().replace(" ", ""): mode for mode in MODES}
    strictest: dict[str, str] = {}
    for oid, mode in held:
        if oid in before and not before[oid].startswith("pg_"):
            name = before[oid]
            strictest[name] = max(spelled[mode], strictest.get(name, MODES[0]), key=MODES.index)
    assert {lock.relation: lock.mode for lock in taken(statement)} == strictest


@pytest.mark.parametrize(
    ("statement", "relation", "mode"),
    [
        ("CREATE INDEX CONCURRENTLY i ON public.a (x)", "public.a", "SHARE UPDATE EXCLUSIVE"),
        ("DROP INDEX a_x", "a_x", "ACCESS EXCLUSIVE"),
        ("DROP INDEX CONCURRENTLY a_x", "a_x", "SHARE UPDATE EXCLUSIVE"),
        ("ALTER INDEX a_x RENAME TO a_z", "a_x", "SHARE UPDATE EXCLUSIVE"),
        ("DROP TABLE public.a", "public.a", "ACCESS EXCLUSIVE"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", "m", "EXCLUSIVE"),
        ("REINDEX TABLE a", "a", "ACCESS EXCLUSIVE"),
        ("REINDEX INDEX a_x", "a_x", "ACCESS EXCLUSIVE"),
        ("REINDEX (CONCURRENTLY off) TABLE a", "a", "ACCESS EXCLUSIVE"),
        ("REINDEX INDEX CONCURRENTLY a_x", "a_x", "SHARE UPDATE EXCLUSIVE"),
        ("VACUUM FULL a", "a", "ACCESS EXCLUSIVE"),
        ("VACUUM (FULL, ANALYZE) a", "a", "ACCESS EXCLUSIVE"),
        ("VACUUM (FULL 0) a", "a", "SHARE UPDATE EXCLUSIVE"),
        ("VACUUM a", "a", "SHARE UPDATE EXCLUSIVE"),
    ],
)
def test_the_lock_of_what_cannot_be_asked_within_a_transaction(
    statement: str, relation: str, mode: str
) -> None:
    (lock,) = taken(statement)
    assert (lock.relation, lock.mode) == (relation, mode)


def test_what_blocks_requests_is_known() -> None:
    assert [
        taken(text)[0].blocks for text in ("DROP TABLE a", "CREATE INDEX i ON a (x)", "DELETE FROM a")
    ] == [
        "reads and writes",
        "writes",
        None,
    ]


def test_several_statements_take_the_strictest_and_what_takes_none_is_empty() -> None:
    (lock,) = taken("UPDATE a SET x = 1; ALTER TABLE a DROP COLUMN x")
    assert lock.mode == "ACCESS EXCLUSIVE"
    assert taken("VACUUM; CLUSTER; REINDEX SCHEMA public") == [], "it does not say of which tables"
    assert taken('SET CONSTRAINTS "k" IMMEDIATE') == []
    with pytest.raises(ValueError, match="does not parse"):
        taken("ALTER TABEL a")
