"""Whether an artefact can run on the schema that the database has, or after which rewind. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from components.release.history import History, known_to
from components.release.manifest import Manifest
from components.release.plan import Key, pending
from components.release.record import Release, backup_without, is_older_than, last_good
from components.release.reversal import Impossible, reversal
from components.target import Artefact

RISK = "requests may fail from then until the last instance is replaced"


@dataclass(frozen=True, kw_only=True)
class Rewind:
    """Migrations to be reversed before the older artefact can run, by an artefact that knows them."""

    image: str  # by which `commands` are run
    version: str
    commands: tuple[Key, ...]  # (app, name or "zero") for `migrate`, in this order
    reverses: tuple[str, ...]  # "app.name", what depends on others first
    lost: tuple[str, ...] = ()  # what comes back without its values, as "app.name (Remove field …)"
    backup: str | None = None  # which has these values; None: the record does not tell

    def __str__(self) -> str:
        commands = ", then ".join(f"migrate {app} {name}" for app, name in self.commands)
        lost = f"; {self.loss}" if self.lost else ""
        return f"{self.version} reverses {', '.join(self.reverses)} ({commands}), and {RISK}{lost}"

    @property
    def loss(self) -> str:
        """What `lost` comes to, with the remedy."""
        backup = self.backup or "taken before they were applied"
        return (
            f"what {', '.join(self.lost)} drops or cuts stays LOST: its values are in the backup "
            f"{backup} alone, which relevo restore brings back (rows written since go)"
        )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to become of migrations that the artefact does not know.

    Neither `rewind` nor `refusal`: it runs on the schema as it is. `left_applied` only add to the schema;
    `left_behind` are of apps that the artefact has no more.
    """

    left_applied: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    rewind: Rewind | None = None
    refusal: str | None = None

    def lines(self) -> Iterator[str]:
        """For people. Of a refusal there is nothing but itself to tell."""
        if self.rewind:
            yield f"REWIND: {self.rewind}"
        if self.left_applied:
            yield f"left applied, they only add: {', '.join(self.left_applied)}"
        if self.left_behind:
            yield f"left applied, their apps are removed: {', '.join(self.left_behind)}"
        if self == Decision():
            yield "nothing to rewind: the artefact knows every applied migration"


def decide(
    target: Manifest,
    applied: Set[Key],
    earlier: Sequence[Artefact],
    known_releases: Sequence[Release],
    renamed: Mapping[Key, Key] = MappingProxyType({}),
) -> Decision:
    """Whether, or how, `target` can run on what is `applied`.

    `earlier` are the artefacts of releases that ran here, newest first: they say what the surplus does. A
    surplus that only adds to the schema stays, since the rolling release has already run both versions side
    by side on it. So does that of an app which the project has no more: Django leaves its tables alone.
    Whatever else there is must be reversed, by one artefact, without touching what the target has; that the
    rest stays applied makes the outcome the same however often a rewind was interrupted.

    `known_releases` are those of the record, which names the backup for the remedy; `renamed` as of
    `recorded_schema.renamed`.
    """
    if refusal := _made_anew(target, applied, known_releases, renamed):
        return Decision(refusal=refusal)
    manifests = [artefact.manifest for artefact in earlier]
    history = History([target, *manifests])
    rows, known = history.rows(applied), history.known_to(target)
    ours = {app for app, _ in known} | {app for app, _ in history.described}
    unknown = sorted(
        key
        for key in rows - known
        # Also what an artefact applied that cannot be read: code of before it may not live with it.
        if key[0] in ours or is_older_than(known_releases, target.version, f"{key[0]}.{key[1]}")
    )
    removed = _removed_apps(target, unknown, manifests, known_releases)
    left_behind = _names([key for key in unknown if key[0] in removed])
    surplus = [key for key in unknown if key[0] not in removed]
    strange = [key for key in surplus if key not in history.described]
    harmful = [key for key in surplus if key in strange or history.described[key].effect != "additive"]
    if not harmful:
        return Decision(left_applied=_names(surplus), left_behind=left_behind)

    reasons = [f"of which {', '.join(_names(strange))} are in no artefact that is kept"] if strange else []
    succeeded = last_good(known_releases)
    for artefact in sorted(earlier, key=lambda one: succeeded is None or one.image != succeeded.image):
        if not known_to(artefact.manifest) >= set(harmful):
            continue
        try:
            found = reversal(artefact.manifest, applied, harmful, surplus=set(surplus))
            _require_known(rows, set(found.reverses), artefact.manifest, history, surplus=set(surplus))
        except Impossible as reason:
            reasons.append(str(reason))
            continue
        lossy = [one for one in artefact.manifest.migrations if one.loses and one.key in found.reverses]
        return Decision(
            left_applied=_names([key for key in surplus if key not in found.rows]),
            left_behind=left_behind,
            rewind=Rewind(
                image=artefact.image,
                version=artefact.manifest.version,
                commands=found.commands,
                reverses=_names(found.reverses),
                lost=tuple(f"{migration} ({', '.join(migration.loses)})" for migration in lossy),
                backup=backup_without(known_releases, map(str, lossy)),
            ),
        )
    reason = reasons[0] if reasons else "which no single artefact knows all of"
    backup = backup_without(known_releases, _names(surplus)) or "taken before they were applied"
    forgotten = "; if the project deleted them long ago, remove their rows from django_migrations"
    return Decision(
        refusal=f"the database has migrations that {target.version} does not know "
        f"({', '.join(_names(surplus))}), {reason}; pin a version that knows them, or restore the backup "
        f"{backup} with relevo restore (rows written since go){forgotten if strange else ''}"
    )


def _made_anew(
    target: Manifest, applied: Set[Key], known_releases: Sequence[Release], renamed: Mapping[Key, Key]
) -> str | None:
    """Why `migrate` must not run: the target ran here, and its app's tables are another app's by now.

    For Django its migrations were never applied, so it would serve, well, without any of its rows. An app
    that is new in a version, by the name that another had once, is no such case.
    """
    rows = [key for migration in pending(target, applied) for key in (migration.key, *migration.replaces)]
    old = [key for key in rows if key in renamed]
    ran = [one for one in known_releases if one.version == target.version]
    if not any(set(_names(old)) & set(one.done.get("migrate", {}).get("schema", ())) for one in ran):
        return None
    new = _names([renamed[key] for key in old])
    return (
        f"{target.version} ran here with {', '.join(_names(old))}, but these are {', '.join(new)} in "
        f"django_migrations now, so migrate would make their tables anew, without a row; pin a version that "
        f"knows {', '.join(new)}, or undo the renaming, or restore the backup "
        f"{backup_without(known_releases, new) or 'taken before it'} with relevo restore (rows written "
        f"since go)"
    )


def _require_known(
    rows: Set[Key], reverses: Set[Key], manifest: Manifest, history: History, *, surplus: Set[Key]
) -> None:
    """Raises `Impossible` if the apps have something that the artefact does not know, and that matters.

    It may have the same by another name: when what a squashed migration had replaced is deleted, that is a
    migration like any other, and reversing it would take away what is older. What only adds, is not built
    upon what goes, and is surplus to the target as well does not matter: a failed release has left it.
    """
    apps = {app for app, _ in reverses}
    strange = [key for key in rows - history.known_to(manifest) if key[0] in apps]
    matter = sorted(key for key in strange if key not in surplus or not history.apart(key, reverses))
    if matter:
        raise Impossible(f"but {manifest.version} does not know {', '.join(_names(matter))}")


def _removed_apps(
    target: Manifest, unknown: Sequence[Key], earlier: Sequence[Manifest], known_releases: Sequence[Release]
) -> Set[str]:
    """Apps of unknown migrations that were taken out of the project, not ones which it did not have yet.

    That is, apps that the target lacks altogether, although all of their migrations that are applied here
    were there when it was built. The record has a say because clocks differ: what was released before such a
    migration was applied is older than it, whenever it claims to have been built.
    """
    built = datetime.fromisoformat(target.built_at)
    there = {
        key for other in earlier if datetime.fromisoformat(other.built_at) < built for key in known_to(other)
    }
    apps = {app for app, _ in unknown} - {app for app, _ in known_to(target)}
    new = {
        (app, name)
        for app, name in unknown
        if (app, name) not in there or is_older_than(known_releases, target.version, f"{app}.{name}")
    }
    return apps - {app for app, _ in new}


def _names(keys: Collection[Key]) -> tuple[str, ...]:
    return tuple(f"{app}.{name}" for app, name in keys)
