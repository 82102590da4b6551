"""What Django itself says of a project: run by the artefact's own Python in the folder with manage.py.

    python django_facts.py settings SALT    DjangoFacts of components/target.py, SECRET_KEY as a salted digest
    python django_facts.py migrations       the migration graph for the manifest; asks no database
    python django_facts.py volumes QUERIES  numbers of the database: JSON, [[sql, [[since, until], …]], …]

The answer is JSON on stdout; whatever the project prints goes to stderr. Standard library and Django only,
and nothing newer than Python 3.8, since it runs in the project's environment and not in ours.
"""

from __future__ import annotations

import sys

# pyright: reportMissingImports=false
# This script's folder comes first by default, where our smoke.py would hide a project's app of that name.
if __name__ == "__main__":
    sys.path[0] = ""

import hashlib
import json
import math
import os
import runpy
from datetime import datetime
from decimal import Decimal
from typing import Any, Callable, Iterable, Iterator  # noqa: UP035

QUERY_SECONDS = 60

ADDITIVE, OPAQUE, BREAKING = "additive", "opaque", "breaking"
WEIGHT = (ADDITIVE, OPAQUE, BREAKING)

_CORE = "django.db.migrations.operations"
_POSTGRES = "django.contrib.postgres.operations"
# Django's own operations by their exact class: a subclass may do anything, so it is opaque.
# Old code cannot notice these.
UNNOTICED = {
    *(f"{_CORE}.models.{name}" for name in ("CreateModel", "AddIndex", "RemoveIndex", "RenameIndex")),
    *(
        f"{_CORE}.models.{name}"
        for name in ("AlterModelOptions", "AlterModelManagers", "AlterModelTableComment")
    ),
    *(f"{_CORE}.models.{name}" for name in ("AlterIndexTogether", "RemoveConstraint", "AlterConstraint")),
    *(f"{_POSTGRES}.{name}" for name in ("AddIndexConcurrently", "RemoveIndexConcurrently")),
    *(
        f"{_POSTGRES}.{name}Extension"
        for name in ("Create", "Bloom", "BtreeGin", "BtreeGist", "Citext", "Crypto")
    ),
    *(f"{_POSTGRES}.{name}Extension" for name in ("HStore", "Trigram", "Unaccent")),
    *(f"{_POSTGRES}.{name}" for name in ("CreateCollation", "ValidateConstraint")),
}
# Old code fails on these, or may write what the database does not accept any more.
NOTICED = {
    *(
        f"{_CORE}.models.{name}"
        for name in ("DeleteModel", "RenameModel", "AlterModelTable", "AddConstraint")
    ),
    *(f"{_CORE}.models.{name}" for name in ("AlterUniqueTogether", "AlterOrderWithRespectTo")),
    *(f"{_CORE}.fields.{name}" for name in ("RemoveField", "RenameField")),
    f"{_POSTGRES}.AddConstraintNotValid",
}
ADD_FIELD, ALTER_FIELD = f"{_CORE}.fields.AddField", f"{_CORE}.fields.AlterField"
CREATE_MODEL, RENAME_MODEL = f"{_CORE}.models.CreateModel", f"{_CORE}.models.RenameModel"
DELETE_MODEL, REMOVE_FIELD = f"{_CORE}.models.DeleteModel", f"{_CORE}.fields.RemoveField"
CREATE_COLLATION = f"{_POSTGRES}.CreateCollation"
SEPARATE = f"{_CORE}.special.SeparateDatabaseAndState"
RUN = {f"{_CORE}.special.RunPython", f"{_CORE}.special.RunSQL"}

# Attributes of a field that the database does not know, besides those that Django lists in non_db_attrs.
PYTHON_ONLY = {"default", "auto_now", "auto_now_add", "upload_to", "storage", "serialize", "swappable"}
PYTHON_ONLY |= {"path", "match", "recursive", "allow_files", "allow_folders", "protocol", "unpack_ipv4"}
PYTHON_ONLY |= {"encoder", "decoder", "width_field", "height_field", "to_fields"}
# Attributes whose change old code cannot notice either way.
HARMLESS = {"db_index", "db_comment", "db_tablespace"}
_FIELDS = "django.db.models."
WIDER = {
    (_FIELDS + narrow, _FIELDS + wide)
    for narrow, wide in (
        ("SmallIntegerField", "IntegerField"),
        ("SmallIntegerField", "BigIntegerField"),
        ("IntegerField", "BigIntegerField"),
        ("SmallAutoField", "AutoField"),
        ("SmallAutoField", "BigAutoField"),
        ("AutoField", "BigAutoField"),
        ("CharField", "TextField"),
        ("SlugField", "TextField"),
        ("EmailField", "TextField"),
        ("URLField", "TextField"),
        ("PositiveSmallIntegerField", "PositiveIntegerField"),
        ("PositiveSmallIntegerField", "PositiveBigIntegerField"),
        ("PositiveIntegerField", "PositiveBigIntegerField"),
    )
}
# One column type in the database; they differ in validation and forms.
SAME_COLUMN = {_FIELDS + name for name in ("CharField", "SlugField", "EmailField", "URLField", "FileField")}
SAME_COLUMN |= {_FIELDS + name for name in ("ImageField", "FilePathField")}
# By the internal type of a field, as Django chooses a column by it.
VARCHARS = {"CharField", "SlugField", "FileField", "FilePathField"}
INTEGERS = {f"{prefix}{size}IntegerField" for prefix in ("", "Positive") for size in ("", "Small", "Big")}
INTEGERS |= {"AutoField", "SmallAutoField", "BigAutoField"}
INTEGERS |= {"ForeignKey", "OneToOneField"}  # of a key of another type, the cast to a number is an error
NUMBERS = {*INTEGERS, "BooleanField"}
LENGTHS = {**dict.fromkeys(NUMBERS, 20), "UUIDField": 36}  # of their longest values as text


def worst(effects: Iterable[str]) -> str:
    return max(effects, key=WEIGHT.index, default=ADDITIVE)


def class_path(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def reversible(operation: Any) -> bool:
    if class_path(operation) == SEPARATE:
        return all(reversible(inner) for inner in operation.database_operations)
    return bool(operation.reversible)


def effect_of(operation: Any, app: str, state: Any, fresh: set[tuple[str, str]]) -> str:
    """What one operation does to the version that runs meanwhile. `state` is the project before it, `fresh`
    the models which that version does not know."""
    path = class_path(operation)
    if path == SEPARATE:
        return effect_of_all(operation.database_operations, app, state.clone(), fresh)
    if path in RUN:
        return OPAQUE
    model = model_of(operation, app)
    known = state.models.get(model)
    if known is not None and is_not_its_own(known):
        return ADDITIVE if path in UNNOTICED | NOTICED | {ADD_FIELD, ALTER_FIELD} else OPAQUE
    if path in UNNOTICED:
        return ADDITIVE
    if path in NOTICED | {ADD_FIELD, ALTER_FIELD} and model in fresh:
        return ADDITIVE
    if path in NOTICED:
        return BREAKING
    if path == ADD_FIELD:
        return effect_of_added(operation.field)
    if path == ALTER_FIELD:
        before = known.fields.get(operation.name) if known is not None else None
        return OPAQUE if before is None else effect_of_altered(before, operation.field)
    return OPAQUE


def model_of(operation: Any, app: str) -> tuple[str, str]:
    """The model that the operation is about, by the name that it had before."""
    if class_path(operation) == RENAME_MODEL:
        return app, operation.old_name_lower
    return app, getattr(operation, "model_name", getattr(operation, "name", "")).lower()


def is_not_its_own(model: Any) -> bool:
    """Whether the model's table is not Django's to change."""
    return model.options.get("managed") is False or bool(model.options.get("proxy"))


def effect_of_all(operations: Iterable[Any], app: str, state: Any, fresh: set[tuple[str, str]]) -> str:
    """The worst effect of operations in their order. Changes `state` and `fresh` as they do."""
    each = steps(operations, app, state, fresh)
    return worst([effect_of(operation, app, state, fresh) for operation in each])


def loses(operations: Iterable[Any], app: str, state: Any, fresh: set[tuple[str, str]]) -> list[str]:
    """Which operations drop or cut values, of what `fresh` does not have: reversed, they do not come back."""
    found = []
    state, fresh = state.clone(), set(fresh)
    for operation in steps(operations, app, state, fresh):
        path, model = class_path(operation), state.models.get(model_of(operation, app))
        if path == SEPARATE:
            found += loses(operation.database_operations, app, state, fresh)
        elif model is None or is_not_its_own(model) or model_of(operation, app) in fresh:
            continue
        elif path == DELETE_MODEL or (
            path in (REMOVE_FIELD, ALTER_FIELD) and values_go(model.fields[operation.name], operation)
        ):
            found.append(operation.describe())
    return found


def values_go(before: Any, operation: Any) -> bool:
    """What is generated, or in the table of a model between, are no values of the field's own."""
    if class_path(operation) == ALTER_FIELD:
        return cuts(before, operation.field)
    between = before.many_to_many and before.remote_field.through is not None
    return not (between or getattr(before, "generated", False))


def cuts(before: Any, after: Any) -> bool:
    """Whether PostgreSQL may lose a part of a value where it casts it to the new type, without an error.

    Django casts explicitly between two types of column, which cuts text and rounds numbers ("PostgreSQL:
    Character Types", "Type Casts"); within one type text that is too long is an error, and only decimals
    are rounded. What is not known to be whole counts as cut.
    """
    old, new = before.get_internal_type(), after.get_internal_type()
    if old == new == "ArrayField":
        return cuts(before.base_field, after.base_field)
    if old == new:
        return old == "DecimalField" and after.decimal_places < before.decimal_places
    room = getattr(after, "max_length", None) or float("inf")
    if new in VARCHARS and old in VARCHARS:
        return "CharField" in (old, new) and room < (before.max_length or float("inf"))
    if new in VARCHARS and old in LENGTHS:
        return room < LENGTHS[old]
    whole = old in NUMBERS and new in {*INTEGERS, "DecimalField"}
    return not (whole or new == "TextField" or (old, new) == ("DateField", "DateTimeField"))


def steps(operations: Iterable[Any], app: str, state: Any, fresh: set[tuple[str, str]]) -> Iterator[Any]:
    """Each operation while `state` and `fresh` are as before it; both change as they go on."""
    for operation in operations:
        yield operation
        if class_path(operation) == CREATE_MODEL:
            fresh.add((app, operation.name_lower))
        elif class_path(operation) == RENAME_MODEL and (app, operation.old_name_lower) in fresh:
            fresh.add((app, operation.new_name_lower))
        operation.state_forwards(app, state)


def effect_of_added(field: Any) -> str:
    """Old code inserts rows without the new column."""
    from django.db.models import NOT_PROVIDED

    if field.many_to_many or getattr(field, "generated", False):
        return ADDITIVE
    if field.null:
        return ADDITIVE
    # Django drops a default in Python from the database once the column is there: only this one stays.
    has_database_default = getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED
    return ADDITIVE if has_database_default and not field.unique else BREAKING


def effect_of_altered(before: Any, after: Any) -> str:
    """Old code writes and reads the changed column as it was before."""
    effects = []
    old_type, old = described(before)
    new_type, new = described(after)
    if old_type != new_type and {old_type, new_type} - SAME_COLUMN:
        if (old_type, new_type) not in WIDER:
            return BREAKING
        old.pop("max_length", None)
        new.pop("max_length", None)
    for name in sorted(set(old) | set(new)):
        if old.get(name) != new.get(name):
            effects.append(effect_of_attribute(name, old, new))
    return worst(effects)


def effect_of_attribute(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    if name in HARMLESS:
        return ADDITIVE
    if name == "null":
        return ADDITIVE if new.get("null") else BREAKING
    if name == "unique":
        return BREAKING if new.get("unique") else ADDITIVE
    if name == "db_constraint":
        return ADDITIVE if new.get("db_constraint") is False else BREAKING
    if name == "db_default":
        # Old code that knows a default leaves the column to the database.
        return ADDITIVE if name in new or old.get("null") else BREAKING
    if name in ("max_length", "max_digits"):
        wider = new.get(name) is None or (old.get(name) is not None and new[name] >= old[name])
        return ADDITIVE if wider else BREAKING
    if name in (
        "decimal_places",
        "primary_key",
        "db_column",
        "to",
        "to_field",
        "db_table",
        "through",
        "base_field",
    ):
        return BREAKING
    return OPAQUE


def needs_icu(operation: Any) -> bool:
    """Whether it makes or names a collation that PostgreSQL has from ICU (PostgreSQL: Collation Support)."""
    if class_path(operation) == SEPARATE:
        return any(needs_icu(inner) for inner in operation.database_operations)
    if any(f"{kind.__module__}.{kind.__qualname__}" == CREATE_COLLATION for kind in type(operation).__mro__):
        return operation.provider == "icu"
    fields = [field for _, field in operation.fields] if class_path(operation) == CREATE_MODEL else []
    fields += [getattr(operation, "field", None)]
    return any(names_icu(field) for field in fields)


def names_icu(field: Any) -> bool:
    """Also the field inside an ArrayField."""
    inner = getattr(field, "base_field", None)
    collation = getattr(field, "db_collation", None) or ""
    return collation == "unicode" or collation.endswith("-x-icu") or (inner is not None and names_icu(inner))


def described(field: Any) -> tuple[str, dict[str, Any]]:
    """The field's class and what the database knows of it."""
    _, path, _, keywords = field.deconstruct()
    python_only = PYTHON_ONLY | set(getattr(field, "non_db_attrs", ()))
    if not getattr(type(field), "non_db_attrs", None):  # Django before 4.1
        python_only |= {"blank", "choices", "editable", "error_messages", "help_text", "limit_choices_to"}
        python_only |= {"on_delete", "related_name", "related_query_name", "validators", "verbose_name"}
    python_only -= {"db_column"}  # listed there because Django compares it apart
    return path, {name: value for name, value in keywords.items() if name not in python_only}


def migrations() -> dict[str, Any]:
    """Every migration of every installed app, in an order in which they can be applied."""
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.state import ProjectState

    loader = MigrationLoader(None)
    graph = loader.graph
    order: dict[tuple[str, str], None] = {}
    for leaf in sorted(graph.leaf_nodes()):
        order.update(dict.fromkeys(graph.forwards_plan(leaf)))
    state = ProjectState(real_apps=loader.unmigrated_apps)
    initial: dict[str, set[tuple[str, str]]] = {}
    described_migrations = []
    for key in order:
        migration = graph.nodes[key]
        app = migration.app_label
        # Apps that refer to each other have several initial migrations.
        fresh = set(initial.get(app, ())) if migration.initial else set()
        lost = loses(migration.operations, app, state, fresh)
        effect = effect_of_all(migration.operations, app, state, fresh)
        if migration.initial:
            initial[app] = fresh
        described_migrations.append(
            {
                "app": app,
                "name": migration.name,
                "effect": effect,
                "reversible": all(reversible(operation) for operation in migration.operations),
                "loses": lost,
                "icu": any(needs_icu(operation) for operation in migration.operations),
                "operations": [operation.describe() for operation in migration.operations],
                "dependencies": sorted(parent.key for parent in graph.node_map[key].parents),
                "replaces": [list(replaced) for replaced in migration.replaces],
            }
        )
    apps = sorted({app for app, _ in order})
    return {
        "migrations": described_migrations,
        "heads": {app: sorted(name for _, name in graph.leaf_nodes(app)) for app in apps},
        "conflicts": {app: sorted(names) for app, names in loader.detect_conflicts().items()},
    }


def settings(salt: str) -> dict[str, Any]:
    from django.apps import apps
    from django.conf import settings as project

    database = project.DATABASES.get("default", {})
    cors = apps.is_installed("corsheaders")
    key = hashlib.sha256(f"{salt}{project.SECRET_KEY}".encode()).hexdigest()
    return {
        "engine": str(database.get("ENGINE", "")),
        "host": str(database.get("HOST") or ""),
        "port": str(database.get("PORT") or ""),
        "name": str(database.get("NAME") or ""),
        "user": str(database.get("USER") or ""),
        "secret_key_sha256": key,
        "debug": bool(project.DEBUG),
        "allowed_hosts": [str(host) for host in project.ALLOWED_HOSTS],
        "cors_allowed_origins": [str(o) for o in getattr(project, "CORS_ALLOWED_ORIGINS", ())]
        if cors
        else None,
        "cors_allow_all": bool(
            getattr(project, "CORS_ALLOW_ALL_ORIGINS", getattr(project, "CORS_ORIGIN_ALLOW_ALL", False))
        ),
        "static_root": str(project.STATIC_ROOT or ""),
        "media_root": str(project.MEDIA_ROOT or ""),
    }


def volumes(queries: str) -> dict[str, Any]:
    """What each query finds for each of its spans, or in one line why it finds nothing."""
    from django.db import connection

    connection.ensure_connection()  # else each of them would say the same
    return {"counted": [counted(connection, sql, spans) for sql, spans in json.loads(queries)]}


def counted(connection: Any, sql: str, spans: Iterable[tuple[str, str]]) -> dict[str, Any]:
    from django.db import Error

    try:
        return {"found": [one_number(connection, sql, *span) for span in spans], "error": None}
    except (Error, ValueError) as error:
        return {"found": [], "error": " ".join(str(error).split())[:300]}


def one_number(connection: Any, sql: str, since: str, until: str) -> int:
    """By a query that can change nothing and is given up after a time."""
    from django.db import transaction

    span = {"since": datetime.fromisoformat(since), "until": datetime.fromisoformat(until)}
    alone: Any = transaction.atomic()
    with alone, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute(f"SET LOCAL statement_timeout = {1000 * QUERY_SECONDS}")  # SET takes no bound value
        cursor.execute(sql, span)
        rows = cursor.fetchmany(2)
    if len(rows) != 1 or len(rows[0]) != 1:
        found = "no row" if not rows else "several rows" if len(rows) > 1 else f"{len(rows[0])} columns"
        raise ValueError(f"it gives {found}, but one number is asked for")
    number = rows[0][0]
    is_number = isinstance(number, (int, float, Decimal)) and not isinstance(number, bool)
    if not is_number or not math.isfinite(number) or number < 0 or number != int(number):
        raise ValueError(f"it gives {number!r}, but a whole number of at least 0 is asked for")
    return int(number)


def as_manage_py(answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, given where manage.py would run its command: after what it does to paths and variables."""
    import django
    from django.core import management

    answers: list[dict[str, Any]] = []

    def execute(*_: Any, **__: Any) -> None:
        django.setup()
        answers.append(answer())

    management.execute_from_command_line = execute
    sys.argv = ["manage.py", "check"]
    runpy.run_path("manage.py", run_name="__main__")
    if not answers:
        raise SystemExit("manage.py never calls Django's execute_from_command_line.")
    return answers[0]


def main(arguments: list[str]) -> int:
    answer: Callable[[], dict[str, Any]]
    if arguments == ["migrations"]:
        answer = migrations
    elif len(arguments) == 2 and arguments[0] == "settings":
        answer = lambda: settings(arguments[1])  # noqa: E731
    elif len(arguments) == 2 and arguments[0] == "volumes":
        answer = lambda: volumes(arguments[1])  # noqa: E731
    else:
        print(__doc__, file=sys.stderr)
        return 2
    with os.fdopen(os.dup(1), "w") as stdout:
        os.dup2(2, 1)
        try:
            found = as_manage_py(answer)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the project's own code may raise anything
            sys.stdout.flush()  # so that what ended it is the last line
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
        json.dump(found, stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
