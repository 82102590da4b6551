"""Git for tests: commits that are the same on every machine and at any time."""

import os
import subprocess
from pathlib import Path


def initialise(folder: Path) -> None:
    """Make `folder`, which may exist, a repository without commits on branch main."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--template=", "--initial-branch=main")


def commit(folder: Path, tag: str, *, day: int = 1) -> None:
    """Commit everything in `folder`, dated by `day` of January, and tag it."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message=Release {tag}", day=day)
    git(folder, "tag", tag)


def git(folder: Path, *arguments: str, day: int = 1) -> str:
    """What it prints."""
    person = {"NAME": "Releases", "EMAIL": "releases@example.org", "DATE": f"2026-01-{day:02}T12:00:00+00:00"}
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()},
    }
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
