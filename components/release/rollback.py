"""Whether an artefact can run on the schema that the database has. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from components.release.manifest import Manifest, Migration
from components.release.plan import Key
from components.release.record import Release, backup_without, is_older_than


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Migrations that the artefact does not know and can live with; else why it cannot. No refusal: it runs.

    `left_applied` only add to the schema; `left_behind` are of apps that the artefact has no more.
    """

    left_applied: tuple[str, ...]
    left_behind: tuple[str, ...]
    refusal: str | None


def decide(
    target: Manifest, applied: Set[Key], earlier: Sequence[Manifest], known_releases: Sequence[Release]
) -> Decision:
    """Whether `target` can run on what is `applied`.

    `earlier` are the manifests of releases that ran here, newest first: they say what the surplus does. A
    surplus that only adds to the schema stays, since the rolling release has already run both versions side
    by side on it. So does that of an app which the project has no more: Django leaves its tables alone.
    `known_releases` are those of the record, which names the backup for the remedy.
    """
    known = known_to(target)
    described: dict[Key, Migration] = {}
    for manifest in earlier:
        for migration in manifest.migrations:
            for key in (migration.key, *migration.replaces):
                described.setdefault(key, migration)
    ours = {app for app, _ in known} | {app for app, _ in described}
    unknown = sorted(
        key for key in applied - known if key[0] in ours and not _is_squash_of(described.get(key), known)
    )
    removed = _removed_apps(target, unknown, earlier, known_releases)
    surplus = [key for key in unknown if key[0] not in removed]
    harmless = [key for key in surplus if key in described and described[key].effect == "additive"]
    names = tuple(f"{app}.{name}" for app, name in surplus)
    if len(harmless) == len(surplus):
        behind = tuple(f"{app}.{name}" for app, name in unknown if app in removed)
        return Decision(left_applied=names, left_behind=behind, refusal=None)
    lasting = [
        f"{app}.{name}"
        for app, name in surplus
        if (app, name) not in described or not described[app, name].reversible
    ]
    backup = backup_without(known_releases, names)
    restore = (
        f"restore the backup {backup}" if backup else "restore the backup taken before they were applied"
    )
    if lasting:
        reason = f"of which {', '.join(lasting)} cannot be reversed"
        remedy = f"pin a version that knows them, or {restore} (rows written since are lost)"
    else:
        reason = "which change what it relies on"
        apps = sorted({app for app, _ in surplus})
        heads = ", ".join(f"manage.py migrate {app} {_head(target, app)}" for app in apps)
        remedy = f"reverse them with the newer artefact ({heads}), or {restore}"
    return Decision(
        left_applied=(),
        left_behind=(),
        refusal=(
            f"the database has migrations that {target.version} does not know ({', '.join(names)}), "
            f"{reason}; {remedy}"
        ),
    )


def known_to(manifest: Manifest) -> Set[Key]:
    return {key for migration in manifest.migrations for key in (migration.key, *migration.replaces)}


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


def _is_squash_of(migration: Migration | None, known: Set[Key]) -> bool:
    """Whether it is only another name for what is known: Django records a squash beside what it replaces."""
    return migration is not None and bool(migration.replaces) and set(migration.replaces) <= known


def _head(manifest: Manifest, app: str) -> str:
    return next(iter(manifest.heads.get(app, ())), "zero")
