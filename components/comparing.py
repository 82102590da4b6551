"""What an application's database has and another one of it beside has not, by table and by row.

Each side is read once, by the server itself, into a few thousand fingerprints; only rows behind fingerprints
that differ are sent, sorted by key, and merged as they come. So memory does not grow with the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
from psycopg import sql

from components.target import Change, Comparison

MIGRATIONS = "public.django_migrations"
# Both sides write values as the same text, whatever their database or role is set to.
SESSION = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET work_mem = '64MB'
"""
TABLES = """
SELECT space.nspname, class.relname,
       (SELECT array_agg(attname::text ORDER BY key.position)
          FROM pg_index CROSS JOIN unnest(indkey) WITH ORDINALITY AS key (number, position)
          JOIN pg_attribute ON attrelid = class.oid AND attnum = key.number
         WHERE indrelid = class.oid AND indisprimary),
       (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
         WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '')
  FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = class.relnamespace
 WHERE class.relkind = 'r' AND space.nspname !~ '^(pg_|information_schema$)'
   AND NOT EXISTS (SELECT 1 FROM pg_depend
                    WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e')
"""
ROWS = "SELECT md5(ROW({key})::text) AS key, ROW({columns})::text AS row FROM {table}"
FINGERPRINTS = """
SELECT left(key, 3), count(*), bit_xor(hashtextextended(key || row, 0)) FROM ({rows}) AS rows GROUP BY 1
"""
DIFFERING = """
COPY (SELECT key, md5(row) FROM ({rows}) AS rows WHERE left(key, 3) = ANY ({buckets})
       ORDER BY key COLLATE "C") TO STDOUT
"""

# Not xor, by which equal rows would cancel each other out.
SUM = "SELECT sum(hashtextextended(ROW({row})::text, 0)::numeric) FROM {table}"

Row = tuple[str, str]  # digests of its key and of its values


@dataclass(frozen=True)
class Table:
    """`key`: the columns of its primary key, none where there is none."""

    schema: str
    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


def compare(live: psycopg.Connection, other: psycopg.Connection) -> Comparison:
    """`live` is the application's, as it is at this moment; `other` is not written to meanwhile."""
    sides = (live, other)
    for side in sides:
        side.execute(SESSION)
    with live.transaction(), other.transaction(), ThreadPoolExecutor(2) as pool:
        for side in sides:
            side.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ours, theirs = tables(live), tables(other)
        changes = [
            _change(name, (live, ours.get(name)), (other, theirs.get(name)), pool)
            for name in sorted({*ours, *theirs} - {MIGRATIONS})
        ]
        applied = [
            _migrations(side) if MIGRATIONS in known else set()
            for side, known in zip(sides, (ours, theirs), strict=True)
        ]
    return Comparison(
        changes=tuple(change for change in changes if change is not None),
        migrations=tuple(sorted(applied[0] - applied[1])),
    )


def tables(connection: psycopg.Connection) -> dict[str, Table]:
    """Those with rows of the application: no partitioned parents, no tables that an extension brings."""
    found = [
        Table(schema, name, tuple(key or ()), tuple(columns or ()))
        for schema, name, key, columns in connection.execute(TABLES)
    ]
    return {str(table): table for table in found}


Side = tuple[psycopg.Connection, Table | None]


def _change(name: str, live: Side, other: Side, pool: ThreadPoolExecutor) -> Change | None:
    (here, ours), (there, theirs) = live, other
    if ours is None or theirs is None or not ours.key or ours.key != theirs.key:
        counts = [_count(side, table) if table else 0 for side, table in (live, other)]
        if counts[0] == counts[1] and (ours is None or theirs is None or _alike(live, other)):
            return None
        known = ours is None or theirs is None  # then no row can have been updated
        return Change(
            table=name,
            inserted=max(0, counts[0] - counts[1]),
            updated=0 if known else None,
            deleted=max(0, counts[1] - counts[0]),
        )
    shared = tuple(column for column in ours.columns if column in theirs.columns)
    new = tuple(column for column in ours.columns if column not in theirs.columns)
    rows = [_rows(table, shared) for table in (ours, theirs)]
    prints = list(pool.map(_fingerprints, (here, there), rows))
    differing = sorted(
        bucket for bucket in {*prints[0], *prints[1]} if prints[0].get(bucket) != prints[1].get(bucket)
    )
    inserted, updated, deleted = (0, 0, 0)
    if differing:
        streams = [
            _differing(side, query, differing) for side, query in zip((here, there), rows, strict=True)
        ]
        inserted, updated, deleted = merge(*streams)
    if not differing and not (new and prints[0]):
        return None
    return Change(table=name, inserted=inserted, updated=updated, deleted=deleted, columns=new)


def merge(ours: Iterator[Row], theirs: Iterator[Row]) -> tuple[int, int, int]:
    """Rows that only the first has, that are different, that only the second has; both sorted by key."""
    only_ours = different = only_theirs = 0
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and mine[0] < other[0]):
            only_ours += 1
            mine = next(ours, None)
        elif mine is None or mine[0] > other[0]:
            only_theirs += 1
            other = next(theirs, None)
        else:
            different += mine[1] != other[1]
            mine, other = next(ours, None), next(theirs, None)
    return only_ours, different, only_theirs


def _rows(table: Table, columns: Sequence[str]) -> sql.Composed:
    def listed(names: Sequence[str]) -> sql.Composed:
        return sql.SQL(", ").join(map(sql.Identifier, names))

    return sql.SQL(ROWS).format(key=listed(table.key), columns=listed(columns), table=table.identifier)


def _fingerprints(connection: psycopg.Connection, rows: sql.Composed) -> dict[str, tuple[int, int]]:
    found = connection.execute(sql.SQL(FINGERPRINTS).format(rows=rows))
    return {bucket: (count, digest) for bucket, count, digest in found}


def _differing(connection: psycopg.Connection, rows: sql.Composed, buckets: list[str]) -> Iterator[Row]:
    query = sql.SQL(DIFFERING).format(rows=rows, buckets=sql.Literal(buckets))
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        yield from copy.rows()  # pyright: ignore[reportReturnType] - two columns of text


def _count(connection: psycopg.Connection, table: Table) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier)).fetchone()
    return row[0] if row else 0


def _alike(live: Side, other: Side) -> bool:
    """Whether two tables without a key that they share have the same columns and the same rows."""
    tables = [table for _, table in (live, other) if table]
    if tables[0].columns != tables[1].columns:
        return False
    sums = []
    for connection, table in (live, other):
        assert table is not None
        row = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        query = sql.SQL(SUM).format(row=row, table=table.identifier)
        sums.append(connection.execute(query).fetchone())
    return sums[0] == sums[1]


def _migrations(connection: psycopg.Connection) -> set[str]:
    return {f"{app}.{name}" for app, name in connection.execute("SELECT app, name FROM django_migrations")}
