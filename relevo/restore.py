"""A backup in place of the database and media that serve: brought beside, compared, asked for, switched."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from components.release import logbook, notices, record, restoration
from components.release.context import Context
from components.release.plan import written
from components.release.record import Entry
from components.release.responsible import who
from components.target import Beside, Comparison, TargetError
from relevo import operating, pin
from relevo.errors import RelevoError
from relevo.project import Project

STEP = "restore"
Say = Callable[[str], None]
Confirm = Callable[[], bool] | None  # None: not asked


def restore(
    project: Project,
    stack: str,
    backup: str | None,
    *,
    confirm: Confirm,
    say: Say,
    image: str | None = None,
) -> None:
    """`backup`: None for the one that a way back needs. `image`: what runs on it; None: as the record tells.

    Raises `RelevoError` or `TargetError`.

    Nothing is lost for good: what served is kept beside. Afterwards the artefact is pinned that ran when the
    backup was taken.
    """
    context, decided = operating.context(project, stack), logbook.now()
    with context.operations.exclusive(STEP):
        completed = _completed(project, context, say)
        if completed is not None and backup in (None, completed.data["backup"]):
            return
        with _refusing(context, backup):
            chosen = backup or _needed(project, stack, context)
        with _refusing(context, chosen):
            image = image or _ran(context, chosen)
            if image is not None:
                context.operations.artefact(image)  # raises for one that is not there any more
            say(f"restoring {chosen} into a database beside the one that serves …")
            began = time.monotonic()
            brought = context.operations.restore(chosen, image=image)
        took = {"bring": _since(began)}
        say(f"{brought.database} is whole and counted, in {took['bring']:.1f} s")
        if not _switch(project, context, brought, decided, took, confirm=confirm, say=say):
            context.operations.remove(brought.id)


def undo(project: Project, stack: str, *, confirm: Confirm, say: Say) -> None:
    """The database and media that were put aside last, in their place again; the same other way round."""
    context, decided = operating.context(project, stack), logbook.now()
    with context.operations.exclusive(STEP):
        _completed(project, context, say)
        with _refusing(context, None):
            kept = next((beside for beside in context.operations.beside() if beside.kept), None)
            if kept is None:
                raise RelevoError(
                    f"stack {stack} has no database that was put aside; relevo restore makes one."
                )
        _switch(project, context, kept, decided, {}, confirm=confirm, say=say)


def drop(project: Project, stack: str, id: str, *, say: Say) -> None:
    """What lies beside by this id, for good. Raises `TargetError`."""
    context = operating.context(project, stack)
    operations = context.operations
    with operations.exclusive(STEP):
        _completed(project, context, say)
        kept = next((beside for beside in operations.beside() if beside.kept and beside.id == id), None)
        operations.remove(id)
        if kept is not None:
            data = {"id": id, "database": kept.database, **who(context.spec.responsible)}
            logbook.write(operations, "kept database dropped", image=kept.image, data=data)


def listed(project: Project, stack: str, *, say: Say) -> list[str]:
    """What lies beside, with the commands that are for it."""
    context = operating.context(project, stack)
    with context.operations.exclusive(STEP):
        _completed(project, context, say)
        found = context.operations.beside()
    lines = []
    for beside in found:
        of = f"restored from {beside.backup}" if beside.backup else "as it was before"
        lines += [
            f"{beside.id}  {beside.database}, {of}",
            f"  drop it        relevo restore --drop {beside.id} --stack {stack}",
        ]
    if any(beside.kept for beside in found):
        lines.append(f"switch back to the first one: relevo restore --undo --stack {stack}")
    return lines or [f"nothing is kept beside the database of stack {stack}"]


def table(compared: Comparison) -> list[str]:
    """What would be lost, for people."""
    if not compared.changes and not compared.migrations:
        return ["nothing was written since: no row, no file, no migration is lost"]
    head = "written since"
    width = max(len(head), *(len(change.table) for change in compared.changes), 0)
    lines = [f"  {head:{width}}  {'inserted':>9}  {'updated':>9}  {'deleted':>9}"]
    for change in compared.changes:
        updated = "?" if change.updated is None else change.updated
        columns = f"  and the values of {', '.join(change.columns)}" if change.columns else ""
        lines.append(
            f"  {change.table:{width}}  {change.inserted:>9}  {updated:>9}  {change.deleted:>9}{columns}"
        )
    if any(change.updated is None for change in compared.changes):
        lines.append("  ?: without a primary key, rows can only be counted")
    if compared.migrations:
        lines.append(f"  migrations that go: {', '.join(compared.migrations)}")
    return lines


# -- inside ------------------------------------------------------------------------------------------------
def _needed(project: Project, stack: str, context: Context) -> str:
    pinned = pin.pinned(project.configuration(stack)) or context.spec.image
    manifest = context.operations.artefact(pinned).manifest
    found = restoration.backup_for(manifest, context.operations.applied_migrations(), context.releases())
    if found is None:
        raise RelevoError(
            f"the record of stack {stack} has no backup of before a release, but one is restored; name it: "
            f"relevo restore NAME --stack {stack}."
        )
    return found


def _ran(context: Context, backup: str | None) -> str | None:
    found = restoration.ran_at(backup, record.parse(context.operations.read_record()))
    return found.image if found else None


def _completed(project: Project, context: Context, say: Say) -> Entry | None:
    """The beginning of a restore that was killed after its switch, and is done and on record now.

    One that was killed before is on record as failed: it has changed nothing.
    """
    operations = context.operations
    lying = operations.beside()  # has put the media in place
    begun = restoration.unfinished(record.parse(operations.read_record()))
    if begun is None:
        return None
    what, data = restoration.source(begun), begun.data
    if any(beside.id == data["id"] for beside in lying):
        error = "killed before the switch, so nothing was changed."
        logbook.write(operations, "restore failed", image=begun.image, error=error, data=data)
        say(f"the restore of {what}, begun {begun.time[:19]}, was {error}")
        return None
    say(f"the restore of {what}, begun {begun.time[:19]}, had switched when it was killed; it is completed")
    _pin(project, context.stack, begun.image, say)
    kept = next((beside for beside in lying if beside.kept), None)
    _done(context, begun.image, data, kept)
    return begun


def _switch(
    project: Project,
    context: Context,
    chosen: Beside,
    decided: datetime,
    took: Mapping[str, float],
    *,
    confirm: Confirm,
    say: Say,
) -> bool:
    """Compare, ask, switch, pin and record. False: not wanted. `took`: seconds of what came before."""
    operations = context.operations
    newest = record.current(context.releases())
    if newest is not None and newest.verdict == "open":
        say(
            f"warning: release {newest.id} is not at its end; if its pulumi up still runs, end it first: "
            f"its next steps would find another database"
        )
    began = time.monotonic()
    with _refusing(context, chosen.backup):
        compared = operations.compare(chosen.id)
    took = {**took, "compare": _since(began)}
    for line in table(compared):
        say(line)
    say("what serves now is kept beside with these rows; its sessions end, so requests may fail")
    if confirm is not None and not confirm():
        say("nothing was changed")
        return False
    data = {
        "id": chosen.id,
        "backup": chosen.backup,
        "lost": [asdict(change) for change in compared.changes],
        "reversed": list(compared.migrations),
        "decided_at": decided.isoformat(timespec="milliseconds"),
        "took": took,
        **who(context.spec.responsible),
    }
    logbook.write(operations, "restore started", image=chosen.image, data=data)
    began = time.monotonic()
    with _failing(context, chosen.image, data):
        kept = operations.switch(chosen.id, image=_ran(context, None))
        say(f"switched; the database of before is {kept.database}")
        say(f"  back to it     relevo restore --undo --stack {context.stack}")
        say(f"  without it     relevo restore --drop {kept.id} --stack {context.stack}")
        _pin(project, context.stack, chosen.image, say)
        _done(context, chosen.image, {**data, "took": {**took, "switch": _since(began)}}, kept)
    return True


@contextlib.contextmanager
def _refusing(context: Context, backup: str | None) -> Iterator[None]:
    """A fault before anything is changed is on record as a refused attempt, and told."""
    try:
        yield
    except (RelevoError, TargetError) as fault:
        error = " ".join(str(fault).split())
        data = {"backup": backup, **who(context.spec.responsible)}
        with contextlib.suppress(TargetError):
            logbook.write(context.operations, "attempt refused", step=STEP, error=error, data=data)
        notices.tell_on_record(context, "restore-failed", backup=backup, error=error)
        raise


@contextlib.contextmanager
def _failing(context: Context, image: str | None, data: Mapping[str, Any]) -> Iterator[None]:
    """A fault is told, and on record as the end where nothing was switched; else the next completes it."""
    try:
        yield
    except BaseException as fault:
        error = " ".join(str(fault).split())
        with contextlib.suppress(TargetError):
            if any(beside.id == data["id"] for beside in context.operations.beside()):
                logbook.write(context.operations, "restore failed", image=image, error=error, data=data)
        notices.tell_on_record(context, "restore-failed", backup=data["backup"], error=error)
        raise


def _done(context: Context, image: str | None, data: Mapping[str, Any], kept: Beside | None) -> None:
    """On record as at its end, with the schema as it is now, and told. It has taken since it was decided."""
    decided = data.get("decided_at")  # an older Relevo did not write it
    seconds = (logbook.now() - datetime.fromisoformat(decided)).total_seconds() if decided else None
    applied = written(context.operations.applied_migrations())
    more = {"kept": kept and kept.database, "kept_id": kept and kept.id, "schema": applied}
    logbook.write(context.operations, "restore done", image=image, seconds=seconds, data={**data, **more})
    notices.tell_on_record(context, "restored", backup=data["backup"])


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _pin(project: Project, stack: str, image: str | None, say: Say) -> None:
    if image is None:
        say(
            f"the record does not tell which artefact ran when it was taken; pin one that has its migrations "
            f"(relevo releases --stack {stack}), and run pulumi up"
        )
        return
    before = pin.pin(project.configuration(stack), image)
    what = "is pinned as before" if before == image else "is pinned, which ran on it"
    say(f"{image} {what}; run it: pulumi up --stack {stack}")
