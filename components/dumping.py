"""A logical dump of a PostgreSQL database, known to be good: listed, restored beside it and counted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from components.target import TargetError


@dataclass(frozen=True, kw_only=True)
class Dumping:
    """`connect`: to a database by name, or to the server's own with None. `tool`: runs pg_dump and pg_restore
    with arguments, connected unless it is told `connect=False`, and raises `TargetError` with their words.
    `scratch`: begins the name of the database for the trial, which nothing else on the server has.
    """

    database: str
    connect: Callable[[str | None], psycopg.Connection]
    tool: Callable[..., None]
    scratch: str

    def dump(self, connection: psycopg.Connection, file: Path) -> dict[str, int]:
        """Returns the rows of each table in the very snapshot that was dumped."""
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert snapshot is not None
            self.tool(
                "pg_dump",
                "--format=custom",
                f"--snapshot={snapshot[0]}",
                f"--file={file}",
                f"--dbname={self.database}",
            )
            return rows(connection)

    def verify(self, file: Path, expected: dict[str, int]) -> None:
        """List the dump, restore it beside the real database and count."""
        self.tool("pg_restore", "--list", "--file=/dev/null", str(file), connect=False)
        with self.trial() as name:
            self.tool(
                "pg_restore",
                "--exit-on-error",
                "--no-owner",
                "--no-privileges",
                f"--dbname={name}",
                str(file),
            )
            with self.connect(name) as restored:
                found = rows(restored)
        if found != expected:
            table = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))[0]
            raise TargetError(
                f"the backup holds {found.get(table)} rows of {table}, but the database had "
                f"{expected.get(table)}; run the release again."
            )

    @contextlib.contextmanager
    def trial(self, name: str | None = None, *, owned: bool = False) -> Iterator[str]:
        """The name of an empty database, which is dropped at the end, as are those of killed trials.

        `name` begins with `scratch`; `owned`: by the owner of the real one.
        """
        name = name or f"{self.scratch}{os.getpid()}"
        with self.connect(None) as server:
            self._sweep(server)
            make(server, name, like=self.database, owned=owned)
            try:
                yield name
            finally:
                self._sweep(server)

    def _sweep(self, server: psycopg.Connection) -> None:
        """Also what a killed one has left behind."""
        left = server.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [self.scratch]
        )
        for (name,) in left.fetchall():
            drop(server, name)


def drop(server: psycopg.Connection, name: str) -> None:
    """If it is there, with the sessions in it that this role may end.

    Not by FORCE: that fails for who is no superuser while autovacuum is at work in the database. Without it
    the statement asks autovacuum itself to leave, and waits up to five seconds for all who do (PostgreSQL's
    CountOtherDBBackends).
    """
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND pg_has_role(usesysid, 'USAGE')",
        [name],
    )
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def make(server: psycopg.Connection, name: str, *, like: str, owned: bool) -> None:
    """An empty database of the same encoding and locale, which need not be the server's own.

    `owned`: of the same owner, too, and not of who makes it.
    """
    row = server.execute(
        # The columns of the locale have other names from one version of PostgreSQL to the next.
        "SELECT to_jsonb(pg_database), pg_get_userbyid(datdba), pg_encoding_to_char(encoding) "
        "FROM pg_database WHERE datname = %s",
        [like],
    ).fetchone()
    assert row is not None
    found, owner, encoding = row
    words: dict[LiteralString, str] = {
        "LC_COLLATE": found["datcollate"],
        "LC_CTYPE": found["datctype"],
        "ENCODING": encoding,
    }
    provider, locale = found.get("datlocprovider", "c"), found.get("datlocale") or found.get("daticulocale")
    if provider == "i":
        words |= {"LOCALE_PROVIDER": "icu", "ICU_LOCALE": locale}
        words |= {"ICU_RULES": found["daticurules"]} if found.get("daticurules") else {}
    elif provider == "b":
        words |= {"LOCALE_PROVIDER": "builtin", "BUILTIN_LOCALE": locale}
    elif "datlocprovider" in found:  # not before version 15
        words |= {"LOCALE_PROVIDER": "libc"}
    server.execute(
        sql.SQL("CREATE DATABASE {} {} TEMPLATE template0 {}").format(
            sql.Identifier(name),
            sql.SQL("OWNER {}").format(sql.Identifier(owner)) if owned else sql.SQL(""),
            sql.SQL(" ").join(
                sql.Composed([sql.SQL(word), sql.SQL(" "), sql.Literal(value)])
                for word, value in words.items()
            ),
        )
    )


def rows(connection: psycopg.Connection) -> dict[str, int]:
    """The exact number of rows of each table."""
    tables = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', "
        "'information_schema')"
    ).fetchall()
    counts: dict[str, int] = {}
    for schema, table in tables:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        counts[f"{schema}.{table}"] = row[0] if row else 0
    return counts
