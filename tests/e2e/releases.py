"""Releases of examples/prestamos for tests: a git repository with a tag for each, made of small overlays.

An overlay, `overlays/<tag>/`, holds `change.patch` against its base and the files that it adds.
"""

import os
import shutil
import subprocess
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "prestamos"
OVERLAYS = Path(__file__).parent / "overlays"
# Each tag with the one it is built upon.
_BASES = {
    "v1": None,  # the example as it is
    "v2": "v1",  # a compatible migration: assets have a location, which may be empty
    "v3": "v2",  # a column is renamed: can be reversed, but v2 cannot run with it
    "v4": "v3",  # codes become upper case: cannot be reversed
    "broken-start": "v1",  # check and migrate pass, but the WSGI module cannot be imported
    "broken-migration": "v1",  # the first of two migrations is applied, the second fails
    "broken-check": "v1",  # would run, but `check --deploy` finds an error
    "broken-smoke": "v2",  # starts and is ready, but assigning a loan answers 500
    "slow": "v2",  # answers after five seconds, but for /healthz/
}
TAGS = tuple(_BASES)


def build_repository(folder: Path) -> Path:
    """Make `folder` (new or empty) a repository with all of `TAGS`, `main` being v1.

    Commits are the same each time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, 0, "init", "--quiet", "--template=", "--initial-branch=main")
    generated = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv", "media", "staticfiles")
    shutil.copytree(EXAMPLE, folder, ignore=generated, dirs_exist_ok=True)
    for number, (tag, base) in enumerate(_BASES.items()):
        if base is not None:
            _git(folder, number, "checkout", "--quiet", "--detach", base)
            _lay_over(folder, number, OVERLAYS / tag)
        _git(folder, number, "add", "--all")
        _git(folder, number, "commit", "--quiet", f"--message=Release {tag}")
        _git(folder, number, "tag", tag)
    _git(folder, 0, "checkout", "--quiet", "main")
    return folder


def _lay_over(folder: Path, number: int, overlay: Path) -> None:
    change = overlay / "change.patch"
    if change.exists():
        _git(folder, number, "apply", str(change))
    generated = shutil.ignore_patterns("__pycache__", change.name)
    shutil.copytree(overlay, folder, ignore=generated, dirs_exist_ok=True)


def _git(folder: Path, number: int, *arguments: str) -> None:
    date = f"2026-01-{number + 1:02}T12:00:00+00:00"
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", "Releases"), ("EMAIL", "releases@example.org"), ("DATE", date))
        },
    }
    subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True)
