"""The attendant: looks after a local stack's last release, with nobody at a terminal.

    python -m relevo.attend STATE STACK

is what the supervisor runs, in the folder of Pulumi.yaml; STATE is the stack's folder. What the release was
is handed over by its last step. The attendant watches it, comes back from it where it is worse and the stack
asks for that, and reviews it when that is due. All of it is in the record, so it goes on after a kill.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from components.local.layout import Layout
from components.release import recovery, review, watch
from components.release.context import ENGINE, PASSPHRASE, SPEC, TARGET, Context, StepFailed
from components.release.logbook import now
from components.release.recovery import Recovery
from components.target import TargetError
from relevo.errors import RelevoError
from relevo.toolchain import launcher

LOCKED = (
    f"the passphrase of the stack was given by {PASSPHRASE}, which only that terminal had; keep it in a "
    f"file, and name that by PULUMI_CONFIG_PASSPHRASE_FILE"
)
POLL_SECONDS = 2.0
AGAIN_SECONDS = 60.0


def main(state: Path, stack: str) -> None:
    layout = Layout(state)
    before = _mark(layout.handed_over)
    described = _handed_over(layout.handed_over)
    while _mark(layout.handed_over) == before:
        again = POLL_SECONDS
        if described is not None:
            try:
                again = _look_after(layout, stack, described)
            except (TargetError, StepFailed, RelevoError, OSError) as fault:
                say(str(fault))
                again = AGAIN_SECONDS
            except Exception:  # noqa: BLE001 - a release must not be without its attendant
                traceback.print_exc()
                again = AGAIN_SECONDS
        until = time.monotonic() + again
        while time.monotonic() < until and _mark(layout.handed_over) == before:
            time.sleep(POLL_SECONDS)
    # Anew, for it may be of another version of Relevo.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "relevo.attend", str(state), stack])


def _look_after(layout: Layout, stack: str, described: dict[str, str]) -> float:
    """Do what is due; returns the seconds after which it is to be asked again."""
    context = Context.load(described[TARGET], described[SPEC])
    comes_back = launcher.asks(stack, Path.cwd())
    known = context.releases()
    if known and known[-1].verdict == "succeeded" and known[-1].trigger != context.trigger:
        return POLL_SECONDS  # its hand-over is on its way
    if (release := watch.due(known, context.spec.watch)) is not None:
        say(f"watching {release.version} ({release.id})")
        ended = watch.watch(context, release, clock=now, sleep=time.sleep, until_breach=comes_back)
        if ended is not None:
            say(f"{release.version}: {ended.verdict}. {ended.why}")
        known = context.releases()
    if comes_back and known and (known[-1].watched or {}).get("goes_back"):
        _come_back(context, layout, stack, described)
    if (release := review.due(known, context.spec.review, now())) is not None:
        say(f"reviewing {release.version} ({release.id})")
        review.review(context, release, now())
    return AGAIN_SECONDS


def _come_back(context: Context, layout: Layout, stack: str, described: dict[str, str]) -> None:
    """Release what served before. One that a killed attendant has begun is waited for first."""
    from relevo import pin  # these take memory that the attendant needs for this alone
    from relevo import recovery as desk
    from relevo.project import Project

    variables = {name: described[name] for name in ENGINE if name in described}
    project = Project(root=Path.cwd(), variables=variables)
    with _to_file(layout.log("way-back")):
        due = recovery.due(context.releases(), pin.pinned(project.configuration(stack)))
        if not isinstance(due, Recovery):
            return
        if PASSPHRASE in described:
            desk.give_up(context, due, LOCKED)
        else:
            desk.recover(project, stack, say=say, context=context)


@contextlib.contextmanager
def _to_file(path: Path) -> Iterator[None]:
    """All output goes there, the engine's as well; one at a time.

    The engine outlives an attendant that is killed, but not the pipe to the supervisor.
    """
    sys.stdout.flush()
    kept = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # held by whoever has the same open file
        try:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, before in zip((1, 2), kept, strict=True):
                os.dup2(before, descriptor)
                os.close(before)


def _handed_over(file: Path) -> dict[str, str] | None:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None


def _mark(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def say(line: str) -> None:
    print(f"[{now().isoformat(sep=' ', timespec='seconds')}] {line}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
