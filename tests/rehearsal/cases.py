"""What is injected, one case after the other, and how it has to end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg

from components.local import postgres, valkey
from components.release.record import Verdict
from tests.e2e.project import up_in_step
from tests.e2e.test_release import STEPS
from tests.rehearsal import full_disk
from tests.rehearsal.stage import Stage, wait_until


@dataclass(frozen=True, kw_only=True)
class Case:
    """v1 or v2 serves, and `tag` is pinned, or the other one of the two. `attempt` runs `pulumi up` with the
    failure in it.

    The last release in it ends with one of `verdicts` in `step`, its error matches `error`; None: none is
    opened. Then `remedy` is done as the documentation says, or what served before is pinned if the artefact
    is `broken`, and the next `up` must get what is pinned to serve. No request may fail but `away`.
    """

    name: str
    injected: str
    tag: str | None = None
    broken: bool = False  # or not wanted: what served before is what must serve in the end
    limits: Mapping[str, Any] = field(default_factory=dict)
    attempt: Callable[[Stage], None]
    verdicts: tuple[Verdict | None, ...] = ("failed",)
    step: str | None = None
    error: str = ""
    serves: Literal["old", "new", "nobody"] = "old"  # after the attempt
    away: str = ""  # when nothing can serve, in words; `Stage.away` has it in seconds
    remedy: Callable[[Stage], object] = lambda stage: None


def up(stage: Stage) -> None:
    stage.up()


def too_slow(stage: Stage) -> None:
    stage.up()
    wait_until(lambda: not sleeping(stage), "the statement has ended in the server, too", seconds=4)


def killed_in_each_step(stage: Stage) -> None:
    for step in STEPS:
        with up_in_step(stage.project, step):
            pass


def killed_in_migrate(stage: Stage) -> None:
    with up_in_step(stage.project, "migrate"):
        wait_until(lambda: sleeping(stage), "the migration is in the database")


def killed_in_rewind(stage: Stage) -> None:
    assert stage.up() == 0
    stage.pin(stage.base)
    with up_in_step(stage.project, "rewind"):
        wait_until(lambda: sleeping(stage), "the reverse is in the database")
        stage.away.append((time.time(), float("inf")))


def two_at_once(stage: Stage) -> None:
    first = stage.project.start(*stage.project.up_command(preview=False))
    try:
        before = len(stage.project.record())
        wait_until(lambda: len(stage.project.record()) > before, "a release is opened")
        refused = stage.project.up(status=None, preview=False)
        output, _ = first.communicate(timeout=300)
    finally:
        stage.project.end(first)
    assert "currently locked" in refused, refused
    assert first.returncode == 0, output


def without_cache(stage: Stage) -> None:
    with up_in_step(stage.project, "migrate") as running:
        stage.supervisor.stop(valkey.PROGRAM)
        running.communicate(timeout=300)


def without_database(stage: Stage) -> None:
    with up_in_step(stage.project, "migrate") as running:
        wait_until(lambda: sleeping(stage), "the migration is in the database")
        stage.away.append((time.time(), float("inf")))
        stage.supervisor.stop(postgres.PROGRAM)
        running.communicate(timeout=300)


def split(stage: Stage) -> None:
    with up_in_step(stage.project, "smoke"):
        pass
    stage.put(stage.base, "instance-1")
    stage.up()


def with_full_disk(stage: Stage) -> None:
    media = stage.layout.media / "large"
    media.write_bytes(bytes(2 * full_disk.LARGEST_FILE))
    try:
        stage.up(sys.executable, str(full_disk.__file__), str(stage.layout.backups))
    finally:
        media.unlink()


def locked_by_a_dead_machine(stage: Stage) -> None:
    """The lock that an engine left which was killed elsewhere: from here nobody can say that it is dead."""
    with up_in_step(stage.project, "check"):
        pass
    (lock,) = (stage.project.folder / ".relevo" / "pulumi" / ".pulumi" / "locks").glob("**/*.json")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "hostname": f"not-{socket.gethostname()}"}))
    assert stage.up() != 0


def locked_by_a_step(stage: Stage) -> None:
    with held(stage):
        assert stage.up() != 0


@contextlib.contextmanager
def held(stage: Stage) -> Iterator[None]:
    """The lock of a step that hangs for ever."""
    with open(stage.layout.run / "step.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(b"migrate".ljust(100))
        lock.flush()
        yield


def sleeping(stage: Stage) -> bool:
    """Whether the statement of slow-migration or slow-rewind is at work in the server."""
    query = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    with contextlib.suppress(psycopg.OperationalError), stage.connect() as connection:
        return connection.execute(query).fetchone() is not None
    return False


def cancel(stage: Stage) -> None:
    stage.project.run("pulumi", "cancel", "--stack", stage.project.stack, "--yes")


# Those with slow-… come first: they must be reversed, and do not know what the others apply.
CASES = (
    Case(
        name="migration-slow",
        injected="a migration of 20 s, and a limit of 12",
        tag="slow-migration",
        limits={"commandSeconds": 12},
        attempt=too_slow,
        step="migrate",
        error="takes longer than 12 s",
    ),
    Case(
        name="database-gone",
        injected="PostgreSQL stopped under a migration, until the next up",
        tag="slow-migration",
        attempt=without_database,
        step="migrate",
        error="OperationalError",
        serves="nobody",
        away="without a database",
    ),
    Case(
        name="killed-in-migrate",
        injected="pulumi killed by -9 while a migration is at work in the database",
        tag="slow-migration",
        attempt=killed_in_migrate,
        verdicts=("open", "failed"),  # as the step was told of the kill before its end, or not
        step="migrate",
    ),
    Case(
        name="killed-in-rewind",
        injected="pulumi killed by -9 on the way back, while a migration is being reversed in the database",
        tag="slow-rewind",
        broken=True,
        attempt=killed_in_rewind,
        verdicts=("open", "failed"),  # as above
        step="rewind",
        serves="new",
        away="while what serves misses its migration",
    ),
    Case(
        name="migration-fails",
        injected="the second of two migrations fails",
        tag="broken-migration",
        broken=True,
        attempt=up,
        step="migrate",
        error='column "remark" does not exist',
    ),
    Case(
        name="never-ready",
        injected="each page takes 5 s, the probe's too",
        tag="slow",
        broken=True,
        limits={"readySeconds": 15},
        attempt=up,
        step="roll-instance-1",
        error="instance-1 is not ready after 15 s",
    ),
    Case(
        name="dies-later",
        injected="an instance passes its gate and dies at its first visitor, again and again",
        tag="dies",
        broken=True,
        attempt=up,
        step="roll-instance-2",
        error="instance-1 does not keep serving dies",
    ),
    Case(
        name="split",
        injected="killed in smoke, then the old version put back on instance-1 by hand",
        attempt=split,
        verdicts=("succeeded",),
        serves="new",
    ),
    Case(
        name="smoke-fails",
        injected="an answer of the scenario is 500",
        tag="broken-smoke",
        broken=True,
        attempt=up,
        step="roll-instance-1",
        error='"assign a loan" POST /api/loans/: status is 500',
    ),
    Case(
        name="smoke-fails-in-public",
        injected="an answer of the scenario is 500, but only through the balancer",
        tag="broken-in-public",
        broken=True,
        attempt=up,
        step="smoke",
        error='"assign a loan" POST /api/loans/: status is 500',
        serves="new",
    ),
    Case(
        name="cache-gone",
        injected="Valkey stopped in migrate",
        attempt=without_cache,
        verdicts=("succeeded",),
        serves="new",
    ),
    Case(
        name="disk-full",
        injected="no room left while the backup is written",
        attempt=with_full_disk,
        step="backup",
        error="No space left on device|File too large",
    ),
    Case(
        name="killed",
        injected=f"pulumi killed by -9 in each of {len(STEPS)} steps, one after the other",
        attempt=killed_in_each_step,
        verdicts=("succeeded",),
        step="notify",
        serves="new",
    ),
    Case(
        name="two-ups",
        injected="a second up while the first one works",
        attempt=two_at_once,
        verdicts=("succeeded",),
        serves="new",
    ),
    Case(
        name="lock-of-pulumi",
        injected="the engine's lock, left by one that was killed on another machine",
        attempt=locked_by_a_dead_machine,
        verdicts=("open", "failed"),  # as the step was told of the kill before its end, or not
        step="check",
        remedy=cancel,
    ),
    Case(
        name="lock-of-a-step",
        injected="a step hangs and holds the stack, and 12 s are what one waits",
        limits={"commandSeconds": 12},
        attempt=locked_by_a_step,
        verdicts=(None,),
        error="migrate of this stack still runs",
    ),
)
