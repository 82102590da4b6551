"""An artefact of the store as an OCI image in a registry: its build context, and `docker buildx` to build it.

What the image is comes from the artefact alone: source, lock, manifest. Its labels say so to the release.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from components.azure.artefacts import LOCK, MANIFEST, REVISION, VERSION
from components.azure.image import CONTEXT, ITSELF, MEDIA_ROOT, PLATFORM, PREPARED, RECIPE, STATIC_ROOT
from components.release.manifest import Manifest
from relevo import artefact
from relevo.artefact import Workspace
from relevo.errors import RelevoError, one_line
from relevo.lock import run_uv
from relevo.store import Store, Stored
from stacks.settings import App, Settings

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
GUNICORN_CONFIG = CHECKOUT / "components" / "gunicorn_config.py"
CREATED = "org.opencontainers.image.created"
NO_STATIC_FILES = "Unknown command: 'collectstatic'"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the context becomes an image; the same for `relevo push` and for a build during `pulumi up`."""

    tag: str
    labels: Mapping[str, str]
    arguments: Mapping[str, str]  # of the Dockerfile


def recipe(manifest: Manifest, image: str, app: App, *, postgresql: str) -> Recipe:
    """`image`: app@sha256:… of the artefact. `postgresql`: major version of the server, e.g. "17"."""
    return Recipe(
        tag=tag(manifest.version, image),
        labels={
            # The same bytes each time: without a time in gzip's header.
            MANIFEST: base64.b64encode(gzip.compress(manifest.to_json().encode(), mtime=0)).decode(),
            LOCK: manifest.lock,
            VERSION: manifest.version,
            REVISION: manifest.revision,
            CREATED: manifest.built_at,
        },
        arguments={
            "BASE": app.build.base or f"docker.io/library/python:{manifest.python}-slim-bookworm",
            "POSTGRESQL": postgresql,
            "PROJECT": artefact.project_path(app, ""),
        },
    )


def tag(version: str, digest: str) -> str:
    """Of an image, for people: what has none is removed by the registry after a while."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', version)[:100]}-{digest.rpartition(':')[2][:12]}"


def context(stored: Stored, settings: Settings, store: Store, folder: Path, say: Say) -> None:
    """Fill `folder` with all that the Dockerfile takes. Raises `RelevoError`."""
    artefact.restore_environment(stored, store, say)
    source = folder / "source"
    artefact.copy_writable(stored.folder / "source", source)
    if settings.app.collectstatic:
        collect(stored, settings, store, folder, say)
    (folder / "static").mkdir(exist_ok=True)
    for path in folder.rglob("__pycache__"):
        shutil.rmtree(path)
    link(source / settings.app.build.project, settings.app)
    (folder / ITSELF).write_text(stored.manifest.to_json())
    shutil.copy(stored.folder / "requirements-lock.txt", folder)
    shutil.copy(HERE / "requirements-lock.txt", folder / "tools-lock.txt")
    for file in (HERE / "Dockerfile", HERE / "gunicorn.py", GUNICORN_CONFIG):
        shutil.copy(file, folder)
    run_uv(
        ["build", "--quiet", "--wheel", "--out-dir", str(folder / "tools"), str(CHECKOUT)],
        fault="Relevo's own package for the image cannot be made",
    )
    (folder / "tools" / ".gitignore").unlink(missing_ok=True)


def collect(stored: Stored, settings: Settings, store: Store, folder: Path, say: Say) -> None:
    """Static files are part of the image, so that each instance serves those of its own release."""
    say("collecting static files")
    installed = store.environments / stored.environment
    work = folder / "source"
    static = folder / "static"
    static.mkdir()
    inside = settings.app.folders.static
    if inside:
        hard_coded = work / settings.app.build.project / inside
        if hard_coded.is_dir():
            shutil.rmtree(hard_coded)
        hard_coded.parent.mkdir(parents=True, exist_ok=True)
        hard_coded.symlink_to(static)
    done = Workspace(
        project=work / settings.app.build.project,
        python=installed / "bin" / "python",
        variables=artefact.placeholder_environment(settings, stored.manifest.version, installed, work),
    ).run(["manage.py", "collectstatic", "--noinput"])
    if done.returncode and NO_STATIC_FILES not in done.stderr:
        raise RelevoError(
            f"collectstatic fails ({one_line(artefact.last_line(done.stderr))}), but the image holds the "
            f"static files; correct it, or set relevo:app.collectstatic to false."
        )


def link(project: Path, app: App) -> None:
    """Folders that the project's settings hard-code lead to the image's own."""
    for inside, root in ((app.folders.static, STATIC_ROOT), (app.folders.media, MEDIA_ROOT)):
        if not inside:
            continue
        hard_coded = project / inside
        if hard_coded.is_symlink():
            hard_coded.unlink()
        elif hard_coded.is_dir():
            shutil.rmtree(hard_coded)
        hard_coded.parent.mkdir(parents=True, exist_ok=True)
        hard_coded.symlink_to(root)


def push(
    stored: Stored, settings: Settings, store: Store, *, repository: str, postgresql: str, say: Say
) -> str:
    """Build and push the image; returns it as a stack pins it, `<repository>@sha256:…`.

    `repository`: with the registry's host. The image's times are those of the artefact, so that the same
    artefact on the same base gives the same digest. Raises `RelevoError`.
    """
    made = recipe(stored.manifest, stored.image, settings.app, postgresql=postgresql)
    if "@sha256:" not in made.arguments["BASE"]:
        say(
            f"warning: {made.arguments['BASE']} is not pinned by digest, so the image may differ next time; "
            f"set relevo:app.build.base"
        )
    with tempfile.TemporaryDirectory(prefix="relevo-image-") as temporary:
        folder, report = Path(temporary, "context"), Path(temporary, "metadata.json")
        folder.mkdir()
        context(stored, settings, store, folder, say)
        say(f"building {repository}:{made.tag}")
        docker(
            arguments(made, f"{repository}:{made.tag}", folder, report),
            epoch=int(datetime.fromisoformat(stored.manifest.built_at).timestamp()),
        )
        digest = json.loads(report.read_text())["containerimage.digest"]
    return f"{repository}@{digest}"


def prepare(stored: Stored, settings: Settings, store: Store, *, postgresql: str, say: Say) -> None:
    """Leave context and recipe with the artefact, for a build in `pulumi up` (azure/image_build.py).

    Its builder takes no labels, so they are in the Dockerfile. Raises `RelevoError`.
    """
    made = recipe(stored.manifest, stored.image, settings.app, postgresql=postgresql)
    place = stored.folder / PREPARED
    with tempfile.TemporaryDirectory(prefix=".image-", dir=stored.folder) as temporary:
        folder = Path(temporary, PREPARED)
        (folder / CONTEXT).mkdir(parents=True)
        context(stored, settings, store, folder / CONTEXT, say)
        with (folder / CONTEXT / "Dockerfile").open("a") as dockerfile:
            for name, value in made.labels.items():
                dockerfile.write(f"LABEL {name}={_quoted(value)}\n")
        (folder / RECIPE).write_text(json.dumps({"tag": made.tag, "arguments": dict(made.arguments)}))
        if place.exists():
            place.rename(Path(temporary, "before"))
        folder.rename(place)


def _quoted(value: str) -> str:
    """As a Dockerfile takes a text as it is ("Environment replacement" is for the rest)."""
    return '"' + re.sub(r'(["$\\])', r"\\\1", value) + '"'


def arguments(made: Recipe, reference: str, folder: Path, report: Path) -> list[str]:
    """Of docker ("docker buildx build"). One manifest, no index: attestations would make it one."""
    return [
        *("buildx", "build", str(folder), "--platform", PLATFORM, "--provenance=false", "--sbom=false"),
        *("--output", f"type=image,name={reference},push=true,rewrite-timestamp=true"),
        *("--metadata-file", str(report)),
        *(part for name, value in made.arguments.items() for part in ("--build-arg", f"{name}={value}")),
        *(part for name, value in made.labels.items() for part in ("--label", f"{name}={value}")),
    ]


def docker(words: Sequence[str], *, epoch: int) -> None:
    """Its progress goes to stderr, as it comes."""
    program = shutil.which("docker")
    if program is None:
        raise RelevoError(
            "docker is not on PATH, but it builds the image; install Docker with buildx, or run this in CI."
        )
    done = subprocess.run(
        [program, *words],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise RelevoError(
            f"docker buildx build exited {done.returncode}, see above; correct it, or log in to the registry "
            f"(az acr login --name …), and run this again."
        )
