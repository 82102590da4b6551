"""Logging in to the database as the jobs' identity: with a token of Microsoft Entra ID as the password."""

from __future__ import annotations

import os

import psycopg

from components.azure.login import credential
from components.target import TargetError

# "Use Microsoft Entra ID for authentication with Azure Database for PostgreSQL".
SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
SERVER_DATABASE = "postgres"


def token() -> str:
    return credential().get_token(SCOPE).token


def connect(database: str | None) -> psycopg.Connection:
    """By libpq's own variables (PGHOST, PGUSER, …), as pg_dump is afterwards; None is the server's own."""
    os.environ["PGPASSWORD"] = token()
    try:
        return psycopg.connect(dbname=database or SERVER_DATABASE, autocommit=True)
    except psycopg.OperationalError as error:
        said = str(error).strip().partition("\n")[0]
        raise TargetError(
            f"the database does not answer ({said}), but the jobs' identity administers it; see the server "
            f"in the portal."
        ) from None
