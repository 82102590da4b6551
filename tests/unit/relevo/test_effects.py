"""What each of Django's operations does to the version that still runs while it is applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib.postgres import operations as postgres
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import Now

from components.release import django_facts

# Django accepts any value; its type stubs know only the mark for none.
zero: Any = 0


@pytest.fixture(scope="module", autouse=True)
def a_django() -> None:
    if not settings.configured:
        settings.configure(INSTALLED_APPS=["django.contrib.contenttypes"], DATABASES={})
        django.setup()


def existing() -> list[Operation]:
    """What earlier migrations made."""
    return [
        migrations.CreateModel("Owner", [("id", models.BigAutoField(primary_key=True))]),
        migrations.CreateModel(
            "Thing",
            [
                ("id", models.AutoField(primary_key=True)),
                ("name", models.CharField(max_length=50)),
                ("code", models.CharField(max_length=9, unique=True)),
                ("note", models.TextField(null=True)),
                ("count", models.IntegerField(default=zero)),
                ("price", models.DecimalField(max_digits=8, decimal_places=2)),
                ("made", models.DateTimeField(db_default=Now())),
                ("owner", models.ForeignKey("shop.Owner", models.CASCADE)),
                ("owners", models.ManyToManyField("shop.Owner")),
                ("owners_since", models.ManyToManyField("shop.Owner", through="shop.Since")),
            ],
        ),
        migrations.CreateModel("Report", [("id", models.AutoField(primary_key=True))], {"managed": False}),
        migrations.AddIndex("thing", models.Index(fields=["name"], name="by_name")),
    ]


class Homemade(migrations.AddIndex):
    """Looks harmless, but may do anything."""


def nothing(*_: object) -> None: ...


WIDE = models.CharField(max_length=99, primary_key=True)
CASCADE, PROTECT = models.CASCADE, models.PROTECT
unique_name = models.UniqueConstraint(fields=["name"], name="one_name")
TABLE: list[tuple[str, list[Operation]]] = [
    ("additive", [migrations.CreateModel("New", [("id", models.AutoField(primary_key=True))])]),
    ("additive", [migrations.AddField("thing", "more", models.TextField(null=True))]),
    ("additive", [migrations.AddField("thing", "more", models.TextField(db_default=""))]),
    (
        "additive",
        [migrations.AddField("thing", "more", models.CharField(max_length=5, null=True, unique=True))],
    ),
    ("additive", [migrations.AddField("thing", "owners", models.ManyToManyField("shop.Owner"))]),
    (
        "additive",
        [
            migrations.AddField(
                "thing",
                "double",
                models.GeneratedField(
                    expression=models.F("count") * 2, output_field=models.IntegerField(), db_persist=True
                ),
            )
        ],
    ),
    # Django drops the default from the database once the column is filled: old code's INSERT lacks it.
    ("breaking", [migrations.AddField("thing", "more", models.TextField(default=""))]),
    (
        "breaking",
        [migrations.AddField("thing", "more", models.TextField(default=""), preserve_default=False)],
    ),
    ("breaking", [migrations.AddField("thing", "more", models.TextField(db_default="", unique=True))]),
    ("breaking", [migrations.RemoveField("thing", "note")]),
    ("breaking", [migrations.RenameField("thing", "note", "remark")]),
    ("breaking", [migrations.RenameModel("Thing", "Asset")]),
    ("breaking", [migrations.DeleteModel("Thing")]),
    ("breaking", [migrations.AlterModelTable("thing", "things")]),
    ("breaking", [migrations.AlterUniqueTogether("thing", {("name", "code")})]),
    ("breaking", [migrations.AlterOrderWithRespectTo("thing", "owner")]),
    ("breaking", [migrations.AddConstraint("thing", unique_name)]),
    (
        "breaking",
        [
            postgres.AddConstraintNotValid(
                "thing", models.CheckConstraint(condition=models.Q(count__gt=0), name="c")
            )
        ],
    ),
    ("additive", [migrations.RemoveConstraint("thing", "one_name")]),
    ("additive", [migrations.AddIndex("thing", models.Index(fields=["count"], name="by_count"))]),
    ("additive", [postgres.AddIndexConcurrently("thing", models.Index(fields=["count"], name="by_count"))]),
    ("additive", [migrations.RemoveIndex("thing", "by_name")]),
    ("additive", [migrations.RenameIndex("thing", new_name="names", old_name="by_name")]),
    ("additive", [migrations.AlterModelOptions("thing", {"verbose_name": "something"})]),
    ("additive", [migrations.AlterModelTableComment("thing", "a thing")]),
    ("additive", [migrations.AlterModelManagers("thing", [])]),
    ("additive", [postgres.TrigramExtension()]),
    ("additive", [postgres.CreateExtension("ltree")]),
    ("additive", [postgres.BtreeGistExtension()]),
    ("opaque", [migrations.RunPython(nothing)]),
    ("opaque", [migrations.RunSQL("SELECT 1")]),
    ("opaque", [Homemade("thing", models.Index(fields=["count"], name="by_count"))]),
    ("opaque", [postgres.RemoveCollation("german", "de")]),
    # only Python changes
    (
        "additive",
        [migrations.AlterField("thing", "name", models.CharField("Name", max_length=50, blank=True))],
    ),
    (
        "additive",
        [migrations.AlterField("thing", "name", models.CharField(max_length=50, choices=[("a", "A")]))],
    ),
    ("additive", [migrations.AlterField("thing", "name", models.CharField(max_length=50, default="x"))]),
    ("additive", [migrations.AlterField("thing", "owner", models.ForeignKey("shop.Owner", PROTECT))]),
    ("additive", [migrations.AlterField("thing", "name", models.SlugField(max_length=50, db_index=False))]),
    # wider
    ("additive", [migrations.AlterField("thing", "name", models.CharField(max_length=80))]),
    ("additive", [migrations.AlterField("thing", "name", models.CharField())]),
    ("additive", [migrations.AlterField("thing", "name", models.TextField())]),
    ("additive", [migrations.AlterField("thing", "name", models.CharField(max_length=50, null=True))]),
    ("additive", [migrations.AlterField("thing", "name", models.CharField(max_length=50, db_index=True))]),
    ("additive", [migrations.AlterField("thing", "name", models.CharField(max_length=50, db_default=""))]),
    ("additive", [migrations.AlterField("thing", "code", models.CharField(max_length=9))]),
    ("additive", [migrations.AlterField("thing", "count", models.BigIntegerField(default=zero))]),
    ("additive", [migrations.AlterField("thing", "id", models.BigAutoField(primary_key=True))]),
    (
        "additive",
        [migrations.AlterField("thing", "price", models.DecimalField(max_digits=10, decimal_places=2))],
    ),
    (
        "additive",
        [migrations.AlterField("thing", "owner", models.ForeignKey("shop.Owner", CASCADE, null=True))],
    ),
    (
        "additive",
        [
            migrations.AlterField(
                "thing", "owner", models.ForeignKey("shop.Owner", CASCADE, db_constraint=False)
            )
        ],
    ),
    # narrower, or something else
    ("breaking", [migrations.AlterField("thing", "name", models.CharField(max_length=20))]),
    ("breaking", [migrations.AlterField("thing", "name", models.CharField(max_length=50, unique=True))]),
    ("breaking", [migrations.AlterField("thing", "note", models.TextField())]),
    ("breaking", [migrations.AlterField("thing", "note", models.TextField(null=True, db_column="remark"))]),
    ("breaking", [migrations.AlterField("thing", "note", models.CharField(max_length=50, null=True))]),
    ("breaking", [migrations.AlterField("thing", "count", models.SmallIntegerField(default=zero))]),
    ("breaking", [migrations.AlterField("thing", "count", models.TextField())]),
    (
        "breaking",
        [migrations.AlterField("thing", "price", models.DecimalField(max_digits=8, decimal_places=3))],
    ),
    ("breaking", [migrations.AlterField("thing", "made", models.DateTimeField())]),
    ("breaking", [migrations.AlterField("thing", "owner", models.ForeignKey("shop.Thing", CASCADE))]),
    ("opaque", [migrations.AlterField("thing", "name", models.CharField(max_length=50, db_collation="C"))]),
    # nobody has used a model that the same migration makes
    (
        "additive",
        [
            migrations.CreateModel("New", [("id", models.AutoField(primary_key=True))]),
            migrations.AddField("new", "size", models.IntegerField(default=zero)),
            migrations.AddConstraint("new", models.UniqueConstraint(fields=["size"], name="one_size")),
            migrations.RenameModel("New", "Newer"),
            migrations.RenameField("newer", "size", "width"),
        ],
    ),
    (
        "opaque",
        [
            migrations.CreateModel("New", [("id", models.AutoField(primary_key=True))]),
            migrations.RunPython(nothing),
        ],
    ),
    # the worst decides
    ("breaking", [migrations.RunPython(nothing), migrations.RemoveField("thing", "note")]),
    # the database of these is somebody else's
    ("additive", [migrations.AddField("report", "total", models.IntegerField())]),
    ("additive", [migrations.DeleteModel("Report")]),
    # only what happens in the database counts
    (
        "additive",
        [migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("thing", "note")])],
    ),
    ("breaking", [migrations.SeparateDatabaseAndState([migrations.RemoveField("thing", "note")])]),
    ("opaque", [migrations.SeparateDatabaseAndState([migrations.RunSQL("SELECT 1")])]),
    ("additive", []),
]


def written(operations: Sequence[Operation]) -> str:
    return "; ".join(type(operation).__name__ for operation in operations) or "nothing"


@pytest.mark.parametrize(
    ("effect", "operations"), TABLE, ids=[written(operations) for _, operations in TABLE]
)
def test_effect_on_the_version_that_runs(effect: str, operations: list[Operation]) -> None:
    state = ProjectState()
    for operation in existing():
        operation.state_forwards("shop", state)
    if any(isinstance(operation, migrations.RemoveConstraint) for operation in operations):
        migrations.AddConstraint("thing", unique_name).state_forwards("shop", state)
    assert django_facts.effect_of_all(operations, "shop", state, set()) == effect


@pytest.mark.parametrize(
    ("gone", "operations"),
    [
        (["Remove field note from thing"], [migrations.RemoveField("thing", "note")]),
        (["Delete model Thing"], [migrations.DeleteModel("Thing")]),
        (
            ["Remove field note from thing"],
            [migrations.SeparateDatabaseAndState([migrations.RemoveField("thing", "note")])],
        ),
        ([], [migrations.SeparateDatabaseAndState([], [migrations.RemoveField("thing", "note")])]),
        (
            ["Remove field note from item"],
            [migrations.RenameModel("Thing", "Item"), migrations.RemoveField("item", "note")],
        ),
        (
            [],
            [migrations.RenameField("thing", "note", "remark"), migrations.AlterField("thing", "name", WIDE)],
        ),
        ([], [migrations.CreateModel("Word", [("id", WIDE)]), migrations.DeleteModel("Word")]),
        ([], [migrations.DeleteModel("Report")]),  # of an unmanaged table
        ([], [migrations.RemoveField("thing", "owners_since")]),  # in a table between that stays
        (["Remove field owners from thing"], [migrations.RemoveField("thing", "owners")]),
        (  # see test_lost_values.py
            ["Alter field note on thing"],
            [migrations.AlterField("thing", "note", models.CharField(max_length=20))],
        ),
        ([], [migrations.RunPython(nothing)]),
    ],
)
def test_what_is_dropped_or_cut_with_its_values(gone: list[str], operations: list[Operation]) -> None:
    """Reversed, columns and tables come back, and not what was in them."""
    state = ProjectState()
    for operation in existing():
        operation.state_forwards("shop", state)
    assert django_facts.loses(operations, "shop", state, set()) == gone
    assert ("shop", "thing") in state.models  # is not changed


@pytest.mark.parametrize(
    ("reversible", "operation"),
    [
        (True, migrations.RemoveField("thing", "note")),
        (False, migrations.RunPython(nothing)),
        (True, migrations.RunPython(nothing, migrations.RunPython.noop)),
        (False, migrations.RunSQL("SELECT 1")),
        (True, migrations.RunSQL("SELECT 1", migrations.RunSQL.noop)),
        (False, migrations.SeparateDatabaseAndState([migrations.RunPython(nothing)])),
        (True, migrations.SeparateDatabaseAndState(state_operations=[migrations.RunPython(nothing)])),
    ],
)
def test_what_can_be_reversed(reversible: bool, operation: Operation) -> None:
    assert django_facts.reversible(operation) is reversible


german = models.CharField(max_length=9, db_collation="de-x-icu")


@pytest.mark.parametrize(
    ("icu", "operation"),
    [
        (True, postgres.CreateCollation("german", provider="icu", locale="de")),
        (False, postgres.CreateCollation("german", locale="de_DE.utf8")),
        (True, migrations.AddField("thing", "word", german)),
        (True, migrations.AlterField("thing", "name", models.TextField(db_collation="unicode"))),
        (True, migrations.AddField("thing", "words", ArrayField(german))),
        (
            True,
            migrations.CreateModel("Word", [("id", models.BigAutoField(primary_key=True)), ("w", german)]),
        ),
        (True, migrations.SeparateDatabaseAndState([migrations.AddField("thing", "word", german)])),
        (False, migrations.SeparateDatabaseAndState([], [migrations.AddField("thing", "word", german)])),
        (False, migrations.AddField("thing", "word", models.TextField(db_collation="C"))),
        (False, migrations.RemoveField("thing", "name")),
        (False, migrations.RunPython(nothing)),
    ],
)
def test_what_needs_a_postgresql_with_icu(icu: bool, operation: Operation) -> None:
    assert django_facts.needs_icu(operation) is icu
