"""Which migrations are applied as far as the record knows, where the database cannot be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from components.release.plan import Key
from components.release.record import Entry

CHANGING = ("rewind", "migrate")
TELLING = ("step done", "step failed", "restore done")


def applied(entries: Iterable[Entry]) -> frozenset[Key] | None:
    """What the last step or restore that told of it has found or made; None where it is not known.

    In doubt is what a step has left that changes the schema and did not come to its end, and such a restore.
    """
    known: frozenset[Key] | None = None
    doubtful = False
    for entry in entries:
        if entry.event in TELLING and "schema" in entry.data:
            known, doubtful = frozenset(_key(name) for name in entry.data["schema"]), False
        elif entry.event.startswith("restore"):
            known = None
        elif entry.event == "step started" and entry.step in CHANGING:
            doubtful = True
    return None if doubtful else known


def renamed(entries: Iterable[Entry], applied: Set[Key]) -> dict[Key, Key]:
    """Rows of django_migrations that have another app's name since: old → new, as far as that still holds.

    An app is renamed by an UPDATE: all rows of one app are gone at once, and another has their names. No
    rewind does that. Where an UPDATE has undone it, nothing was renamed.
    """
    found: dict[Key, Key] = {}
    for before, now in _changes(entries, applied):
        gone, come = _by_app(before - now), _by_app(now - before)
        for app in gone.keys() - _by_app(now).keys():
            for other in (other for other, names in come.items() if names >= gone[app]):
                pairs = {(app, name): (other, name) for name in gone[app]}
                found |= {old: new for old, new in pairs.items() if found.get(new) != old}
        found = {old: new for old, new in found.items() if old not in now and new in now}
    return found


def _changes(entries: Iterable[Entry], applied: Set[Key]) -> Iterator[tuple[Set[Key], Set[Key]]]:
    """What two in succession have told; `applied` comes last. What was restored has nothing before it."""
    known: Set[Key] | None = None
    for entry in entries:
        if entry.event.startswith("restore"):
            known = None
        if entry.event in TELLING and "schema" in entry.data:
            now = frozenset(_key(name) for name in entry.data["schema"])
            yield (now if known is None else known), now
            known = now
    yield (applied if known is None else known), applied


def _by_app(keys: Set[Key]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for app, name in keys:
        found.setdefault(app, set()).add(name)
    return found


def _key(name: str) -> Key:
    app, _, migration = name.partition(".")
    return app, migration
