"""What the migrations of several artefacts say together of the rows that a database has of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set

from components.release.manifest import Manifest, Migration
from components.release.plan import Key


def known_to(manifest: Manifest) -> Set[Key]:
    return {key for migration in manifest.migrations for key in (migration.key, *migration.replaces)}


class History:
    """`manifests` are newest first. `described` has each migration as the newest has it that has it at all.

    "Squashing migrations" (Django's documentation): a squashed migration first stands beside what it
    replaces, then what it replaced is deleted, then what it says of that. The rows of all of it stay.
    """

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self.described: dict[Key, Migration] = {}
        self._replaces: dict[Key, list[tuple[Key, ...]]] = {}
        migrations = [migration for manifest in manifests for migration in manifest.migrations]
        for migration in migrations:
            self.described.setdefault(migration.key, migration)
            self._replaces.setdefault(migration.key, []).append(migration.replaces)
        for migration in migrations:
            for key in migration.replaces:
                self.described.setdefault(key, migration)

    def known_to(self, manifest: Manifest) -> Set[Key]:
        """Also what its migrations have replaced by what another artefact says."""
        found: set[Key] = set()
        new = set(known_to(manifest))
        while new:
            found |= new
            new = {row for key in new for way in self._replaces.get(key, ()) for row in way} - found
        return found

    def apart(self, key: Key, others: Set[Key]) -> bool:
        """Whether it is described, replaces nothing, and is not built upon any of the others."""
        seen: set[Key] = set()
        new = {key}
        while new:
            if new & others or any(one in self.described and self.described[one].replaces for one in new):
                return False
            seen |= new
            new = {
                parent for one in new if one in self.described for parent in self.described[one].dependencies
            } - seen
        return key in self.described

    def rows(self, applied: Set[Key]) -> Set[Key]:
        """Without those of squashed migrations that Django writes beside the rows of what they replace.

        Such a row says nothing by itself: Django passes over it while something that it replaces is not
        applied. Only where what it replaced was never there is it all there is.
        """
        beside = {
            key
            for key, ways in self._replaces.items()
            if any(way and applied >= set(way) for way in ways) or all(ways)
        }
        return applied - beside
