"""The desk's commands. Each calls one function and prints what came of it."""

from __future__ import annotations
import sys
from pathlib import Path
from typing import Annotated
import typer
from components.target import TargetError
from relevo import artefact
from relevo.errors import RelevoError
from relevo.project import Project
from stacks.settings import SettingsError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
StackOption = Annotated[str, typer.Option("--stack", help="The stack whose configuration is meant.")]


def say(line: str) -> None:
    print(f"relevo: {line}", file=sys.stderr, flush=True)


@app.command()
def build(path: Path, stack: StackOption = "local") -> None:
    """Freeze a project's committed source to an artefact; the last line is its digest."""
    project = Project.here()
    stored = artefact.build(path, project.settings(stack), project.store, say)
    print(stored.image)


@app.callback()
def root() -> None:
    """x"""


def main() -> None:
    try:
        app()
    except (RelevoError, SettingsError, TargetError) as error:
        sys.exit(str(error))
