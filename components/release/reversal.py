"""By which `migrate` commands an artefact reverses migrations, and nothing that must stay. Pure."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

from components.release.manifest import Manifest, Migration
from components.release.plan import Key, is_applied

ZERO = "zero"


@dataclass(frozen=True, kw_only=True)
class Reversal:
    """`commands` are (app, name or "zero") and `reverses` what they reverse, both in order."""

    commands: tuple[Key, ...]
    reverses: tuple[Key, ...]
    rows: frozenset[Key]  # `reverses`, with what a squashed one of them stands for instead of its own name


class Impossible(Exception):
    """Why the artefact has no such commands, as the end of a sentence about the migrations."""


def reversal(
    manifest: Manifest, applied: Set[Key], unwanted: Collection[Key], *, surplus: Set[Key]
) -> Reversal:
    """Commands that reverse what is `unwanted`, and besides at most other `surplus`.

    For each it is the command that reverses least. Raises `Impossible`.
    """
    graph = Graph(manifest, applied)
    if graph.partly_applied:
        raise Impossible(
            f"but {manifest.version} has {_names(graph.partly_applied)}, which is partly applied"
        )
    wanted_gone = {graph.node_of(key) for key in unwanted}
    if joined := sorted(key for key in wanted_gone if not graph.stands_for(key) <= surplus):
        raise Impossible(f"but {manifest.version} has {_names(joined)} for them and for what must stay")
    if lasting := sorted(key for key in wanted_gone if not graph.nodes[key].reversible):
        raise Impossible(f"of which {_names(lasting)} cannot be reversed")
    allowed = {
        key
        for key, migration in graph.nodes.items()
        if migration.reversible and graph.stands_for(key) <= surplus
    }
    staying = graph.applied - wanted_gone
    commands: list[Key] = []
    gone: dict[Key, None] = {}
    for key in reversed(graph.nodes):  # what depends on others comes first
        if key in wanted_gone and key not in gone:
            command, swept = _least(graph, key, staying, allowed)
            commands.append(command)
            gone.update(dict.fromkeys(swept))
    rows = frozenset(row for key in gone for row in graph.stands_for(key))
    return Reversal(commands=tuple(commands), reverses=tuple(gone), rows=rows)


def _least(graph: Graph, key: Key, staying: Set[Key], allowed: Set[Key]) -> tuple[Key, list[Key]]:
    """The command that reverses `key` and least else, with what it reverses, all of which is `allowed`."""
    # Also of another app on which it depends: that may leave alone what is beside it in its own.
    apps = sorted({app for app, _ in graph.nodes}, key=lambda app: app != key[0])
    commands = [command for app in apps for command in graph.commands(app, staying)]
    ways = [(command, swept) for command in commands if key in (swept := graph.swept(command))]
    good = [(command, swept) for command, swept in ways if allowed >= set(swept)]
    if good:
        return min(good, key=lambda way: (way[0][0] != key[0], len(way[1])))
    if not ways:
        raise Impossible(f"of which {_names([key])} has no command that reverses it alone")
    others = sorted(set(min((swept for _, swept in ways), key=len)) - allowed)
    lasting = [other for other in others if not graph.nodes[other].reversible]
    raise Impossible(
        f"of which {_names([key])} is reversed only together with {_names(lasting or others)}, which "
        f"{'cannot be' if lasting else 'must stay'}"
    )


class Graph:
    """The migrations of one artefact as Django sees them beside what a database has applied.

    `replaces` and what it does to the graph: "Squashing migrations" in Django's documentation.
    """

    def __init__(self, manifest: Manifest, applied: Set[Key]) -> None:
        self.nodes = {migration.key: migration for migration in manifest.migrations}
        self.applied = {migration.key for migration in manifest.migrations if is_applied(migration, applied)}
        self.partly_applied = sorted(
            migration.key
            for migration in manifest.migrations
            if migration.key not in self.applied and not applied.isdisjoint(migration.replaces)
        )
        self._version = manifest.version
        self._children: dict[Key, list[Key]] = {key: [] for key in self.nodes}
        for migration in manifest.migrations:
            for parent in migration.dependencies:
                self._children.setdefault(parent, []).append(migration.key)

    def node_of(self, key: Key) -> Key:
        """The migration itself, or the squashed one that stands for it. Raises `Impossible`."""
        if key in self.nodes:
            return key
        for squash in self.nodes.values():
            if key in squash.replaces:
                return squash.key
        raise Impossible(f"of which {self._version} does not know {_names([key])}")

    def stands_for(self, key: Key) -> Set[Key]:
        return set(self.nodes[key].replaces) or {key}

    def commands(self, app: str, staying: Set[Key]) -> list[Key]:
        """What can be said to `migrate`: what stays applied of the app, and "zero".

        No name that is the beginning of another one: Django takes it for both, and refuses it.
        """
        names = {name for label, name in self._all_names() if label == app}
        unique = [name for name in names if not any(other.startswith(name) for other in names - {name})]
        return [*((app, name) for name in sorted(unique) if (app, name) in staying), (app, ZERO)]

    def swept(self, command: Key) -> list[Key]:
        """What the command unapplies, what depends on others first (`MigrationExecutor.migration_plan`).

        That is, of what follows the named migration directly in its app, each with all that depends on it.
        """
        app, name = command
        begin = self._roots(app) if name == ZERO else [k for k in self._children[command] if k[0] == app]
        found: set[Key] = set()
        while begin:
            key = begin.pop()
            if key not in found:
                found.add(key)
                begin += self._children[key]
        return [key for key in reversed(self.nodes) if key in found and key in self.applied]

    def _roots(self, app: str) -> list[Key]:
        def is_root(migration: Migration) -> bool:
            return all(parent[0] != app for parent in migration.dependencies)

        return [key for key, migration in self.nodes.items() if key[0] == app and is_root(migration)]

    def _all_names(self) -> Set[Key]:
        replaced = {key for migration in self.nodes.values() for key in migration.replaces}
        return self.nodes.keys() | replaced


def _names(keys: Collection[Key]) -> str:
    return ", ".join(f"{app}.{name}" for app, name in keys)
