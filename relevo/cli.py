"""The desk's commands. Each calls one function and prints what came of it.

What a command needs is imported by it where that takes long: `relevo url` shall not wait for a driver.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from components.target import TargetError
from relevo import artefact, pin, releases, retention
from relevo.errors import RelevoError
from relevo.project import Project
from relevo.store import Stored
from stacks.settings import SettingsError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build, pin and look after releases. `pulumi up` makes them.",
)
secrets = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Set the secrets that the stack's configuration names."
)
app.add_typer(secrets, name="secret")
logbook = typer.Typer(rich_markup_mode=None)
app.add_typer(logbook, name="logbook")

StackOption = Annotated[str, typer.Option("--stack", help="The stack that is meant.")]
PathArgument = Annotated[Path, typer.Argument(help="The project's folder in its git repository.")]
DigestArgument = Annotated[str, typer.Argument(help="A digest, its first digits, or a version tag.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def say(line: str) -> None:
    """Progress, on stderr: stdout is for what scripts read."""
    print(f"relevo: {line}", file=sys.stderr, flush=True)


def only_the_result(as_json: bool) -> contextlib.AbstractContextManager[object]:
    """What the engine or a receiver `console` prints meanwhile goes to stderr if stdout is for JSON."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


@app.command()
def build(path: PathArgument, stack: StackOption = "local") -> None:
    """Make the artefact of a project's committed source.

    The last line is its digest.
    """
    print(_build(Project.here(), path, stack).image)


@app.command("pin")
def pin_(digest: DigestArgument, stack: StackOption = "local") -> None:
    """Choose which artefact runs; `pulumi up` then releases it.

    The choice is written into the stack's configuration.
    """
    project = Project.here()
    if pin.is_on_azure(project.configuration(stack)):
        from relevo import registry

        image = registry.accepted(project, stack, digest, say)
    else:
        stored = project.store.find(digest)
        artefact.restore_environment(stored, project.store, say)
        artefact.tell(stored.manifest, say)
        image = stored.image
    before = pin.pin(project.configuration(stack), image)
    if before == image:
        print(f"{project.store.described(image)} is pinned already")
    else:
        was = project.store.described(before) if before else "nothing"
        print(f"pinned in Pulumi.{stack}.yaml: {was} → {project.store.described(image)}")


@app.command()
def push(digest: DigestArgument, stack: StackOption = "local") -> None:
    """Make an artefact's image in a stack's registry.

    Of a stack on Azure. The last line is the image, as relevo pin takes it.
    """
    from relevo import registry

    print(registry.push(Project.here(), stack, digest, say))


@app.command()
def promote(
    image: Annotated[str, typer.Argument(help="As Pulumi.<stack>.yaml of the first stack pins it.")],
    source: Annotated[str, typer.Option("--from", help="The stack that has it.")],
    target: Annotated[str, typer.Option("--to", help="The stack that is to have it.")],
) -> None:
    """Copy an image to another stack's registry.

    Its digest stays. The last line is the image there, as relevo pin takes it.
    """
    from relevo import registry

    print(registry.promote(Project.here(), image, source, target, say))


@app.command()
def ensure_pinned(path: PathArgument, stack: StackOption = "local") -> None:
    """Build and pin the project if it has no usable pin.

    That is, if nothing is pinned, or if what is pinned is not in the store.
    """
    from relevo import ensure

    project = Project.here()
    stored = ensure.pinned(project, stack, path, lambda: _build(project, path, stack), say)
    print(f"{stored.manifest.version} is pinned: {stored.image}")


@app.command("releases")
def releases_(
    stack: StackOption = "local",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List what was released and what is built.

    Version, digest, when, verdict, what serves and what is pinned; the newest first.
    """
    found = releases.overview(Project.here(), stack)
    if as_json:
        print(json.dumps([asdict(row) for row in found], indent=2))
    else:
        print("\n".join(releases.table(found)) or "nothing is built or released yet; try relevo build PATH")


@app.command()
def show(digest: DigestArgument) -> None:
    """Show an artefact's revision, lock, checks and migrations.

    Each migration with its effect on the version before.
    """
    print("\n".join(artefact.described(Project.here().store.find(digest))))


@app.command()
def prune() -> None:
    """Remove artefacts that nothing needs any more.

    Those that are neither among the ten newest nor pinned, running or needed for a rollback.
    """
    project = Project.here()
    with project.store.exclusive():
        removed = retention.prune(project)
    for stored in removed:
        print(f"removed {stored.image} ({stored.manifest.version})")
    if not removed:
        print("nothing to remove")


@app.command()
def rollback(
    stack: StackOption = "local",
    yes: YesOption = False,
    critical: Annotated[
        bool, typer.Option("--critical", help="Do not ask, and count the 30 minutes down.")
    ] = False,
) -> None:
    """Go back to the good release before.

    Pins it, shows the preview, asks, and releases it. With --critical nobody is asked, everything that guards
    data is done as ever, and the end says what took how long against the limit.
    """
    from relevo import rollback as back

    confirm = None if yes or critical else (lambda: typer.confirm("Release this?"))
    back.rollback(Project.here(), stack, confirm=confirm, say=say, critical=critical)


@app.command("rehearse")
def rehearse_(stack: StackOption = "local") -> None:
    """Practise the last release and its rollback.

    In a copy of the local stack with servers of its own, with the newest backup's data. Prints how long each
    step took; the stack itself is not touched.
    """
    from relevo import rehearsal

    print("\n".join(rehearsal.rehearse(Project.here(), stack, say)))


@app.command()
def recover(stack: StackOption = "local") -> None:
    """Come back from a failed release, if the stack asks for it.

    For stacks with relevo:onFailure: rollback, whose `pulumi up` does it by itself. Nothing is done where the
    record does not ask for it.
    """
    from relevo import recovery

    recovery.recover(Project.here(), stack, say=say)


@app.command("watch")
def watch_(
    stack: StackOption = "local",
    as_json: Annotated[
        bool, typer.Option("--json", help="For scripts: only the result, at the end.")
    ] = False,
    within: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="For CI: warn where its job may end before.")
    ] = None,
) -> None:
    """Watch the last release against the hour before it.

    A local stack is watched without it, too. The exit status is 1 where something rose that should not, or
    where the target could not be asked to the end.
    """
    from relevo import watch

    with only_the_result(as_json):
        found = watch.watch(Project.here(), stack, quietly=as_json, say=say, within=within)
    if as_json:
        print(json.dumps(found, indent=2))
    if found["verdict"] in ("breached", "not measured"):
        raise typer.Exit(1)


@app.command()
def status(
    stack: StackOption = "local",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show what runs, the last release, and what to try next."""
    from relevo import situation

    found = situation.look(Project.here(), stack)
    print(json.dumps(situation.as_json(found), indent=2) if as_json else "\n".join(situation.describe(found)))


@app.command()
def url(stack: StackOption = "local") -> None:
    """Print the public address and nothing else."""
    print(Project.here().address(stack))


@app.command("logs")
def logs_(
    program: Annotated[str | None, typer.Argument(help="One program; all if left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are added.")] = False,
    stack: StackOption = "local",
) -> None:
    """Print the end of the programs' logs."""
    from components.local import control
    from relevo import logs

    project = Project.here()
    if project.settings(stack).target == "azure":
        consoles, programs = logs.consoles(project, stack, program)
        for name, line in consoles.tail(programs, logs.LINES):
            print(logs.prefixed(programs, name, line))
        if follow:
            for name, line in consoles.follow(programs):
                print(logs.prefixed(programs, name, line), flush=True)
        return
    files = logs.choose(control.log_files(project.state(stack)), program)
    added = logs.follow(files)
    for name, file in files.items():
        for line in logs.tail(file):
            print(logs.prefixed(files, name, line))
    if follow:
        for name, line in added:
            print(logs.prefixed(files, name, line), flush=True)


@app.command()
def start(stack: StackOption = "local") -> None:
    """Start again all that ran, as after a reboot.

    Returns when it runs.
    """
    from components.local import control

    for program in control.start(Project.here().state(stack)):
        print(f"{program.name} {program.detail.lower()}")


@app.command()
def backup(stack: StackOption = "local") -> None:
    """Back up database and media now, verified by a restore."""
    from relevo import backup as backups

    taken = backups.take(Project.here(), stack)
    print(f"{taken.name}: {taken.bytes} bytes in {taken.location}, verified")


@app.command("restore")
def restore_(
    backup: Annotated[
        str | None, typer.Argument(help="Its name; left out: the one that the way back needs.")
    ] = None,
    stack: StackOption = "local",
    yes: YesOption = False,
    undo: Annotated[bool, typer.Option("--undo", help="Back to what was put aside last.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List what is kept beside.")] = False,
    drop: Annotated[str | None, typer.Option("--drop", help="Remove one that is kept, by its id.")] = None,
) -> None:
    """Bring a backup back: database and media.

    Into a database beside; shows what was written since and would be lost, asks, and switches. What served
    is kept.
    """
    from relevo import restore as restores

    ways = {"NAME": backup is not None, "--undo": undo, "--list": show, "--drop": drop is not None}
    if len(given := [way for way, is_given in ways.items() if is_given]) > 1:
        raise RelevoError(
            f"{' and '.join(given)} are given, but one of them is accepted; leave the rest out."
        )
    project = Project.here()
    confirm = None if yes else (lambda: typer.confirm("Switch to it?"))
    if show:
        print("\n".join(restores.listed(project, stack, say=say)))
    elif drop is not None:
        if not yes and not typer.confirm(f"Delete {drop}, database and media, for good?"):
            return
        restores.drop(project, stack, drop, say=say)
        print(f"{drop} is gone")
    elif undo:
        restores.undo(project, stack, confirm=confirm, say=say)
    else:
        restores.restore(project, stack, backup, confirm=confirm, say=say)


@app.command("drill")
def drill_(
    backup: Annotated[str | None, typer.Argument(help="Its name; left out: the newest.")] = None,
    stack: StackOption = "local",
) -> None:
    """Restore a backup for practice, and say how long that takes.

    Into a scratch database, which is counted and asked by the artefact of its time; then it is dropped.
    """
    from relevo import drill as drills

    print(drills.drill(Project.here(), stack, backup))


@app.command("review")
def review_(
    stack: StackOption = "local",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    early: Annotated[bool, typer.Option("--now", help="Before its time, over the span so far.")] = False,
    due: Annotated[
        bool, typer.Option("--due", help="For CI: no fault where there is nothing to do, or it was done.")
    ] = False,
) -> None:
    """Review the volumes of data after a release, once it is due.

    Against the span before it and the weekly pattern, as relevo:review says. The exit status is 1 where a
    volume is not stable or could not be counted; with --due only until everybody was told.
    """
    from relevo import review

    if due and early:
        raise RelevoError("--due and --now are both given, but a review waits or does not; give one.")
    project = Project.here()
    with only_the_result(as_json):
        found = review.perform_due(project, stack) if due else review.perform(project, stack, early=early)
    print(json.dumps(found.as_json(), indent=2) if as_json else "\n".join(found.lines))
    if not found.fine and not (due and found.handled):
        raise typer.Exit(1)


@app.command("cost")
def cost_(
    stack: StackOption,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Estimate what a stack on Azure costs a month.

    From its configuration and a dated table of approximate list prices.
    """
    from relevo import cost

    found = cost.estimate(stack, Project.here().settings(stack))
    print(json.dumps(found.as_json(), indent=2) if as_json else "\n".join(cost.table(found)))


@app.command()
def purge(stack: StackOption = "local", yes: YesOption = False) -> None:
    """Stop the local stack and delete all that it keeps.

    Data, secrets, backups and record. Artefacts stay.
    """
    from components.local import control

    state = Project.here().state(stack)
    if not state.exists():
        print(f"nothing to delete: {state} is not there")
        return
    if not yes and not typer.confirm(f"Delete {state} with all data, secrets and backups?"):
        return
    control.purge(state)
    print(f"deleted {state}")


@logbook.callback(invoke_without_command=True)
def logbook_(
    called: typer.Context,
    stack: StackOption = "local",
    steps: Annotated[bool, typer.Option("--steps", help="With every step of each release.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: all, and every entry.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write its pages into this folder.")] = None,
) -> None:
    """List what is recorded of a stack.

    Releases, rollbacks, restores, drills and refusals, with when and by whom; the oldest first.
    """
    if called.invoked_subcommand is not None:
        sources = map(called.get_parameter_source, called.params)
        if any(source is not None and source.name != "DEFAULT" for source in sources):
            raise RelevoError(
                f"an option is given before {called.invoked_subcommand}, but only those after it are heard; "
                f"move it there."
            )
        return
    from relevo import logbook

    if html is not None and as_json:
        raise RelevoError("--html and --json are both given, but one of them is written; give one.")
    written = logbook.read(Project.here(), stack)
    if html is not None:
        print(logbook.draw(written, stack, html))
    elif as_json:
        print(json.dumps(logbook.told(written, stack), indent=2))
    else:
        print("\n".join(logbook.table(written, steps=steps)) or "nothing is recorded yet; try pulumi up")


@logbook.command("verify")
def logbook_verify(
    stack: StackOption = "local",
    head: Annotated[
        str | None,
        typer.Option("--head", help="A head that is known; left out: that of the engine's state."),
    ] = None,
) -> None:
    """Verify that no entry was changed, removed or added in between.

    That the end is not missing, only a known head shows: that of the last good release is in the engine's
    state. The exit status is 1 where anything was changed.
    """
    from relevo import logbook

    project = Project.here()
    if head is None:
        try:
            head = logbook.kept_head(project, stack)
        except RelevoError as fault:
            print(f"the engine's state has no head, so a cut end would not show: {fault}")
    print("\n".join(logbook.verified(logbook.read(project, stack), head=head)))


@secrets.command("set")
def secret_set(
    name: Annotated[str, typer.Argument(help="As in relevo:secrets.")], stack: StackOption = "local"
) -> None:
    """Store a secret, read from stdin or asked for.

    Its value is never shown. It takes effect with the next `pulumi up`.
    """
    from relevo import secret

    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    secret.put(Project.here(), stack, name, value)
    print(f"{name} is set; it takes effect with the next pulumi up, a release with the same artefact")


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


def main() -> None:
    try:
        app()
    except (RelevoError, SettingsError, TargetError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename or 'the system'} cannot be used ({error.strerror or error}); correct it.")
