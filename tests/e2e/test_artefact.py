"""Artefacts of a tiny Django project: real git, real uv, the real registry."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.release.record import Entry, Event

ROOT = Path(__file__).parents[2]
RELEVO = ROOT / ".venv" / "bin" / "relevo"
UV = ROOT / ".venv" / "bin" / "uv"

MANAGE = """\
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.management import execute_from_command_line
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
SETTINGS = """\
import os
print("a project may print what it likes")
SECRET_KEY = os.environ["KEY"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["DB"]}}
INSTALLED_APPS = ["shelf"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
MODELS = """\
from django.db import models

class Book(models.Model):
    title = models.CharField(max_length=50)
"""
LENGTH = "int(os.environ['LENGTH'])"
INITIAL = """\
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Book", [
            ("id", models.BigAutoField(
                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
            )),
            ("title", models.CharField(max_length=50)),
        ]),
    ]
"""
FILES = {
    "manage.py": MANAGE,
    "site_settings.py": SETTINGS,
    "shelf/__init__.py": "",
    "shelf/models.py": MODELS,
    "shelf/migrations/__init__.py": "",
    "shelf/migrations/0001_initial.py": INITIAL,
    "requirements.txt": "Django~=5.2.0\npsycopg[binary]~=3.2\n",
}
APP: dict[str, Any] = {
    "settings": "site_settings",
    "wsgi": "site_wsgi:application",
    "environment": {"KEY": "{secret.SECRET_KEY}", "DB": "{database.name}"},
    "build": {
        "packages": ["gunicorn>=23"],
        "pipeline": [["makemigrations", "--check", "--dry-run"]],
    },
}


class Desk:
    """A checkout with a stack, and the project's repository beside it."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.repository = folder / "repository"
        self.checkout.mkdir(parents=True)
        (self.checkout / "Pulumi.yaml").write_text("name: relevo\nruntime: python\n")
        self.configure(APP)
        self.repository.mkdir()
        self.git("init", "--quiet", "--template=", "--initial-branch=main")
        self.commit(FILES, tag="v1")

    @property
    def store(self) -> Path:
        return self.checkout / ".relevo" / "artefacts"

    @property
    def configuration(self) -> Path:
        return self.checkout / "Pulumi.local.yaml"

    def configure(self, app: dict[str, Any]) -> None:
        with self.configuration.open("w") as file:
            YAML().dump({"config": {"relevo:target": "local", "relevo:app": app}}, file)

    def git(self, *arguments: str) -> None:
        identity = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", "A"), ("EMAIL", "a@example.org"))
        }
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **identity}
        subprocess.run(
            ["git", *arguments], cwd=self.repository, env=environment, check=True, capture_output=True
        )

    def commit(self, files: dict[str, str], *, tag: str | None = None) -> None:
        for name, text in files.items():
            path = self.repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")
        if tag:
            self.git("tag", tag)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [RELEVO, *arguments],
            cwd=self.checkout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        process = self.start(*arguments)
        try:
            output, errors = process.communicate(timeout=300)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.returncode == status, f"{arguments} exited {process.returncode}:\n{output}{errors}"
        return output, errors

    def build(self, path: Path | None = None) -> str:
        output, _ = self.run("build", str(path or self.repository))
        return output.splitlines()[-1]

    def refusal(self, *arguments: str) -> str:
        """The one line with which a command refuses."""
        output, errors = self.run(*arguments, status=1)
        assert output == ""
        assert "Traceback" not in errors
        return [line for line in errors.splitlines() if not line.startswith("relevo: ")][-1]

    def say_released(self, image: str) -> Path:
        """A record with one good release, written without one having been made."""
        told = {"version": "v1", "trigger": "", "lock": "", "responsible": "somebody"}
        told |= {"previous_image": None, "previous_version": None}
        opened_and_succeeded: tuple[tuple[Event, dict[str, Any]], ...] = (
            ("release opened", told),
            ("release succeeded", {}),
        )
        entries = [
            Entry(time="2026-01-01T00:00:00Z", event=event, release="1", image=image, data=data)
            for event, data in opened_and_succeeded
        ]
        record = self.checkout / ".relevo" / "local" / "logbook" / "releases.jsonl"
        record.parent.mkdir(parents=True)
        record.write_text("".join(f"{entry.after(b'')}\n" for entry in entries))
        return record

    def manifest(self, image: str) -> dict[str, Any]:
        return json.loads((self.store / image / "manifest.json").read_text())

    def environments(self) -> list[Path]:
        return sorted((self.store / "environments").iterdir())

    def artefacts(self) -> set[str]:
        return {path.name for path in self.store.glob("app@*")}

    def left_over(self) -> list[str]:
        """Whatever in the store belongs to no artefact."""
        used = {path.read_text().strip() for path in self.store.glob("app@*/environment")}
        return [path.name for path in self.store.glob(".*") if path.name != ".lock"] + [
            path.name for path in self.environments() if path.name not in used
        ]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a store has its environments, with the project's."""
    desk = Desk(tmp_path_factory.mktemp("installed"))
    desk.build()
    return desk.store / "environments"


@pytest.fixture
def installed(desk: Desk, environments: Path) -> None:
    """The store has the environment that the project needs, for tests that are not about installing it."""
    shutil.copytree(environments, desk.store / "environments", symlinks=True, copy_function=os.link)


def test_an_artefact_says_what_it_is(desk: Desk) -> None:
    image = desk.build()
    folder = desk.store / image
    manifest = desk.manifest(image)
    assert manifest["version"] == "v1"
    assert manifest["heads"] == {"shelf": ["0001_initial"]}
    assert [(m["name"], m["effect"], m["reversible"]) for m in manifest["migrations"]] == [
        ("0001_initial", "additive", True)
    ]
    assert [(check["name"], check["passed"]) for check in manifest["pipeline"]] == [
        ("lock has hashes", True),
        ("environment installs", True),
        ("migrations load", True),
        ("no missing migrations", True),
    ]
    source = {str(path.relative_to(folder / "source")) for path in (folder / "source").rglob("*.py")}
    assert source == {name for name in FILES if name.endswith(".py")}
    assert (folder / "source" / "manage.py").stat().st_mode & 0o777 == 0o444
    assert list((folder / "source").rglob("*.pyc"))
    python = desk.store / "environments" / (folder / "environment").read_text().strip() / "bin" / "python"
    assert subprocess.run([python, "-c", "import django, psycopg, gunicorn"], check=False).returncode == 0
    _, errors = desk.run("build", str(desk.repository))
    first, second = errors.splitlines()
    assert first.startswith("relevo: building v1")
    assert second.startswith("relevo: it is there already")


def test_the_same_inputs_give_the_same_digest_anywhere(desk: Desk, tmp_path: Path) -> None:
    other = Desk(tmp_path / "another" / "place")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", desk.repository, clone], check=True)
    (clone / "shelf" / "models.py").touch()
    image = desk.build()
    assert other.build(clone) == image
    assert (other.store / image / "inputs.json").read_bytes() == (
        desk.store / image / "inputs.json"
    ).read_bytes()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("change", ["content", "mode", "settings", "python"])
def test_another_input_gives_another_digest(desk: Desk, change: str) -> None:
    before = desk.build()
    if change == "content":
        desk.commit({"shelf/models.py": f"{MODELS}# a word\n"})
    elif change == "mode":
        (desk.repository / "manage.py").chmod(0o755)
        desk.commit({})
    elif change == "settings":
        desk.configure({**APP, "build": {"packages": ["gunicorn>=23"]}})
    else:
        desk.configure({**APP, "build": {**APP["build"], "packages": ["gunicorn>=23", "whitenoise"]}})
    assert desk.build() != before


def test_equal_locks_share_an_environment(desk: Desk) -> None:
    desk.build()
    [environment] = desk.environments()
    installed = environment.stat().st_mtime_ns
    desk.commit({"README": "new"}, tag="v2")
    output, errors = desk.run("build", str(desk.repository))
    assert "installing" not in errors
    assert desk.manifest(output.strip())["version"] == "v2"
    assert desk.environments() == [environment]
    assert environment.stat().st_mtime_ns == installed


@pytest.mark.usefixtures("installed")
def test_what_is_not_committed_is_told_and_left_out(desk: Desk) -> None:
    image = desk.build()
    (desk.repository / "manage.py").write_text("broken")
    (desk.repository / "new.py").write_text("")
    output, errors = desk.run("build", str(desk.repository))
    assert output.strip() == image
    assert [line for line in errors.splitlines() if "not committed" in line] == [
        f"relevo: warning: 2 changed or new path(s) in {desk.repository} are not committed "
        "and not in the artefact"
    ]


@pytest.mark.usefixtures("installed")
def test_a_folder_inside_a_repository_is_a_project_of_its_own(desk: Desk) -> None:
    image = desk.build()
    desk.commit({f"apps/books/{name}": text for name, text in FILES.items()})
    assert desk.build(desk.repository / "apps" / "books") == image


@pytest.mark.parametrize("moment", ["environment", "source"])
def test_a_killed_build_is_simply_done_again(desk: Desk, moment: str) -> None:
    process = desk.start("build", str(desk.repository))

    def reached() -> bool:
        if moment == "source":
            return any(desk.store.glob(".unfinished-*/source/manage.py"))
        return any(desk.store.glob("environments/*/lib/*/site-packages/django"))

    wait_until(reached, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not desk.artefacts()
    image = desk.build()
    assert desk.artefacts() == {image}
    assert desk.left_over() == []


def test_two_builds_at_once_agree(desk: Desk) -> None:
    builds = [desk.start("build", str(desk.repository)) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in builds]
    assert [process.returncode for process in builds] == [0, 0], outputs
    assert len({output for output, _ in outputs}) == 1
    assert desk.left_over() == []


def copies(desk: Desk, image: str, count: int) -> list[str]:
    """Artefacts as if they had been built after `image`, the newest last."""
    images = []
    for number in range(count):
        copy = f"app@sha256:{number:064x}"
        shutil.copytree(desk.store / image, desk.store / copy)
        manifest = {**desk.manifest(image), "built_at": f"9999-01-01T00:00:{number:02}Z"}
        (desk.store / copy / "manifest.json").write_text(json.dumps(manifest))
        images.append(copy)
    return images


@pytest.mark.usefixtures("installed")
def test_the_ten_newest_stay_and_whatever_is_needed(desk: Desk) -> None:
    pinned = desk.build()
    desk.run("pin", pinned)
    desk.commit({"README": "2"})
    released = desk.build()
    desk.say_released(released)
    desk.commit({"README": "3"})
    running = desk.build()
    old, *new = copies(desk, running, 11)
    with subprocess.Popen(["sleep", "60"], env={"RELEVO_IMAGE": running}) as process:
        output, _ = desk.run("prune")
        process.kill()
    assert output.splitlines() == [f"removed {old} (v1-2-g{desk.manifest(running)['revision'][:7]})"]
    assert desk.artefacts() == {pinned, released, running, *new}
    desk.run("prune")
    assert desk.artefacts() == {pinned, released, *new}, "it does not run any more"


@pytest.mark.usefixtures("installed")
def test_an_environment_goes_with_the_last_artefact_that_uses_it(desk: Desk) -> None:
    desk.build()
    desk.configure({**APP, "build": {**APP["build"], "packages": ["gunicorn>=23", "whitenoise"]}})
    other = desk.build()
    assert len(desk.environments()) == 2
    copies(desk, other, 10)
    desk.run("prune")
    assert len(desk.environments()) == 1
    assert desk.left_over() == []


@pytest.mark.usefixtures("installed")
def test_nothing_is_removed_when_a_stack_cannot_be_read(desk: Desk) -> None:
    image = desk.build()
    copies(desk, image, 12)
    (desk.checkout / "Pulumi.other.yaml").write_text("config: {relevo:nonsense: 1}\n")
    _, errors = desk.run("build", str(desk.repository))
    assert "warning: no old artefact was removed" in errors
    assert len(desk.artefacts()) == 13


def test_a_newcomer_gets_what_is_pinned_or_a_first_pin(desk: Desk) -> None:
    output, _ = desk.run("ensure-pinned", str(desk.repository))
    image = output.split()[-1]
    assert f"relevo:image: {image}\n" in desk.configuration.read_text()
    pinned = desk.configuration.read_text()
    _, errors = desk.run("ensure-pinned", str(desk.repository))
    assert errors == "", "nothing to do"
    # a fresh clone has the committed pin, but no store
    shutil.rmtree(desk.store)
    desk.run("ensure-pinned", str(desk.repository))
    assert desk.configuration.read_text() == pinned
    assert desk.artefacts() == {image}
    # the environment alone is lost
    shutil.rmtree(desk.environments()[0])
    desk.run("ensure-pinned", str(desk.repository))
    assert len(desk.environments()) == 1


@pytest.mark.usefixtures("installed")
def test_another_source_than_the_pinned_one_is_never_released_unasked(desk: Desk) -> None:
    desk.run("pin", desk.build())
    pinned = desk.configuration.read_text()
    desk.commit({"README": "2"}, tag="v2")
    shutil.rmtree(desk.store)
    record = desk.say_released("app@sha256:1")
    assert "relevo pin v2 --stack local" in desk.refusal("ensure-pinned", str(desk.repository))
    assert desk.configuration.read_text() == pinned
    record.unlink()
    desk.run("ensure-pinned", str(desk.repository))
    assert desk.configuration.read_text() != pinned, "nothing was ever released, so nothing is replaced"


@pytest.mark.usefixtures("installed")
def test_a_red_pipeline_is_recorded_and_a_later_green_one_replaces_it(desk: Desk) -> None:
    desk.commit({"shelf/models.py": f"import os\n{MODELS.replace('50', LENGTH)}"})
    verdicts = []
    for length in ("60", "50"):
        desk.configure({**APP, "environment": {**APP["environment"], "LENGTH": length}})
        output, errors = desk.run("build", str(desk.repository))
        checks = {check["name"]: check["passed"] for check in desk.manifest(output.strip())["pipeline"]}
        verdicts.append((output, "RED: no missing migrations" in errors, checks["no missing migrations"]))
    (image, *red), (same, *green) = verdicts
    assert red == [True, False]
    assert green == [False, True]
    assert image == same


def test_packages_are_added_to_a_committed_lock_whose_pins_and_hashes_stay(desk: Desk) -> None:
    lock = subprocess.run(
        [UV, "pip", "compile", "--quiet", "--generate-hashes", "-"],
        input="Django==5.2.1\npsycopg[binary]==3.2.9\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    desk.commit({"locked.txt": lock})
    desk.configure({**APP, "build": {"lock": "locked.txt", "packages": ["gunicorn==23.0.0", "asgiref"]}})
    image = desk.build()
    frozen = (desk.store / image / "requirements-lock.txt").read_text()
    assert frozen.startswith(lock.rstrip())
    assert "\ngunicorn==23.0.0" in frozen
    digit = "0" if "sha256:1" in lock else "1"
    wrong = lock.replace(
        "django==5.2.1 \\\n    --hash=sha256:", f"django==5.2.1 \\\n    --hash=sha256:{digit}", 1
    )
    desk.commit(
        {"locked.txt": "\n".join(line[:79] if "sha256" in line else line for line in wrong.splitlines())}
    )
    assert "cannot be" in desk.refusal("build", str(desk.repository))


def link_out(desk: Desk) -> None:
    (desk.repository / "secrets").symlink_to("../../etc")
    desk.commit({})


def submodule(desk: Desk) -> None:
    desk.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendored")
    desk.git("commit", "--quiet", "--message=x")


REFUSED: dict[str, tuple[Callable[[Desk], object], str]] = {
    "no manage.py": (
        lambda d: d.git("mv", "manage.py", "other.py") or d.commit({}),
        "manage.py is not committed",
    ),
    "another folder": (
        lambda d: d.configure({**APP, "build": {**APP["build"], "project": "web"}}),
        "web/manage.py is not committed",
    ),
    "no requirements": (
        lambda d: d.git("rm", "-q", "requirements.txt") or d.commit({}),
        "relevo:app.build.requirements is requirements.txt, but no such file is committed",
    ),
    "unresolvable": (
        lambda d: d.commit({"requirements.txt": "Django==5.2.0\nDjango==5.1.0\n"}),
        "requirements.txt cannot be resolved",
    ),
    "no server": (lambda d: d.configure({**APP, "build": {}}), "the lock has no gunicorn"),
    "no driver": (lambda d: d.commit({"requirements.txt": "Django~=5.2.0\n"}), "the lock has no psycopg"),
    "no ASGI worker": (
        lambda d: d.configure(
            {k: v for k, v in APP.items() if k != "wsgi"} | {"asgi": "site_asgi:application"}
        ),
        "the lock has no uvicorn-worker",
    ),
    "lock without hashes": (
        lambda d: d.commit({"l.txt": "Django==5.2.1\n"}) or d.configure({**APP, "build": {"lock": "l.txt"}}),
        "Django==5.2.1 without a hash",
    ),
    "local package": (
        lambda d: d.commit(
            {"requirements.txt": "-e .\n", "pyproject.toml": '[project]\nname="x"\nversion="1"\n'}
        ),
        "has -e",
    ),
    "link to outside": (link_out, "secrets link to outside"),
    "submodule": (submodule, "vendored is a git submodule"),
    "Git LFS": (
        lambda d: d.commit(
            {"logo.png": "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"}
        ),
        "logo.png only point to Git LFS",
    ),
    "no such settings": (
        lambda d: d.configure({**APP, "settings": "nowhere"}),
        "No module named 'nowhere'",
    ),
    "broken project": (
        lambda d: d.commit({"shelf/migrations/0001_initial.py": "import nowhere"}),
        "No module named 'nowhere'",
    ),
    "a migration without its parent": (
        lambda d: d.commit(
            {
                "shelf/migrations/0001_initial.py": INITIAL.replace(
                    "initial = True", 'dependencies = [("shelf", "0")]'
                )
            }
        ),
        "NodeNotFoundError",
    ),
    "Python that is not here": (
        lambda d: d.configure({**APP, "build": {**APP["build"], "python": "3.99"}}),
        "relevo:app.build.python is 3.99",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_told_in_one_line_and_leaves_nothing(desk: Desk, case: str) -> None:
    prepare, told = REFUSED[case]
    prepare(desk)
    assert told in desk.refusal("build", str(desk.repository))
    assert desk.artefacts() == set()
    assert not desk.store.exists() or desk.left_over() == []


def test_only_git_repositories_are_built(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "manage.py").write_text(MANAGE)
    assert "git repository" in desk.refusal("build", str(folder))
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    assert "nothing committed" in desk.refusal("build", str(folder))
    assert "is not a folder" in desk.refusal("build", str(tmp_path / "nowhere"))


@pytest.mark.usefixtures("installed")
def test_a_pin_is_a_digest_its_beginning_or_a_version(desk: Desk) -> None:
    first = desk.build()
    desk.commit({"README": "2"}, tag="v2")
    second = desk.build()
    desk.run("pin", "v1")
    assert f"relevo:image: {first}\n" in desk.configuration.read_text()
    output, _ = desk.run("pin", second.removeprefix("app@")[:20])
    assert f"v1 ({first}) → v2 ({second})" in output
    assert f"relevo:image: {second}\n" in desk.configuration.read_text()
    assert "pinned already" in desk.run("pin", second)[0]
    assert "v9 is not in the artefact store" in desk.refusal("pin", "v9")
    desk.git("tag", "--force", "v2", "v1")
    desk.commit({"README": "3"})
    desk.git("tag", "--force", "v2")
    desk.build()
    assert "v2 is ambiguous" in desk.refusal("pin", "v2")


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
