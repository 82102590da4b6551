"""A drill: the backup in a scratch database, asked by the artefact of its time, timed and recorded."""

from __future__ import annotations

from dataclasses import asdict

from components.release import logbook, record
from components.release.context import Context
from components.release.responsible import who
from components.release.restoration import ran_at
from components.target import Drill, TargetError


def perform(context: Context, backup: str) -> Drill:
    """For who has the target to himself. Raises `TargetError`, once that is recorded."""
    operations, people = context.operations, who(context.spec.responsible)
    ran = ran_at(backup, record.parse(operations.read_record()))
    image = ran.image if ran else None
    try:
        done = operations.drill(backup, image=image, release=(ran and ran.release) or backup)
        if done.fault is not None:
            raise TargetError(
                f"{backup} was restored, but migrate --check of {image} fails on it ({done.fault}); "
                f"restore another backup, and see what has changed the database."
            )
    except TargetError as fault:
        data = {"backup": backup, **people}
        logbook.write(operations, "drill failed", image=image, error=str(fault), data=data)
        raise
    logbook.write(
        operations, "drill done", image=image, seconds=done.seconds, data={**asdict(done), **people}
    )
    return done


def described(done: Drill) -> str:
    """One line for people."""
    asked = f", and {done.image} has nothing to migrate" if done.image else ""
    return (
        f"{done.backup}: {done.rows} rows in {done.tables} tables restored from {done.bytes} bytes in "
        f"{done.seconds:.1f} s{asked}"
    )
