"""Which migrations are applied as far as the record knows, where the database cannot be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from components.release.plan import Key
from components.release.record import Entry

CHANGING = ("rewind", "migrate")


def applied(entries: Iterable[Entry]) -> frozenset[Key] | None:
    """What the last step that told of it has found or made; None where none has, or it is in doubt since.

    In doubt is what a step has left that changes the schema and did not come to its end, and a restore.
    """
    known: frozenset[Key] | None = None
    doubtful = False
    for entry in entries:
        if entry.event.startswith("restore"):
            known = None
        elif entry.event == "step started" and entry.step in CHANGING:
            doubtful = True
        elif entry.event in ("step done", "step failed") and "schema" in entry.data:
            known, doubtful = frozenset(_key(name) for name in entry.data["schema"]), False
    return None if doubtful else known


def _key(name: str) -> Key:
    app, _, migration = name.partition(".")
    return app, migration
