"""What a release would do to the schema, told in a preview: from the record and the artefacts alone.

Nothing is started for it, and the database is not asked: what is in doubt, preflight finds out.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from components.release import record, recorded_schema, restoration
from components.release.context import Context
from components.release.schema import Schema

PATIENCE = 20.0  # seconds for a login, a record and a registry in the cloud
UNKNOWN = "not known before preflight"


@dataclass(frozen=True)
class Outlook:
    lines: tuple[str, ...]
    refused: bool = False

    def __str__(self) -> str:
        return "\n".join(f"schema: {line}" for line in self.lines)


def in_time(target: str, spec: str) -> Outlook | None:
    """None where nothing would be done. The two are JSON, as of `Context.load`. Raises nothing."""
    found: list[Outlook | None] = []
    asking = threading.Thread(target=lambda: found.append(_told(target, spec)), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if not found:
        return Outlook((f"{UNKNOWN}: record or registry did not answer in {PATIENCE:.0f} s",))
    return found[0]


def _told(target: str, spec: str) -> Outlook | None:
    try:
        return of(Context.load(target, spec))
    except Exception as fault:  # noqa: BLE001 - a preview must not fail for what it only tells
        return Outlook((f"{UNKNOWN}: {' '.join(str(fault).split())[:300] or type(fault).__name__}",))


def of(context: Context) -> Outlook | None:
    """Raises what the target does where it cannot be read."""
    entries = record.parse(context.operations.read_record())
    if begun := restoration.unfinished(entries):
        return Outlook((f"REFUSED: {restoration.doubt(begun, context.stack)}",), refused=True)
    newest = record.current(record.releases(entries))
    if newest is not None and (newest.trigger, newest.verdict) == (context.trigger, "succeeded"):
        return None
    applied = recorded_schema.applied(entries) if newest else frozenset()
    if applied is None:
        return Outlook((f"{UNKNOWN}: the record does not say what is applied",))
    manifest = context.operations.artefact(context.spec.image).manifest
    schema = Schema.of(context, manifest, applied)
    decision = schema.way_back()
    if decision.refusal:
        return Outlook((f"REFUSED: {decision.refusal}",), refused=True)
    pending = [f"migrate applies {migration} ({migration.effect})" for migration in schema.pending()]
    return Outlook((*decision.lines(), *(pending or ["nothing to migrate"])))
