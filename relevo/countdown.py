"""The engine under a clock: its output as it is, and how much of a limit is left."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from rich.console import Console
from rich.live import Live
from rich.text import Text

from components.release.logbook import now
from relevo import engine
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
    with live if console.is_terminal else contextlib.nullcontext():
        engine.follow(project, *arguments, show=lambda line: _show(console, clock, line), variables=variables)


def _show(console: Console, clock: Clock, line: str) -> None:
    if console.is_terminal:
        console.print(Text.from_ansi(line), soft_wrap=True)
    else:
        print(f"[{clock}] {line}", flush=True)
