"""The desk's commands. Each calls one function and prints what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from components.target import TargetError
from relevo import artefact, pin, retention
from relevo.errors import RelevoError
from relevo.project import Project
from relevo.store import Stored
from stacks.settings import SettingsError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
StackOption = Annotated[str, typer.Option("--stack", help="The stack whose configuration is meant.")]
PathArgument = Annotated[Path, typer.Argument(help="The project's folder in its git repository.")]
DigestArgument = Annotated[str, typer.Argument(help="A digest, its first digits, or a version tag.")]


def say(line: str) -> None:
    """Progress, on stderr: stdout is for what scripts read."""
    print(f"relevo: {line}", file=sys.stderr, flush=True)


@app.command()
def build(path: PathArgument, stack: StackOption = "local") -> None:
    """Make the artefact of a project's committed source; the last line is its digest."""
    print(_build(Project.here(), path, stack).image)


@app.command("pin")
def pin_(digest: DigestArgument, stack: StackOption = "local") -> None:
    """Write which artefact runs into the stack's configuration; `pulumi up` then releases it."""
    project = Project.here()
    _pin(project, project.store.find(digest), stack)


@app.command()
def prune() -> None:
    """Remove artefacts that are neither among the ten newest nor pinned, running or needed for a rollback."""
    project = Project.here()
    with project.store.exclusive():
        removed = retention.prune(project)
    for stored in removed:
        print(f"removed {stored.image} ({stored.manifest.version})")
    if not removed:
        print("nothing to remove")


def _build(project: Project, path: Path, stack: str) -> Stored:
    stored = artefact.build(path, project.settings(stack), project.store, say)
    try:
        with project.store.exclusive():
            removed = retention.prune(project)
    except (SettingsError, TargetError) as fault:
        say(f"warning: no old artefact was removed, since what is needed cannot be known: {fault}")
    else:
        for old in removed:
            say(f"removed the old artefact {old.manifest.version} ({old.image})")
    return stored


def _pin(project: Project, stored: Stored, stack: str) -> None:
    before = pin.pin(project.configuration(stack), stored.image)
    if before == stored.image:
        print(f"{stored.manifest.version} is pinned already: {stored.image}")
        return
    known = project.store.get(before) if before else None
    was = f"{known.manifest.version} ({before})" if known else before or "nothing"
    print(f"pinned in Pulumi.{stack}.yaml: {was} → {stored.manifest.version} ({stored.image})")


def main() -> None:
    try:
        app()
    except (RelevoError, SettingsError, TargetError) as error:
        sys.exit(str(error))
