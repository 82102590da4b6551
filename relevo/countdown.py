"""The engine under a clock: its output as it is, and how much of a limit is left."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta

from rich.console import Console
from rich.live import Live
from rich.text import Text

from components.release.logbook import now
from relevo import engine
from relevo.errors import RelevoError
from relevo.project import Project


class Clock:
    """What is left of `limit` since `start`; drawn anew each time that it is shown."""

    def __init__(self, start: datetime, limit: timedelta) -> None:
        self._end = start + limit

    def __str__(self) -> str:
        """Such as "29:48 left" or "00:12 OVER"."""
        left = (self._end - now()).total_seconds()
        minutes, seconds = divmod(abs(int(left)), 60)
        return f"{minutes:02}:{seconds:02} {'left' if left >= 0 else 'OVER'}"

    def __rich__(self) -> Text:
        return Text(f"⏱ {self}", style="bold red" if "OVER" in str(self) else "bold")


def run(project: Project, clock: Clock, *arguments: str, variables: Mapping[str, str]) -> None:
    """`engine.run` under the clock: below the output in a terminal, else before each line.

    Raises `RelevoError` if the engine fails.
    """
    console = Console()
    live = Live(clock, console=console, refresh_per_second=2, transient=True)
    with (
        engine.ended_by_the_engine(),
        live if console.is_terminal else contextlib.nullcontext(),
        subprocess.Popen(
            [engine.program(), *arguments],
            cwd=project.root,
            env={**os.environ, **project.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            _show(console, clock, line.rstrip("\n"))
    if process.returncode:
        raise RelevoError(engine.fault(arguments[0], process.returncode))


def _show(console: Console, clock: Clock, line: str) -> None:
    if console.is_terminal:
        console.print(Text.from_ansi(line), soft_wrap=True)
    else:
        print(f"[{clock}] {line}", flush=True)
