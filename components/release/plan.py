"""What a release will do to the schema, and whether the version that still runs can live with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from components.release.manifest import Manifest, Migration

Key = tuple[str, str]


def written(keys: Iterable[Key]) -> list[str]:
    """As the record has them: "app.name", sorted."""
    return sorted(f"{app}.{name}" for app, name in keys)


def pending(manifest: Manifest, applied: Set[Key]) -> tuple[Migration, ...]:
    """The migrations that are still to be applied, in order."""
    return tuple(migration for migration in manifest.migrations if not is_applied(migration, applied))


def breaking(manifest: Manifest, pending: Sequence[Migration], *, accepted: str | None) -> str | None:
    """Why a version that runs meanwhile forbids `pending`; None: it does not.

    `accepted` is the version whose breaking migrations the stack's configuration accepts.
    """
    names = [str(migration) for migration in pending if migration.effect == "breaking"]
    if not names or accepted == manifest.version:
        return None
    return (
        f"migrations of {manifest.version} break the version that still runs ({', '.join(names)}), "
        f"but both run while instances are replaced; release them in compatible steps, or accept failed "
        f"requests by relevo:acceptIncompatible: {manifest.version}"
    )


def is_applied(migration: Migration, applied: Set[Key]) -> bool:
    """A squashed migration is when all that it replaces is, whatever its own row says (MigrationLoader)."""
    return applied >= set(migration.replaces or (migration.key,))
