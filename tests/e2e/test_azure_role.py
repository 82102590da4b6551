"""The job that gives the application its database, against a real PostgreSQL, as one who is no superuser."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from components.azure import database_login, dump, role
from components.dumping import Dumping
from components.local.postgres import bundled
from components.restoring import Restoring

TOKEN = "of-the-jobs-identity-91c2"
PASSWORDS = {"a": "of-the-application-4e07", "b": "of-the-application-8b31"}


@dataclass(frozen=True)
class Server:
    superuser: str  # URL
    administrator: str
    database: str
    user: str

    def query(self, text: str, *values: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.superuser, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(text.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def application(self, login: str = "a", password: str | None = None) -> psycopg.Connection:
        return psycopg.connect(
            self.superuser,
            dbname=self.database,
            user=f"{self.user}_{login}",
            password=password or PASSWORDS[login],
            autocommit=True,
        )

    def proof(self, role: str) -> str:
        return self.query("SELECT rolpassword FROM pg_authid WHERE rolname = %s", role)[0][0]


@pytest.fixture
def server(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Server:
    """With names of its own; its administrator may do what one of Entra ID may: no superuser."""
    url, word = new_database(), secrets.token_hex(4)
    server = Server(url, f"id-{word}-jobs", f"assets_{word}", f"assets_{word}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                sql.Identifier(server.administrator), sql.Literal(TOKEN)
            )
        )
    address = urlsplit(url)
    for name, value in {
        "PGHOST": address.hostname,
        "PGPORT": str(address.port),
        "PGUSER": server.administrator,
        "PGDATABASE": server.database,
        "PGPASSWORD": "replaced by a token",
        "RELEVO_ROLE": server.user,
        **{f"RELEVO_PASSWORD_{login.upper()}": password for login, password in PASSWORDS.items()},
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(database_login, "token", lambda: TOKEN)
    return server


def test_the_application_owns_its_database_and_may_do_no_more(server: Server) -> None:
    assert role.main() == 0

    with server.application() as connection:
        connection.execute("CREATE TABLE loans (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE DATABASE another")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE ROLE another")
    (owner,) = server.query(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", server.database
    )
    assert owner == (server.user,)
    memberships = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole"
    assert server.query(memberships, server.user) == []
    assert server.query(memberships, f"{server.user}_a") == [(server.user,)]
    assert server.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", server.user) == [(False,)]


def test_either_login_works_with_what_the_other_has_made(server: Server) -> None:
    """A release runs migrations by the one while instances still serve by the other."""
    role.main()
    with server.application("a") as old, server.application("b") as new:
        old.execute("CREATE TABLE loans (id int)")
        new.execute("ALTER TABLE loans ADD COLUMN due date")
        new.execute("CREATE SCHEMA archive CREATE TABLE past (id int)")
        old.execute("INSERT INTO loans VALUES (1); DROP TABLE archive.past; DROP SCHEMA archive")
        for connection in (old, new):
            connection.execute("RESET ROLE")  # as a connection pool may
            assert connection.execute("SELECT current_user").fetchone() == (server.user,)
    owners = "SELECT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert server.query(owners, database=server.database) == [(server.user,)]


def test_the_server_is_told_a_proof_of_the_password_and_nobody_the_password(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server logs each ALTER ROLE with all its words."""
    told: list[str] = []
    execute = psycopg.Connection.execute

    def listening(connection: psycopg.Connection, query: Any, *rest: Any) -> Any:
        words = query.as_string(connection) if isinstance(query, sql.Composable) else str(query)
        told.append(words)
        return execute(connection, query, *rest)  # pyright: ignore[reportCallIssue, reportArgumentType]

    monkeypatch.setattr(psycopg.Connection, "execute", listening)
    role.main()
    assert "PASSWORD 'SCRAM-SHA-256$" in next(words for words in told if "PASSWORD" in words)
    printed = capfd.readouterr()
    for password in PASSWORDS.values():
        assert not [words for words in told if password in words]
        assert password not in printed.out + printed.err


def test_run_again_it_changes_nothing_that_anybody_notices(server: Server) -> None:
    role.main()
    with server.application() as connection:
        connection.execute("CREATE TABLE loans (id int)")
        assert role.main() == 0
        connection.execute("INSERT INTO loans VALUES (1)")
    assert server.query("SELECT count(*) FROM loans", database=server.database) == [(1,)]


def test_a_rotation_cuts_nobody_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs goes on and comes back by its login, while the other one's password is replaced."""
    role.main()
    with server.application("a") as running:
        monkeypatch.setenv("RELEVO_PASSWORD_B", "new-of-b")
        assert role.main() == 0
        running.execute("SELECT 1")
        server.application("a").close()
        server.application("b", "new-of-b").close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            server.application("b")

    monkeypatch.setenv("RELEVO_PASSWORD_A", "new-of-a")  # once all instances come by the other one
    assert role.main() == 0
    server.application("b", "new-of-b").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.application("a")


def test_its_backup_is_taken_and_tried_as_the_administrator(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who may read all that the application has, and make a database for the trial, which it may not."""
    monkeypatch.setenv("PATH", f"{bundled()}:{os.environ['PATH']}")
    role.main()
    with server.application() as connection:
        connection.execute("CREATE SCHEMA archive CREATE TABLE old (id int)")
        connection.execute("CREATE TABLE loans (id int); INSERT INTO loans VALUES (1), (2)")

    dumping = Dumping(
        database=server.database, connect=database_login.connect, tool=dump.tool, scratch=dump.SCRATCH
    )
    with database_login.connect(server.database) as connection:
        rows = dumping.dump(connection, tmp_path / "database.dump")
    assert rows == {"public.loans": 2, "archive.old": 0}
    dumping.verify(tmp_path / "database.dump", rows)

    # Restored beside and switched, under whoever is logged in; what was put aside stays the same role's.
    restoring = Restoring(database=server.database, connect=database_login.connect, tool=dump.tool)
    detail = {"tables": 2, "rows": 2}
    with server.application("b") as connection:
        brought = restoring.bring(tmp_path / "database.dump", backup="r1", image=None, detail=detail)
        restoring.switch(brought.id, image=None)
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            connection.execute("SELECT 1")
    with server.application("a") as connection:
        connection.execute("INSERT INTO loans VALUES (3); DROP TABLE archive.old")
    assert role.main() == 0


@pytest.mark.parametrize("suffix", ["", "_b"])
@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("CREATE DATABASE other_{0} OWNER {0}", "owns database other_{0}"),
        ("ALTER ROLE {0} CREATEROLE", "administers the server"),
    ],
)
def test_a_role_of_such_a_name_that_is_somebody_elses_is_left_alone(
    server: Server, made: str, what: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = f"{server.user}{suffix}"
    server.query(f"CREATE ROLE {theirs} LOGIN PASSWORD 'theirs'")
    server.query(made.format(theirs))
    before = server.proof(theirs)
    assert role.main() == 1
    assert capsys.readouterr().out == (
        f"relevo:database.user needs the role {theirs}, but the server has one of this name that "
        f"{what.format(theirs)}; take another name.\n"
    )
    assert server.proof(theirs) == before
    assert server.query("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", f"{server.user}%") == [
        (theirs,)
    ]
    assert server.query("SELECT 1 FROM pg_database WHERE datname = %s", server.database) == []


def test_a_role_that_owns_tables_elsewhere_is_left_alone(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.query(f"CREATE ROLE {server.user}")
    elsewhere = urlsplit(server.superuser).path[1:]
    server.query("CREATE TABLE theirs (id int)", database=elsewhere)
    server.query(f"ALTER TABLE theirs OWNER TO {server.user}", database=elsewhere)
    assert role.main() == 1
    assert f"owns what is in database {elsewhere};" in capsys.readouterr().out


def test_a_database_that_is_somebody_elses_is_left_alone(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.query(f"CREATE DATABASE {server.database}")
    assert role.main() == 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert f"refuses to give {server.database} to {server.user} (must be owner of database" in said


def test_without_a_server_it_says_so_in_one_line(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database_login, "token", lambda: "expired")
    assert role.main() == 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "password authentication failed" in said
