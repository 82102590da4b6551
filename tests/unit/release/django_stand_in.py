"""Django's own planning of migrations, over files and rows in memory: only disk and database stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

from django.db.migrations import Migration as DjangoMigration
from django.db.migrations import RunPython, loader
from django.db.migrations.executor import MigrationExecutor

from components.release.manifest import Effect, Manifest, Migration
from components.release.plan import Key
from tests.unit.release.stand_in import manifest

WORSE: tuple[Effect, ...] = ("additive", "opaque", "breaking")


@dataclass(frozen=True)
class File:
    """A migration as it lies on disk."""

    key: Key
    dependencies: tuple[Key, ...] = ()
    effect: Effect = "additive"
    reversible: bool = True
    replaces: tuple[Key, ...] = ()
    run_before: tuple[Key, ...] = ()

    def to_django(self) -> DjangoMigration:
        made = DjangoMigration(self.key[1], self.key[0])
        made.dependencies = list(self.dependencies)
        made.replaces = list(self.replaces)
        made.run_before = list(self.run_before)
        made.operations = [RunPython(RunPython.noop, RunPython.noop if self.reversible else None)]
        return made


Disk = Mapping[Key, File]


class StandInRecorder:
    def __init__(self, rows: set[Key]) -> None:
        self.rows = rows

    def applied_migrations(self) -> dict[Key, Any]:
        return dict.fromkeys(self.rows)


class Loader(loader.MigrationLoader):
    def __init__(self, disk: Disk, rows: set[Key]) -> None:
        self._disk = disk
        with mock.patch.object(loader, "MigrationRecorder", lambda connection: connection):
            super().__init__(StandInRecorder(rows))

    def load_disk(self) -> None:
        self.disk_migrations = {key: file.to_django() for key, file in self._disk.items()}
        self.unmigrated_apps = set()
        self.migrated_apps = {app for app, _ in self._disk}

    def build_graph(self) -> None:
        with mock.patch.object(loader, "MigrationRecorder", lambda connection: connection):
            super().build_graph()


class Database:
    """Rows of django_migrations, changed as `manage.py migrate` of an artefact changes them."""

    def __init__(self, rows: Iterable[Key] = ()) -> None:
        self.rows = set(rows)

    def executor(self, disk: Disk) -> MigrationExecutor:
        made = MigrationExecutor.__new__(MigrationExecutor)
        made.loader = Loader(disk, self.rows)
        return made

    def migrate(self, disk: Disk, *, at_most: int | None = None) -> None:
        """To all heads, or killed after so many migrations."""
        executor = self.executor(disk)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        for migration, backwards in plan[:at_most]:
            assert not backwards
            self.rows.update(migration.replaces or [(migration.app_label, migration.name)])
        if at_most is None or at_most >= len(plan):
            self._note_squashes(executor)

    def plan(self, disk: Disk, app: str, name: str) -> list[DjangoMigration]:
        """What `migrate app name` unapplies. Raises what Django raises; `ValueError` for a way forward."""
        executor = self.executor(disk)
        found = None if name == "zero" else executor.loader.get_migration_by_prefix(app, name).name
        plan = executor.migration_plan([(app, found)])
        if not all(backwards for _, backwards in plan):
            raise ValueError("it would apply something")
        return [migration for migration, _ in plan]

    def unapply(self, migration: DjangoMigration) -> None:
        self.rows.difference_update(migration.replaces)
        self.rows.discard((migration.app_label, migration.name))

    def migrate_back(self, disk: Disk, app: str, name: str, *, at_most: int | None = None) -> list[str]:
        plan = self.plan(disk, app, name)
        for migration in plan[:at_most]:
            self.unapply(migration)
        if at_most is None:
            self._note_squashes(self.executor(disk))
        return [f"{migration.app_label}.{migration.name}" for migration in plan[:at_most]]

    def _note_squashes(self, executor: MigrationExecutor) -> None:
        for key, migration in executor.loader.replacements.items():
            if self.rows.issuperset(migration.replaces):
                self.rows.add(key)


def described(version: str, disk: Disk, built_at: str) -> Manifest:
    """The manifest that django_facts.py makes of it: of Django's graph without a database."""
    graph = Loader(disk, set()).graph
    order: dict[Key, None] = {}
    for leaf in sorted(graph.leaf_nodes()):
        order.update(dict.fromkeys(graph.forwards_plan(leaf)))
    migrations = [
        Migration(
            app=key[0],
            name=key[1],
            effect=disk[key].effect,
            reversible=disk[key].reversible,
            operations=(),
            dependencies=tuple(sorted(parent.key for parent in graph.node_map[key].parents)),
            replaces=disk[key].replaces,
        )
        for key in order
    ]
    made = manifest(version, built_at=built_at)
    return Manifest(**{**vars(made), "migrations": tuple(migrations)})


def squashed(name: str, files: Iterable[File]) -> File:
    """One for a chain of files of an app, as `squashmigrations` makes it; `run_before` is added by hand."""
    files = list(files)
    replaced = tuple(file.key for file in files)
    return File(
        key=(files[0].key[0], name),
        dependencies=tuple(key for file in files for key in file.dependencies if key not in replaced),
        effect=WORSE[max(WORSE.index(file.effect) for file in files)],
        reversible=all(file.reversible for file in files),
        replaces=replaced,
        run_before=tuple(dict.fromkeys(key for file in files for key in file.run_before)),
    )
