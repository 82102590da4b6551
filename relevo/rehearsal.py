"""A local stack's last release and its rollback for practice: in a copy, with servers and data of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.local import backups, control, durable
from components.local.layout import Layout
from components.local.vault import Vault
from components.release import record, restoration, return_time
from components.release.context import APPROVED, DECIDED
from components.release.record import Release
from relevo import engine, logbook, pin, releases
from relevo.errors import RelevoError
from relevo.project import Project
from stacks.settings import load_file

# What would reach others: receivers, CI, an existing server, the folder and the ports of the running stack.
LEFT_OUT = ("notify", "pipeline", "onFailure", "stateDir", "port")
LEFT_OUT_INSIDE = {"database": ("port", "server", "serverSecret"), "cache": ("port",)}
Say = Callable[[str], None]


def rehearse(project: Project, stack: str, say: Say) -> list[str]:
    """The table of both: what each step took. Raises `RelevoError` where it cannot be done, or fails."""
    older, newer = pair(project, stack)
    with copy(project, stack, newer) as scratch:
        say(f"{older.version} in a copy of stack {stack}, at {scratch.root} …")
        _up(scratch, stack, older.image)
        _bring_data(project, scratch, stack, older, say)
        say(f"release of {newer.version} …")
        _up(scratch, stack, newer.image)
        say(f"rollback to {older.version} …")
        _up(scratch, stack, older.image)
        *_, forward, back = releases.of(scratch, stack)
    return table(forward, back)


def pair(project: Project, stack: str) -> tuple[Release, Release]:
    """What a rollback would go back to, and what serves. Raises `RelevoError` where there are not both."""
    target = project.settings(stack).target
    if target != "local":
        raise RelevoError(
            f"stack {stack} is of target {target}, whose images do not run here, but a rehearsal is of a "
            f"local stack; release both versions on one with relevo build and relevo pin, and rehearse that."
        )
    good = [release for release in releases.of(project, stack) if release.verdict == "succeeded"]
    older, newer = record.rollback_target(good), record.current(good)
    if older is None or newer is None:
        raise RelevoError(
            f"stack {stack} has no two good releases, but a rehearsal is of the last one and of the way back "
            f"from it; release another version first."
        )
    for release in (older, newer):
        if project.store.get(release.image) is None:
            raise RelevoError(
                f"{release.version} ({release.image}) is not in the artefact store any more, but a rehearsal "
                f"needs it; build its commit again with relevo build."
            )
    return older, newer


@contextlib.contextmanager
def copy(project: Project, stack: str, newer: Release) -> Iterator[Project]:
    """A checkout with the stack's program, configuration, secrets and artefacts; gone at the end."""
    folder = project.root / ".relevo"
    folder.mkdir(exist_ok=True)
    root = folder / "rehearsal"
    own = root / ".relevo"
    scratch = Project(
        root=root,
        variables={
            "PULUMI_BACKEND_URL": f"{(own / 'pulumi').as_uri()}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(own / "passphrase"),
        },
    )
    with durable.locked(folder / "rehearsal.lock"), contextlib.ExitStack() as finally_:
        _clear(root)  # of one that was killed
        finally_.callback(_clear, root)
        (own / "pulumi").mkdir(parents=True)
        durable.write(own / "passphrase", secrets.token_hex(32))
        (own / "artefacts").symlink_to(project.store.root)
        for name in ("Pulumi.yaml", "__main__.py"):
            shutil.copy(project.root / name, root / name)
        environment = project.root / ".venv"
        if environment.exists():
            (root / ".venv").symlink_to(environment)
        _configure(project, scratch, stack, newer)
        _give_secrets(project, scratch, stack)
        engine.run(scratch, "stack", "init", stack)
        yield scratch


def configuration(document: dict[str, Any], root: Path, newer: str) -> dict[str, Any]:
    """The stack's configuration as the copy has it. What was released here once may break what ran before."""
    config = {
        key: value
        for key, value in document["config"].items()
        if key.removeprefix("relevo:") not in LEFT_OUT and key.startswith("relevo:")
    }
    for section, names in LEFT_OUT_INSIDE.items():
        if isinstance(inside := config.get(f"relevo:{section}"), dict):
            config[f"relevo:{section}"] = {k: v for k, v in inside.items() if k not in names}
    if smoke := config.get("relevo:smoke"):
        config["relevo:smoke"] = str(root / smoke)
    return {"config": {**config, "relevo:acceptIncompatible": newer, "relevo:watch": {"minutes": 0}}}


def table(forward: Release, back: Release) -> list[str]:
    """Aligned lines: each step of the release and of the rollback, and how long going back took."""
    steps = list(dict.fromkeys([*forward.begun, *back.begun]))
    lines = [f"{'release of ' + forward.version:>18}  {f'{back.kind} to ' + back.version:>18}  step"]
    for step in steps:
        cells = (
            f"{found.seconds[step]:.2f} s" if step in found.seconds else "-" for found in (forward, back)
        )
        lines.append("  ".join([*(f"{cell:>18}" for cell in cells), step]))
    sums = (f"{sum(found.seconds.values()):.2f} s" for found in (forward, back))
    lines.append("  ".join([*(f"{cell:>18}" for cell in sums), "all steps"]))
    return [*lines, f"decision to the last verified instance: {return_time.of(back)}"]


# -- inside ------------------------------------------------------------------------------------------------
def _clear(root: Path) -> None:
    for run in root.glob(".relevo/*/run"):
        control.purge(run.parent)
    if root.exists():
        shutil.rmtree(root)


def _configure(project: Project, scratch: Project, stack: str, newer: Release) -> None:
    document = YAML(typ="safe").load(project.configuration(stack).read_text())
    yaml = YAML()
    yaml.width = 4096  # a digest stays on the line of its key
    with scratch.configuration(stack).open("w") as file:
        yaml.dump(configuration(document, project.root, newer.version), file)
    load_file(scratch.configuration(stack))  # raises for what cannot be left out


def _give_secrets(project: Project, scratch: Project, stack: str) -> None:
    """Those of the stack, so that its data can be read as it was written."""
    found, given = (Vault(Layout(of.state(stack)).secrets) for of in (project, scratch))
    for name in scratch.settings(stack).secrets:
        if not found.missing([name]):
            given.write(name, found.read(name))


def _bring_data(project: Project, scratch: Project, stack: str, older: Release, say: Say) -> None:
    """A backup of the stack in place of the empty database, if there is one."""
    from relevo import restore

    source, target = (Layout(of.state(stack)).backups for of in (project, scratch))
    backup = _backup(project, stack, older, say)
    if backup is None:
        return
    say(f"the data of backup {backup} …")
    shutil.copytree(source / backup, target / backup, copy_function=link)
    # What it says of rows that are lost is of the empty database.
    restore.restore(scratch, stack, backup, confirm=None, say=lambda _: None, image=older.image)


def link(source: str, target: str) -> None:
    """No second copy on the disk, unless the stack's folder is on another one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _backup(project: Project, stack: str, older: Release, say: Say) -> str | None:
    """The newest on which the older version can run as it is: one from later has nothing left to migrate."""
    names = [backup.name for backup in backups.stored(Layout(project.state(stack)))]
    if not names:
        say("the stack has no backup, so the rehearsal runs on an empty database")
        return None
    manifest = project.store.find(older.image).manifest
    found = restoration.within(manifest, names, record.parse(logbook.read(project, stack)))
    if found is None:
        say(
            f"no backup is left of before what {older.version} does not know, so the newest one is taken, on "
            f"which less is left to migrate"
        )
    return found or names[0]


def _up(scratch: Project, stack: str, image: str) -> None:
    pin.pin(scratch.configuration(stack), image)
    of_no_other = {APPROVED: "", DECIDED: ""}
    engine.run(scratch, "up", "--stack", stack, "--yes", "--skip-preview", variables=of_no_other)
