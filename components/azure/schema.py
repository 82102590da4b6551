"""What the database has, asked from inside the network: `python -m components.azure.schema`, a job's command.

Prints one line of JSON: `{"applied": [[app, migration], …], "icu": true}`.
"""

from __future__ import annotations

import json
import os
import sys

import psycopg

from components.azure.database_login import connect
from components.azure.faults import status_of


def schema(database: str) -> dict[str, object]:
    """Raises `TargetError` if the database does not answer."""
    with connect(database) as connection:
        try:
            applied = connection.execute("SELECT app, name FROM django_migrations").fetchall()
        except psycopg.errors.UndefinedTable:
            applied = []
        # initdb makes this one wherever there is ICU. A collation "unicode" is there without ICU as well.
        icu = connection.execute("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'").fetchone()
    return {"applied": [list(row) for row in applied], "icu": icu is not None}


def main() -> int:
    return status_of(lambda: print(json.dumps(schema(os.environ["PGDATABASE"])), flush=True))


if __name__ == "__main__":
    sys.exit(main())
