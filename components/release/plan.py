"""What a release will do to the schema, and whether the version that still runs can live with it. Pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from components.release.manifest import Manifest, Migration

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Migrations to apply, in order, and why they may not be (None: they may)."""

    pending: tuple[Migration, ...]
    refusal: str | None


def plan(manifest: Manifest, applied: Set[Key], *, accepted: str | None) -> Plan:
    """`accepted` is the version whose breaking migrations the stack's configuration accepts.

    On a database without any migration nothing runs yet, so nothing can break.
    """
    pending = tuple(migration for migration in manifest.migrations if not _is_applied(migration, applied))
    breaking = [str(migration) for migration in pending if migration.effect == "breaking"]
    if not applied or not breaking or accepted == manifest.version:
        return Plan(pending=pending, refusal=None)
    return Plan(
        pending=pending,
        refusal=(
            f"migrations of {manifest.version} break the version that still runs ({', '.join(breaking)}), "
            f"but both run while instances are replaced; release them in compatible steps, or accept failed "
            f"requests by relevo:acceptIncompatible: {manifest.version}"
        ),
    )


def _is_applied(migration: Migration, applied: Set[Key]) -> bool:
    """A squashed migration counts as applied when all that it replaces is (Django's MigrationLoader)."""
    replaced = bool(migration.replaces) and all(key in applied for key in migration.replaces)
    return migration.key in applied or replaced
