"""Start, stop, look at and delete a stack's servers outside a release: what a desk does with them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from components.local.layout import Layout
from components.local.postgres import Postgres
from components.local.supervisor import Status, Supervisor
from components.target import TargetError

READY_SECONDS = 60.0
SETTLED = ("RUNNING",)


def ensure(layout: Layout) -> Supervisor:
    """The stack's supervisor, running, with every program it has a configuration of."""
    supervisor = Supervisor(layout)
    supervisor.ensure(prepare=Postgres(layout).clear_stale_lock)
    return supervisor


def start(state: Path) -> list[Status]:
    """Everything again, e.g. after a reboot; returns when all of it runs. Raises `TargetError`."""
    layout = Layout(state)
    names = _programs(layout)
    if not names:
        raise TargetError(
            f"{state} has no program to start, but only what was released can be started; run pulumi up."
        )
    supervisor = ensure(layout)
    for name in names:
        supervisor.start(name)
    deadline = time.monotonic() + READY_SECONDS
    while True:
        found = supervisor.statuses()
        waiting = [status for status in found if status.detail not in SETTLED]
        if not waiting:
            return found
        if time.monotonic() > deadline:
            raise TargetError(
                f"{waiting[0].name} does not start ({waiting[0].detail}); see {layout.log(waiting[0].name)}."
            )
        time.sleep(0.1)


def stop(state: Path) -> None:
    """Every process of the stack, and its supervisor. The data stays; `start` brings all back."""
    layout = Layout(state)
    if layout.run.is_dir():
        Supervisor(layout).shutdown()


def purge(state: Path) -> None:
    """Stop the stack, then delete its state folder with all data, secrets and backups."""
    layout = Layout(state)
    stop(state)
    if layout.sockets != layout.run:
        shutil.rmtree(layout.sockets, ignore_errors=True)
    for folder in (layout.outside, layout.root):
        if folder.is_dir():
            shutil.rmtree(folder)


def status(state: Path) -> list[Status]:
    """Each program of the stack, running or not."""
    layout = Layout(state)
    found = {status.name: status for status in Supervisor(layout).statuses()}
    return [
        found.get(name) or Status(name=name, running=False, pid=None, since=None, detail="STOPPED")
        for name in _programs(layout)
    ]


def log_files(state: Path) -> dict[str, Path]:
    """Program → its log."""
    layout = Layout(state)
    return {
        path.stem: path
        for path in sorted(layout.logs.glob("*.log"))
        if not path.stem.startswith("supervisord")
    }


def _programs(layout: Layout) -> list[str]:
    return sorted(path.stem for path in layout.programs.glob("*.conf"))
