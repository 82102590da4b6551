"""rewind: whether this artefact can run on the schema as it is; what it cannot live with is reversed.

By the artefact that knows it, after the backup of this release, and exactly as `rollback.decide` says. What
an interrupted rewind has reversed is not applied any more: the next one decides on what is left.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from components.release import django_plan
from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.rollback import Rewind
from components.release.running import main
from components.release.schema import Schema
from components.release.tasks.backup import further
from components.release.tasks.manage import reason

AS_FRESH = timedelta(hours=1)  # a backup as good as one that is taken now


def rewind(context: Context, release: Release) -> Mapping[str, Any]:
    manifest = context.operations.artefact(context.spec.image).manifest
    schema = Schema.read(context, manifest)
    decision = schema.way_back()
    if decision.refusal:
        raise StepFailed(f"{decision.refusal}.")
    for line in decision.lines():
        print(line, flush=True)
    taken = None
    if decision.rewind:
        taken = backup(context, release, schema)
        require_same_plan(context, release, decision.rewind)
        schema = reverse(context, release, schema, decision.rewind)
    return {
        "left_applied": list(decision.left_applied),
        "left_behind": list(decision.left_behind),
        **account(context, release, schema),
        **({"backup": taken} if taken else {}),
    }


def backup(context: Context, release: Release, schema: Schema) -> str | None:
    """Reversing loses what the newer version has written in its own columns and tables: it must be kept.

    A release that goes on much later takes another one, and returns its name: the first has nothing of what
    was written since.
    """
    if release.done.get("backup", {}).get("verified") is not True:
        raise StepFailed(
            f"the record has no verified backup of release {release.id}, but a rewind needs one; "
            f"run pulumi up from the step backup on."
        )
    newer = further(context, release, schema.applied, older_than=AS_FRESH)
    return newer.name if newer else None


def require_same_plan(context: Context, release: Release, rewind: Rewind) -> None:
    """What Django itself would do must be what was decided. Nothing is changed here."""
    call = f"show({[tuple(command) for command in rewind.commands]!r})  # to reverse {rewind.reverses!r}"
    question = f"{inspect.getsource(django_plan)}\n\n{call}"
    done = context.operations.manage(rewind.image, ["shell", "-c", question], release=release.id)
    answer = done.answer("unapplied")
    if answer is None:
        raise StepFailed(
            f"Django's plan in {rewind.version} cannot be read ({reason(done.output)}), but nothing is "
            f"reversed without it; correct that and run pulumi up, or pin {rewind.version}."
        )
    unapplied = {name: reversible for name, reversible in answer["unapplied"]}
    if lasting := [name for name, reversible in unapplied.items() if not reversible]:
        raise StepFailed(
            f"Django in {rewind.version} cannot reverse {', '.join(lasting)}, although its manifest says so; "
            f"pin {rewind.version}, or restore a backup."
        )
    if unapplied.keys() != set(rewind.reverses):
        raise StepFailed(
            f"Django in {rewind.version} would reverse {', '.join(unapplied) or 'nothing'}, but "
            f"{', '.join(rewind.reverses)} was decided; pin {rewind.version}, or restore a backup."
        )


def reverse(context: Context, release: Release, before: Schema, rewind: Rewind) -> Schema:
    """Run the commands. What is applied then is read again, and must do."""
    for app, name in rewind.commands:
        arguments = ["migrate", app, name, "--noinput"]
        done = context.operations.manage(rewind.image, arguments, release=release.id)
        if done.status != 0:
            left = account(context, release, Schema.read(context, before.target))
            raise StepFailed(
                f"manage.py migrate {app} {name} of {rewind.version} exited {done.status} "
                f"({reason(done.output)}), reversed is {', '.join(left['reversed']) or 'nothing'}; correct "
                f"that and run pulumi up, which goes on, or pin {rewind.version}, which applies it again.",
                left,
            )
    after = Schema.read(context, before.target)
    decision = after.way_back()
    if decision.refusal or decision.rewind:
        raise StepFailed(
            f"{rewind.version} has reversed all that it should, but the database still has more than "
            f"{after.target.version} can live with ({decision.refusal or decision.rewind}); see who else "
            f"migrates it, and run pulumi up.",
            account(context, release, after),
        )
    return after


def account(context: Context, release: Release, schema: Schema) -> Mapping[str, Any]:
    """What this release has reversed, also by tries that were killed: its preflight knew what was applied.

    And which of these lose values, of those that an artefact which ran here knows.
    """
    before = release.done.get("preflight", {}).get("schema", ())
    gone = sorted(set(before) - set(schema.names()))
    known = [one for artefact in context.earlier()[0] for one in artefact.manifest.migrations] if gone else []
    lost = sorted({str(migration) for migration in known if migration.loses and str(migration) in gone})
    return {"reversed": gone, "lost": lost, "schema": schema.names()}


if __name__ == "__main__":
    sys.exit(main("rewind", rewind))
