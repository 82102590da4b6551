"""Sites other than the example, to show that Relevo knows no site: builders of their git repositories."""

import shutil
import subprocess
from pathlib import Path

from tests.e2e.commits import commit, initialise

_SOURCES = Path(__file__).parent


def build_bare(folder: Path, python: Path) -> Path:
    """What `startproject` of Django makes, and the production settings that every site needs; tagged v1.

    `python` is an interpreter that has Django. The requirements name Django alone: driver and server are
    for the stack's configuration to add.
    """
    initialise(folder)
    subprocess.run([python, "-m", "django", "startproject", "bare", "."], cwd=folder, check=True)
    shutil.copy(_SOURCES / "bare" / "production.py", folder / "bare")
    (folder / "requirements.txt").write_text("Django~=5.2.0\n")
    commit(folder, "v1")
    return folder


def build_other(folder: Path) -> Path:
    """A project in `server/` with a pyproject.toml, a worker, and names of its own; tagged v1 and v2."""
    initialise(folder)
    shutil.copytree(
        _SOURCES / "other", folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    commit(folder, "v1", day=1)
    views = folder / "server" / "inventory" / "views.py"
    views.write_text(views.read_text().replace("Tariffs", "All tariffs"))
    commit(folder, "v2", day=2)
    return folder
