"""git, as the desk's commands call it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Inside a git hook these would point git to another repository than the one of the folder.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")


def run(folder: Path, *arguments: str, given: str = "", variables: Mapping[str, str] | None = None) -> str:
    """What it prints. Raises `subprocess.CalledProcessError`, whose `stderr` is text."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**environment(), **(variables or {})},
        input=os.fsencode(given),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(
            done.returncode, done.args, stderr=done.stderr.decode(errors="replace")
        )
    return os.fsdecode(done.stdout)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    # `git status` would otherwise take the repository's index lock, which is not ours to hold.
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
