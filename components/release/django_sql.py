"""What is still to be applied, as SQL, and how large tables are: this text is run by `manage.py shell -c`.

Like django_plan.py it needs nothing of ours in the artefact, and nothing newer than Python 3.8. The answer is
a line of JSON. Nothing is written: what would write while its SQL is made fails.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List  # noqa: UP035

# pyright: reportMissingImports=false, reportGeneralTypeIssues=false

NO_SQL = "CANNOT BE WRITTEN AS SQL"  # as Django comments it
RELATIONS = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END,
       c.reltuples::bigint, pg_total_relation_size(c.oid), i.indrelid::regclass::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""


def pending(connection: Any) -> List[Dict[str, Any]]:  # noqa: UP006
    """Of each migration that `migrate` would apply, in its order. `code`: operations that are no SQL."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    found = []
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes()):
        described = {"migration": f"{migration.app_label}.{migration.name}", "atomic": migration.atomic}
        try:
            lines = statements(connection, executor.loader, migration)
        except Exception as error:  # noqa: BLE001 - as sqlmigrate, it needs what an earlier one is to make
            described["fault"] = f"{type(error).__name__}: {error}"
            lines = []
        described["sql"] = [line for line in lines if not line.startswith("--")]
        described["code"] = sum(NO_SQL in line for line in lines)
        found.append(described)
    return found


def statements(connection: Any, loader: Any, migration: Any) -> List[str]:  # noqa: UP006
    """As `sqlmigrate` has them: comments too, each in a line of its own."""
    connection.set_autocommit(False)  # not `atomic`, in which a migration that is not so refuses to run
    try:
        connection.cursor().execute("SET TRANSACTION READ ONLY")  # not of the session: a pool hands that on
        return loader.collect_sql([(migration, False)])
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def relations(connection: Any, mentioned: str) -> Dict[str, Any]:  # noqa: UP006
    """Name → rows as last estimated (-1: never), bytes, and of an index its table; of those in the text."""
    with connection.cursor() as cursor:
        cursor.execute(RELATIONS)
        rows = cursor.fetchall()
    return {name: rest for name, *rest in rows if name.rpartition(".")[2] in mentioned}


def show() -> None:
    from django.db import connection

    found = pending(connection)
    mentioned = " ".join(line for one in found for line in one["sql"])
    version = connection.pg_version
    print(json.dumps({"pending": found, "relations": relations(connection, mentioned), "server": version}))
