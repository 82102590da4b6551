"""check, migrate, collectstatic and the stack's further commands: `manage.py` beside the database.

python -m components.release.tasks.manage check|migrate|collectstatic
python -m components.release.tasks.manage after-migrate 1      the first of relevo:app.commands.afterMigrate
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import timedelta
from typing import Any

from components.release import record
from components.release.context import Context, StepFailed
from components.release.manifest import Manifest
from components.release.plan import Key, is_applied, pending, written
from components.release.record import Release
from components.release.running import main
from components.release.tasks.backup import further
from components.target import Completed, TargetError
from components.tracebacks import BEGIN

LONGEST_REASON = 300
# What psycopg raises, by its own name or Django's, where the server does not let it or is gone ("errors").
NOT_LET = ("OperationalError", "InterfaceError")
# The same error where a migration changes the rows of a table and then the table: it fails each time.
OWN_FAULT = "pending trigger events"


def manage(
    context: Context,
    release: Release,
    arguments: Sequence[str],
    *,
    left: Callable[[], Mapping[str, Any]] = dict,
) -> Completed:
    """Run it to its end, which must be good. `left`: what a bad one has left, for the record."""
    done = context.operations.manage(context.spec.image, arguments, release=release.id)
    if done.status != 0:
        why = reason(done.output)
        fault = f"manage.py {' '.join(arguments)} exited {done.status} ({why}); {remedy(why)}."
        raise StepFailed(fault, left())
    return done


def remedy(why: str) -> str:
    """What the database did not let it do, no other artefact does either."""
    if why.partition(":")[0].rpartition(".")[2] in NOT_LET and OWN_FAULT not in why:
        return (
            "run pulumi up again, which goes on from here, once the database answers and no other session "
            "holds what it needs"
        )
    return "correct it, build and pin anew"


def reason(output: str) -> str:
    """The line that says why: Django's first error, else the last exception, else what was printed last."""
    lines = [line for line in output.splitlines() if line.strip()]
    if "ERRORS:" in lines[:-1]:
        return lines[lines.index("ERRORS:") + 1].strip()[:LONGEST_REASON]
    if BEGIN in lines:
        last = len(lines) - lines[::-1].index(BEGIN)
        # An exception's message may go on for lines: the query, a mark under the fault.
        lines = [line for line in lines[last:] if not line[0].isspace()][:1] or lines
    return lines[-1].strip()[:LONGEST_REASON] if lines else "it printed nothing"


def check(context: Context, release: Release) -> Mapping[str, Any]:
    """Only errors fail it: the warnings of --deploy are advice, and are shown."""
    manage(context, release, ["check", "--deploy", "--fail-level", "ERROR"])
    return {}


def migrate(context: Context, release: Release) -> Mapping[str, Any]:
    """What is applied is recorded, whatever the end, and what tries before this one applied as well."""
    manifest = context.operations.artefact(context.spec.image).manifest
    before = context.operations.applied_migrations()
    applying = pending(manifest, before)
    if not applying:
        print("nothing to migrate", flush=True)
    taken = backup(context, release, before) if applying else None
    manage(context, release, ["migrate", "--plan"])
    wanted = {*record.pending(release), *map(str, applying)}
    manage(context, release, ["migrate", "--noinput"], left=lambda: left(context, manifest, wanted))
    rows = {key for migration in applying for key in (migration.key, *migration.replaces)}
    return {**account(manifest, wanted, before | rows), **({"backup": taken} if taken else {})}


def left(context: Context, manifest: Manifest, wanted: Set[str]) -> Mapping[str, Any]:
    """Of a migrate that failed midway; nothing where the database does not answer."""
    with contextlib.suppress(TargetError):
        return account(manifest, wanted, context.operations.applied_migrations())
    return {}


def account(manifest: Manifest, wanted: Set[str], schema: Set[Key]) -> Mapping[str, Any]:
    """Which of the `wanted` ("app.name") are in the schema, and the schema itself."""
    return {
        "applied": [
            str(migration)
            for migration in manifest.migrations
            if str(migration) in wanted and is_applied(migration, schema)
        ],
        "schema": written(schema),
    }


def backup(context: Context, release: Release, applied: Set[Key]) -> str | None:
    """The name of another one, for a release that goes on when its own is older than the stack accepts."""
    if "backup" not in release.done:
        return None
    limit = timedelta(hours=context.spec.backup_max_age_hours)
    newer = further(context, release, applied, older_than=limit)
    return newer.name if newer else None


def collectstatic(context: Context, release: Release) -> Mapping[str, Any]:
    manage(context, release, ["collectstatic", "--noinput", "--verbosity", "1"])
    return {}


def command(context: Context, release: Release, phase: str, number: int) -> Mapping[str, Any]:
    """`phase`: before-migrate, after-migrate, before-collectstatic or after-collectstatic; number from 1."""
    arguments = getattr(context.spec.commands, phase.replace("-", "_"))[number - 1]
    manage(context, release, arguments)
    return {"command": list(arguments)}


def run(words: Sequence[str]) -> int:
    match words:
        case ["check"]:
            return main("check", check)
        case ["migrate"]:
            return main("migrate", migrate)
        case ["collectstatic"]:
            return main("collectstatic", collectstatic)
        case [phase, number]:
            return main(
                f"{phase}-{number}",
                lambda context, release: command(context, release, phase, int(number)),
                once=True,
            )
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
