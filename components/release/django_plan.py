"""What Django would unapply: the text of this module, and a call of `show`, run by `manage.py shell -c`.

So it needs nothing of ours in the artefact, whatever version of Relevo built it: standard library and Django
only, and nothing newer than Python 3.8. The answer is a line of JSON.
"""

from __future__ import annotations

import json
from typing import Any, List, Tuple  # noqa: UP035

# pyright: reportMissingImports=false


def plan(executor: Any, commands: List[Tuple[str, str]]) -> List[Tuple[str, bool]]:  # noqa: UP006
    """("app.name", reversible) of all that the `migrate` commands unapply, run one after the other.

    Raises what `migrate` raises, and `ValueError` where something would be applied.
    """
    targets = []
    for app, name in commands:
        found = None if name == "zero" else executor.loader.get_migration_by_prefix(app, name).name
        targets.append((app, found))
    unapplied = []
    for migration, backwards in executor.migration_plan(targets):
        if not backwards:
            raise ValueError(f"{migration.app_label}.{migration.name} would be applied")
        can_be = all(reversible(operation) for operation in migration.operations)
        unapplied.append((f"{migration.app_label}.{migration.name}", can_be))
    return unapplied


def reversible(operation: Any) -> bool:
    """Django asks `SeparateDatabaseAndState` itself only, and finds out inside of it while it reverses."""
    inner = getattr(operation, "database_operations", ())
    return bool(operation.reversible) and all(reversible(each) for each in inner)


def show(commands: List[Tuple[str, str]]) -> None:  # noqa: UP006
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    executor.loader.check_consistent_history(connection)
    print(json.dumps({"unapplied": plan(executor, commands)}))
