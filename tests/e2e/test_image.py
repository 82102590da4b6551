"""What the Dockerfile is given is all that an image needs: its own lines are run here, without Docker."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.release.manifest import Manifest
from relevo import artefact, image
from relevo.store import Store, Stored
from stacks.settings import load_file

ROOT = Path(__file__).parents[2]
PARTS = ("start", "run", "schema", "dump", "role")


@dataclass(frozen=True)
class Image:
    """`context`: what Docker would be given. `root`: what is in the image, as far as it is Relevo's."""

    context: Path
    root: Path
    project_python: Path
    variables: dict[str, str]
    stored: Stored
    store: Store

    @property
    def app(self) -> Path:
        return self.root / "app"

    def tools(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run by the image's own interpreter in its working directory, with no variable of this process."""
        return subprocess.run(
            [self.root / "relevo" / "bin" / "python", *words],
            cwd=self.app,
            env={**self.variables, **more},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def made(repository: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Of the example's first release, as a stack on Azure has it. The project's packages are the store's."""
    settings = load_file(ROOT / "Pulumi.dev.yaml")
    artefacts, said = Store(store), list[str]()
    subprocess.run(["git", "-C", repository, "checkout", "--quiet", "v1"], check=True, capture_output=True)
    stored = artefact.build(repository, settings, artefacts, said.append)
    folder = tmp_path_factory.mktemp("image")
    context, root = folder / "context", folder / "root"
    context.mkdir()
    image.context(stored, settings, artefacts, context, said.append)
    (root / "build").mkdir(parents=True)
    installed = artefacts.environments / stored.environment
    _follow(context, root)
    return Image(
        context,
        root,
        installed / "bin" / "python",
        artefact.placeholder_environment(settings, "v1", installed, root / "work"),
        stored,
        artefacts,
    )


def _follow(context: Path, root: Path) -> None:
    """The first stage of the Dockerfile below `root`, but for the installation of the project's packages."""
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    text = (context / "Dockerfile").read_text().replace("\\\n", "")
    stage = text.partition("AS build\n")[2].partition("\nFROM ")[0]
    for line in stage.splitlines():
        instruction, _, words = line.partition(" ")
        if instruction == "COPY":
            *sources, target = words.split()
            place = root / target.strip("/")
            for source in sources:
                if (context / source).is_dir():
                    shutil.copytree(context / source, place, symlinks=True, dirs_exist_ok=True)
                else:
                    shutil.copy(context / source, place)
        elif instruction == "RUN":
            for command in words.split("&&"):
                if ".venv" not in command:
                    _run(re.sub(r"(?<![\w.])/(?=app|relevo|build)", f"{root}/", command), root)


def _run(command: str, root: Path) -> None:
    subprocess.run(
        ["sh", "-c", command],
        check=True,
        env={"PATH": f"{root}/bin:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdout=subprocess.DEVNULL,
        timeout=120,
    )


def test_the_tools_of_the_image_need_nothing_that_is_not_in_it(made: Image) -> None:
    for part in PARTS:
        done = made.tools("-P", "-c", f"import components.azure.{part} as part; print(part.__file__)")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(str(made.root / "relevo" / "lib"))


def test_a_command_of_the_project_runs_beside_its_manage_py(made: Image) -> None:
    program = (
        "import sys; from components.azure import run; "
        "sys.exit(run.execute([sys.argv[1], *run.command(sys.argv[2:])[1:]], key='k', log=run.Log(None)))"
    )
    done = made.tools("-P", "-c", program, str(made.project_python), "manage.py", "check")
    *output, last = done.stdout.splitlines()
    assert output == ["System check identified no issues (0 silenced)."]
    assert last.startswith('{"relevo": "ended", "status": 0, ')
    assert done.returncode == 0

    # A script of ours in the project's interpreter, which has none of our packages.
    done = made.tools("-P", "-c", program, str(made.project_python), "django_facts.py", "migrations")
    assert done.returncode == 0, done.stdout
    assert '"heads"' in done.stdout


def test_a_process_of_the_project_is_started_where_it_is(made: Image) -> None:
    started = made.tools(
        *("-P", "-m", "components.azure.start", "web", "--", str(made.project_python), "manage.py", "check"),
        RELEVO_RELEASE_ID="r1",
        RELEVO_IMAGE="cr.example.org/assets@sha256:0",
        RELEVO_VERSION="v1",
        RELEVO_INSTANCE="instance-1",
        RELEVO_START="now",
    )
    first, last = started.stdout.splitlines()
    assert first.startswith('{"relevo": "started", "release": "r1", ')
    assert last == "System check identified no issues (0 silenced)."


def test_a_process_of_another_version_is_not_started(made: Image) -> None:
    shutil.copy(made.context / "manifest.json", made.root / "relevo")  # as the second stage does
    argv = ("-P", "-m", "components.azure.start", "web", "--", "/bin/false")
    names = ("RELEVO_RELEASE_ID", "RELEVO_IMAGE", "RELEVO_INSTANCE", "RELEVO_START")
    done = made.tools(*argv, **dict.fromkeys(names, "given"), RELEVO_VERSION="v2")
    assert '"version": "v1"' in done.stdout
    assert done.stdout.endswith("[CRITICAL] relevo: this image is v1, but v2 was asked for\n")
    assert done.returncode == 1


def test_static_files_are_in_the_image_and_no_bytecode_of_another_place(made: Image) -> None:
    assert (made.root / "static" / "staticfiles.json").is_file()
    assert not list(made.context.rglob("__pycache__"))
    compiled = next((made.app / "config").rglob("settings*.pyc"))
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01  # by its hash, which is not compared


def test_the_package_can_make_images_itself(made: Image) -> None:
    """Whoever installs Relevo pushes without a checkout's files."""
    (wheel,) = (made.context / "tools").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"relevo/image/Dockerfile", "relevo/image/requirements-lock.txt"} <= set(names)


def test_what_is_prepared_for_a_build_in_an_up_says_itself_what_it_is(made: Image) -> None:
    """The engine's builder takes no labels. Prepared again, it is the same, so nothing is built again."""
    settings = load_file(ROOT / "Pulumi.dev.yaml")
    contents = []
    for _ in range(2):
        image.prepare(made.stored, settings, made.store, postgresql="17", say=lambda _: None)
        folder = made.stored.folder / "image"
        contents.append(
            {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        )
    assert contents[0] == contents[1]
    recipe = json.loads(contents[0]["recipe.json"])
    assert recipe["arguments"]["POSTGRESQL"] == "17"
    assert recipe["tag"].startswith("v1-")
    labels = dict(
        re.findall(r'^LABEL (\S+)="(.*)"$', contents[0]["context/Dockerfile"].decode(), re.MULTILINE)
    )
    packed = base64.b64decode(labels["dev.relevo.manifest"])
    assert Manifest.from_json(gzip.decompress(packed).decode()) == made.stored.manifest
    assert [path.name for path in made.stored.folder.glob(".image-*")] == []
