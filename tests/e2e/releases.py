"""Releases of examples/prestamos for tests: a git repository with a tag for each, made of small overlays.

An overlay, `overlays/<tag>/`, holds the files that it adds, and `change.patch` for what it changes.
"""

import shutil
from pathlib import Path

from tests.e2e.commits import commit, git, initialise
from tests.e2e.project import Project

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
    "breaks-reading": "v1",  # a column is renamed by SQL: v1 cannot read the catalogue with it
    "slow": "v2",  # answers after five seconds, but for /healthz/
    "slow-migration": "v2",  # its migration takes twenty seconds
    "slow-rewind": "v2",  # to reverse its migration takes twenty seconds
    "dies": "v1",  # passes every check, and ends at its first request through a balancer
    "worse": "v1",  # passes every check, and fails a fifth of its visitors' requests
    "broken-in-public": "v2",  # as broken-smoke, but only for what comes through a balancer
}
TAGS = tuple(_BASES)
_GENERATED = shutil.ignore_patterns(
    "__pycache__", ".*_cache", ".venv", "media", "staticfiles", "change.patch"
)


class Digests(dict[str, str]):
    """tag → digest of that release of the example, which is built when it is first asked for."""

    def __init__(self, builder: Project, repository: Path) -> None:
        super().__init__()
        self._builder, self._repository = builder, repository

    def __missing__(self, tag: str) -> str:
        self[tag] = self._builder.build(self._repository, tag)
        return self[tag]


def build_repository(folder: Path) -> Path:
    """Make `folder` (new or empty) a repository with all of `TAGS`, `main` being v1.

    Commits are the same each time.
    """
    initialise(folder)
    shutil.copytree(EXAMPLE, folder, ignore=_GENERATED, dirs_exist_ok=True)
    for day, (tag, base) in enumerate(_BASES.items(), start=1):
        if base is not None:
            git(folder, "checkout", "--quiet", "--detach", base)
            _lay_over(folder, OVERLAYS / tag)
        commit(folder, tag, day=day)
    git(folder, "checkout", "--quiet", "main")
    return folder


def _lay_over(folder: Path, overlay: Path) -> None:
    if (patch := overlay / "change.patch").exists():
        git(folder, "apply", str(patch))
    shutil.copytree(overlay, folder, ignore=_GENERATED, dirs_exist_ok=True)
