"""The Pulumi engine, as the desk's commands run it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from relevo.errors import RelevoError, one_line
from relevo.project import Project


class Stopped(RelevoError):
    """Somebody has stopped the engine."""


def run(project: Project, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
    """With its output as it is, to where ours goes. Raises `RelevoError` if it fails.

    That is `Stopped` after a Ctrl-C.
    """
    sys.stdout.flush()
    with ended_by_the_engine() as interrupts:
        process = subprocess.run(
            [program(), *arguments],
            cwd=project.root,
            env={**os.environ, **project.variables, **(variables or {})},
            stdout=sys.stdout,  # which may be redirected
            check=False,
        )
    if process.returncode:
        kind = Stopped if interrupts else RelevoError
        raise kind(fault(arguments[0], process.returncode))


def follow(
    project: Project,
    *arguments: str,
    show: Callable[[str], None],
    variables: Mapping[str, str] | None = None,
) -> None:
    """The same with nobody to ask: each line of its output goes to `show`. Raises `RelevoError`."""
    with (
        ended_by_the_engine(),
        subprocess.Popen(
            [program(), *arguments],
            cwd=project.root,
            env={**os.environ, **project.variables, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            show(line.rstrip("\n"))
    if process.returncode:
        raise RelevoError(fault(arguments[0], process.returncode))


@contextlib.contextmanager
def ended_by_the_engine() -> Iterator[Sequence[int]]:
    """Ctrl-C is the engine's, which has got it as well and ends its step first. Yields each that came."""
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def fault(command: str, status: int) -> str:
    return (
        f"pulumi {command} ended with {status}, so the release did not complete; see its output above and "
        f"relevo status."
    )


def output(project: Project, *arguments: str) -> str:
    """What it prints. Raises `RelevoError` if it fails."""
    done = subprocess.run(
        [program(), *arguments],
        cwd=project.root,
        env={**os.environ, **project.variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RelevoError(
            f"pulumi {' '.join(arguments)} ended with {done.returncode} ({one_line(done.stderr)}); "
            f"correct it."
        )
    return done.stdout


def program() -> str:
    """Beside our own Python is the one that knows this checkout's stacks, activated or not."""
    beside = Path(sys.executable).with_name("pulumi")
    found = str(beside) if beside.exists() else shutil.which("pulumi")
    if found is None:
        raise RelevoError("pulumi is not on PATH, but it makes the release; run make setup.")
    return found
