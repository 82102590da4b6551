"""Build an artefact: the committed source, its dependencies frozen and installed, and a manifest.

The digest is over the inputs alone (lock, Python version, build settings, every file), so that the same
inputs give the same digest anywhere. The manifest is not part of it: it also says when and from which commit.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from components.local.environment import base_environment, process_environment
from components.release.manifest import Check, Manifest, Migration
from components.target import DJANGO_FACTS, Deployment
from relevo import environment, lock, source
from relevo.errors import RelevoError, one_line
from relevo.source import Source
from relevo.store import Store, Stored
from stacks.settings import App, Settings

CHECK_SECONDS = 1800.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a build's commands run: a copy of the source that they may write to, with the environment."""

    project: Path  # the folder with manage.py
    python: Path
    variables: Mapping[str, str]

    def run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Python with the arguments, as the project will be run, but without servers and real secrets."""
        try:
            return subprocess.run(
                [str(self.python), *arguments],
                cwd=self.project,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=CHECK_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            return subprocess.CompletedProcess(
                expired.cmd, 1, stdout="", stderr=f"did not end within {CHECK_SECONDS:.0f} s"
            )


def build(folder: Path, settings: Settings, store: Store, say: Say) -> Stored:
    """The artefact of the folder's committed source; an equal one that is there is returned as it is.

    Raises `RelevoError`, and then leaves nothing behind. A proof that fails does not raise: it is in the
    manifest, and the release refuses such an artefact.
    """
    committed = source.read(folder)
    if committed.changed:
        say(
            f"warning: {committed.changed} changed or new path(s) in {folder} are not committed and not in "
            f"the artefact"
        )
    say(f"building {committed.version} ({committed.revision[:12]}) from {folder}")
    with store.exclusive(lambda: say("another build is at it; waiting")) as held, store.unfinished() as made:
        python = environment.version_of(settings.app.build.python)
        program = environment.interpreter(python)
        files = source.write(committed, made / "source")
        manage = f"{project_path(settings.app, '')}manage.py"
        if manage not in files:
            raise RelevoError(
                f"{folder}/{manage} is not committed, but a Django project has it; "
                f"commit it, or set relevo:app.build.project to its folder."
            )
        copy_writable(made / "source", made / "work")
        without_lock = inputs_of(python, settings.app, files)
        frozen = earlier_lock(store, without_lock)
        if frozen is None:
            frozen = lock.freeze(settings.app.build, made / "work", program, python)
        lock.require_servers(frozen, settings.app)
        inputs = canonical({**without_lock, "lock": digest(frozen)})
        image = f"app@{digest(inputs)}"
        before = store.get(image)
        installed = store.environments / environment.name_of(frozen, python)
        if before and environment.is_complete(installed) and not failed(before.manifest):
            say(f"it is there already, built {before.manifest.built_at} as {before.manifest.version}")
            return before
        fresh = not environment.is_complete(installed)
        if fresh:
            environment.install(installed, frozen, program, python, project=made / "work", held=held, say=say)
        try:
            manifest = examine(committed, settings, made / "work", installed, frozen, python, say)
            manifest = replace(manifest, folders=folders(files))
        except BaseException:
            if fresh:
                store.discard(installed)
            raise
        if before:
            # What failed then may have been the settings around it: only the verdict is new, the rest stays.
            manifest = replace(
                manifest,
                version=before.manifest.version,
                revision=before.manifest.revision,
                built_at=before.manifest.built_at,
            )
            renewed = made / "manifest.json"
            renewed.write_text(manifest.to_json())
            renewed.replace(before.folder / "manifest.json")
        else:
            publish(made, store, image, manifest, inputs, frozen, installed)
    tell(manifest, say)
    return Stored(image=image, folder=store.folder(image), manifest=manifest)


def restore_environment(stored: Stored, store: Store, say: Say) -> None:
    """Install again what the artefact's lock says, where its environment or the Python below it is gone."""
    installed = store.environments / stored.environment
    if environment.is_complete(installed):
        return
    python = stored.manifest.python
    with store.exclusive(lambda: say("another build is at it; waiting")) as held:
        if not environment.is_complete(installed):
            frozen = (stored.folder / "requirements-lock.txt").read_text()
            program = environment.interpreter(python)
            environment.install(
                installed, frozen, program, python, project=stored.folder / "source", held=held, say=say
            )


def inputs_of(python: str, app: App, files: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """All that makes the artefact what it is, but its lock. Of the settings only those that shape it."""
    build = app.build
    return {
        "python": python,
        "settings": {
            "constraints": build.constraints,
            "lock": build.lock,
            "packages": list(build.packages),
            "pipeline": [list(command) for command in build.pipeline],
            "project": project_path(app, "."),
            "requirements": build.requirements,
            "settings": app.settings,
        },
        "source": {path: list(about) for path, about in files.items()},
    }


def earlier_lock(store: Store, without_lock: Mapping[str, Any]) -> str | None:
    """The lock to which these very inputs were frozen before, so that a commit stays what it was.

    Newer versions come with the next commit. In another store the registry is asked.
    """
    for stored in store.all():
        found = json.loads((stored.folder / "inputs.json").read_text())
        found.pop("lock")
        if found == without_lock:
            return (stored.folder / "requirements-lock.txt").read_text()
    return None


def canonical(inputs: Mapping[str, Any]) -> str:
    return json.dumps(inputs, sort_keys=True, separators=(",", ":"))


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def folders(files: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Each folder with a short digest of the files in it; by these a release knows what it touches."""
    inside: dict[str, dict[str, Any]] = {}
    for path, about in files.items():
        inside.setdefault(PurePosixPath(path).parent.as_posix(), {})[path] = list(about)
    return {
        folder: hashlib.sha256(canonical(there).encode()).hexdigest()[:16]
        for folder, there in sorted(inside.items())
    }


def project_path(app: App, here: str) -> str:
    """The folder with manage.py inside the source, with a slash at its end; `here` where it is the source."""
    normal = Path(app.build.project).as_posix()
    return here if normal == "." else f"{normal}/"


def examine(
    committed: Source, settings: Settings, work: Path, installed: Path, frozen: str, python: str, say: Say
) -> Manifest:
    """Everything that the artefact says of itself, found by running the project."""
    workspace = Workspace(
        project=work / settings.app.build.project,
        python=installed / "bin" / "python",
        variables=placeholder_environment(settings, committed.version, installed, work),
    )
    say("reading the migrations")
    graph = migrations(workspace)
    conflicts = "; ".join(f"{app} has {', '.join(names)}" for app, names in graph["conflicts"].items())
    unmet = environment.fits_together(installed)
    checks = [
        Check(name="lock has hashes", passed=True),
        Check(name="environment installs", passed=not unmet, detail=unmet),
        Check(name="migrations load", passed=not conflicts, detail=conflicts),
    ]
    for command in settings.app.build.pipeline:
        say(f"pipeline: manage.py {' '.join(command)}")
        checks.append(pipeline_check(workspace, command))
    return Manifest(
        version=committed.version,
        revision=committed.revision,
        built_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        lock=digest(frozen),
        python=python,
        migrations=tuple(
            Migration(
                app=found["app"],
                name=found["name"],
                effect=found["effect"],
                reversible=found["reversible"],
                loses=tuple(found["loses"]),
                icu=found["icu"],
                operations=tuple(found["operations"]),
                dependencies=tuple((app, name) for app, name in found["dependencies"]),
                replaces=tuple((app, name) for app, name in found["replaces"]),
            )
            for found in graph["migrations"]
        ),
        heads={app: tuple(names) for app, names in graph["heads"].items()},
        pipeline=tuple(checks),
    )


def migrations(workspace: Workspace) -> dict[str, Any]:
    """The graph as django_facts.py prints it. Raises `RelevoError` if the project cannot be loaded."""
    done = workspace.run([str(DJANGO_FACTS), "migrations"])
    if done.returncode:
        raise RelevoError(
            f"the project's migrations cannot be loaded: {one_line(last_line(done.stderr))}; "
            f"correct the project, or relevo:app.settings and relevo:app.environment."
        )
    return json.loads(done.stdout)


def pipeline_check(workspace: Workspace, command: Sequence[str]) -> Check:
    name = (
        "no missing migrations" if tuple(command[:2]) == ("makemigrations", "--check") else " ".join(command)
    )
    done = workspace.run(["manage.py", *command])
    detail = "" if done.returncode == 0 else one_line(f"{done.stdout}\n{done.stderr}", limit=300)
    return Check(
        name=name, passed=done.returncode == 0, detail=detail or ("" if done.returncode == 0 else "failed")
    )


def placeholder_environment(settings: Settings, version: str, installed: Path, work: Path) -> dict[str, str]:
    """What a process of the project gets on the local target, by the same function, with nothing real in it.

    Servers are at a port where nobody listens; secrets are random and kept nowhere.
    """
    unreachable = 1
    facts: dict[str, Any] = {
        "ports": dict.fromkeys(("public", "database", "cache"), unreachable),
        "database": {"name": settings.database.name, "user": settings.database.user},
        "app": {"environment": dict(settings.app.environment), "settings": settings.app.settings},
        "processes": {},
    }
    return process_environment(
        facts,
        process="manage",
        name="build",
        marker="build",
        deployment=Deployment(image="build", version=version, release="build"),
        environment_folder=str(installed),
        base=base_environment(),
        static_root=str(work.parent / "static"),
        media_root=str(work.parent / "media"),
        secret=lambda name: secrets.token_urlsafe(48),
    )


def publish(
    made: Path, store: Store, image: str, manifest: Manifest, inputs: str, frozen: str, installed: Path
) -> None:
    """Complete the artefact and give it its name, all at once."""
    whole = made / "artefact"
    whole.mkdir()
    (made / "source").rename(whole / "source")
    environment.compile_source(installed, whole / "source", final=store.folder(image) / "source")
    (whole / "manifest.json").write_text(manifest.to_json())
    (whole / "inputs.json").write_text(inputs)
    (whole / "requirements-lock.txt").write_text(frozen)
    (whole / "environment").write_text(f"{installed.name}\n")
    whole.rename(store.folder(image))


def failed(manifest: Manifest) -> list[Check]:
    return [check for check in manifest.pipeline if not check.passed]


def tell(manifest: Manifest, say: Say) -> None:
    for check in failed(manifest):
        say(f"RED: {check.name}: {check.detail}")
    if failed(manifest):
        say("RED: a release of this artefact will be refused")


def described(stored: Stored) -> list[str]:
    """The manifest, for people."""
    manifest = stored.manifest
    lines = [
        f"version     {manifest.version}",
        f"image       {stored.image}",
        f"revision    {manifest.revision}",
        f"built       {manifest.built_at}, Python {manifest.python}",
        f"lock        {manifest.lock}",
    ]
    for check in manifest.pipeline:
        lines.append(
            f"check       {'passed' if check.passed else 'RED   '}  {check.name}  {check.detail}".rstrip()
        )
    for migration in manifest.migrations:
        way_back = "" if migration.reversible else ", cannot be reversed"
        needs = ", needs ICU" if migration.icu else ""
        lost = ", reversed without values" if migration.loses and migration.reversible else ""
        lines.append(f"migration   {migration.effect:8}  {migration}{way_back}{lost}{needs}")
    return lines


def copy_writable(original: Path, copy: Path) -> None:
    """Commands may write beside and into the source; what they do there never reaches the artefact."""
    shutil.copytree(original, copy, symlinks=True)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
