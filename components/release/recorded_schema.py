"""Which migrations are applied as far as the record knows, where the database cannot be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable

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


def _key(name: str) -> Key:
    app, _, migration = name.partition(".")
    return app, migration
