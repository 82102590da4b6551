"""The facts about the schema that a step decides on, read once, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Self

from components.release import record, recorded_schema
from components.release.context import Context
from components.release.history import known_to
from components.release.manifest import Manifest, Migration
from components.release.plan import Key, breaking, pending, written
from components.release.record import Release
from components.release.rollback import Decision, decide
from components.target import Artefact, TargetError


@dataclass(frozen=True, kw_only=True)
class Schema:
    """`target` is what is to be released; `earlier` and `unread` as of `Context.earlier`."""

    target: Manifest
    applied: Set[Key]
    earlier: tuple[Artefact, ...]
    releases: tuple[Release, ...]
    unread: TargetError | None
    renamed: Mapping[Key, Key]  # as of `recorded_schema.renamed`

    @classmethod
    def read(cls, context: Context, target: Manifest) -> Self:
        """As the database has it. Raises `TargetError`."""
        return cls.of(context, target, context.operations.applied_migrations())

    @classmethod
    def of(cls, context: Context, target: Manifest, applied: Set[Key]) -> Self:
        """Raises `TargetError`."""
        # Each artefact that is read is verified, file by file: only where one has something to tell.
        earlier, unread = context.earlier() if applied - known_to(target) else ([], None)
        entries = record.parse(context.operations.read_record())
        return cls(
            target=target,
            applied=applied,
            earlier=tuple(earlier),
            releases=tuple(record.releases(entries)),
            unread=unread,
            renamed=recorded_schema.renamed(entries, applied),
        )

    def way_back(self) -> Decision:
        """Raises `TargetError` where it would be refused, but an artefact that could not be read may help."""
        decision = decide(self.target, self.applied, self.earlier, self.releases, self.renamed)
        if decision.refusal and self.unread:
            raise self.unread
        return decision

    def pending(self) -> tuple[Migration, ...]:
        return pending(self.target, self.applied)

    def names(self) -> list[str]:
        """What is applied, for the record."""
        return written(self.applied)

    def breaks(self, *, accepted: str | None) -> str | None:
        """Why `pending` may not be applied; None: it may. `accepted` as of `plan.breaking`."""
        names = (f"{app}.{name}" for app, name in self._by_their_own_names())
        if not self.applied or record.nothing_runs(self.releases, names):
            return None
        return breaking(self.target, self.pending(), accepted=accepted)

    def _by_their_own_names(self) -> Set[Key]:
        """What is applied, without what only stands for a squashed migration, which Django records too."""
        squashes = [migration for migration in self.target.migrations if migration.key in self.applied]
        return self.applied - {key for squash in squashes for key in squash.replaces}
