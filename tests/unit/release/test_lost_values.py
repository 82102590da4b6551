"""What another type of column cuts is what PostgreSQL cuts by Django's statements, value by value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import ConnectionHandler, DataError, connections, migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg.conninfo import conninfo_to_dict

from components.release import django_facts

LONG, PRECISE, WHEN = "far too long", "12.345", "2026-11-29 10:11:12+00"
CHANGES = [
    (models.TextField(), models.CharField(max_length=5), LONG),
    (models.CharField(max_length=20), models.TextField(), LONG),
    (models.CharField(max_length=20), models.CharField(max_length=5), LONG),
    (models.CharField(max_length=20), models.SlugField(max_length=5), LONG),
    (models.CharField(max_length=20), models.SlugField(max_length=20), LONG),
    (models.BigIntegerField(), models.SmallIntegerField(), "70000"),
    (models.SmallIntegerField(), models.BigIntegerField(), "7"),
    (models.IntegerField(), models.DecimalField(max_digits=3, decimal_places=0), "70000"),
    (models.IntegerField(), models.CharField(max_length=2), "70000"),
    (models.IntegerField(), models.CharField(max_length=20), "70000"),
    (models.IntegerField(), models.TextField(), "70000"),
    (models.IntegerField(), models.BooleanField(), "70000"),
    (models.BooleanField(), models.IntegerField(), "true"),
    (models.SlugField(max_length=20), models.FileField(max_length=5), LONG),
    (models.UUIDField(), models.CharField(max_length=36), "5e" * 16),
    (models.UUIDField(), models.CharField(max_length=32), "5e" * 16),
    (models.DecimalField(max_digits=8, decimal_places=3), models.IntegerField(), PRECISE),
    (
        models.DecimalField(max_digits=8, decimal_places=3),
        models.DecimalField(max_digits=8, decimal_places=2),
        PRECISE,
    ),
    (
        models.DecimalField(max_digits=5, decimal_places=3),
        models.DecimalField(max_digits=9, decimal_places=3),
        PRECISE,
    ),
    (models.FloatField(), models.IntegerField(), PRECISE),
    (models.FloatField(), models.TextField(), PRECISE),
    (models.DateTimeField(), models.DateField(), WHEN),
    (models.DateField(), models.DateTimeField(), "2026-11-29"),
    (
        ArrayField(models.CharField(max_length=20)),
        ArrayField(models.SlugField(max_length=5)),
        f'{{"{LONG}"}}',
    ),
    (ArrayField(models.CharField(max_length=20)), ArrayField(models.TextField()), f'{{"{LONG}"}}'),
]


@pytest.fixture(scope="module")
def connection(new_database: Callable[[], str]) -> Iterator[BaseDatabaseWrapper]:
    if not settings.configured:
        settings.configure(INSTALLED_APPS=["django.contrib.contenttypes"], DATABASES={})
        django.setup()
    server = conninfo_to_dict(new_database())
    names = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    where = {name: server[key] for name, key in names.items() if key in server}
    made = ConnectionHandler({"default": {"ENGINE": "django.db.backends.postgresql", **where}})["default"]
    before, connections["default"] = connections["default"], made
    yield made
    connections["default"] = before
    made.close()


@pytest.mark.parametrize(
    ("before", "after", "value"),
    CHANGES,
    ids=[f"{old.get_internal_type()} to {new.get_internal_type()} {value}" for old, new, value in CHANGES],
)
def test_what_is_cut_is_what_the_database_cuts(
    connection: BaseDatabaseWrapper, before: Any, after: Any, value: str
) -> None:
    made = [migrations.CreateModel("Thing", [("id", models.AutoField(primary_key=True)), ("value", before)])]
    change = migrations.AlterField("thing", "value", after)
    back = migrations.AlterField("thing", "value", before)

    def read() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT value::text FROM shop_thing")
            return cursor.fetchone()[0]

    state = run(connection, ProjectState(), *made)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO shop_thing (value) VALUES ('{value}')")
        whole = read()
        try:
            state = run(connection, state, change)
        except DataError:  # nothing has changed
            cut = False
        else:
            try:
                state = run(connection, state, back)
                cut = read() != whole
            except DataError:  # what is left of it is no value of the old type
                cut = True
    finally:
        run(connection, state, migrations.DeleteModel("Thing"))
    known = ProjectState()
    made[0].state_forwards("shop", known)
    assert django_facts.loses([change], "shop", known, set()) == [change.describe()] * cut


def run(connection: BaseDatabaseWrapper, state: ProjectState, *operations: Operation) -> ProjectState:
    """The state after them; none of them is done if one fails."""
    editor: Any = connection.schema_editor()  # the stubs know none
    with editor:
        for operation in operations:
            after = state.clone()
            operation.state_forwards("shop", after)
            operation.database_forwards("shop", editor, state, after)
            state = after
    return state
