"""Who acts: the CI actor and run, or the git identity of the checkout, and the user of the machine."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from collections.abc import Mapping
from typing import Any


def who(configured: str | None) -> dict[str, Any]:
    """What the record says of it: `responsible`, one name, and `identity`, all that is known.

    The name is as configured, else the CI actor's, else git's, else that of this machine's user. CI's
    variables are those of GitHub ("Default environment variables", GitHub Actions).
    """
    actor = os.environ.get("GITHUB_ACTOR")
    name, mail = git("user.name"), git("user.email")
    known = {
        "ci_actor": actor,
        "ci_run": ci_run(os.environ),
        "git": f"{name or ''} <{mail}>".strip() if mail else name,
        "user": f"{user()}@{platform.node()}",
    }
    return {
        "responsible": configured or actor or name or user(),
        "identity": {key: value for key, value in known.items() if value},
    }


def ci_run(environment: Mapping[str, str]) -> str | None:
    """The address of the run, such as https://github.com/owner/repository/actions/runs/1."""
    number, repository = environment.get("GITHUB_RUN_ID"), environment.get("GITHUB_REPOSITORY")
    if not number or not repository:
        return None
    return f"{environment.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}/actions/runs/{number}"


def git(key: str) -> str | None:
    try:
        told = subprocess.run(["git", "config", key], capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return told.stdout.strip() or None


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in containers
        return f"user {os.getuid()}"
