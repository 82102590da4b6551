"""A changed pin as a commit on a branch of its own, and the text of its pull request.

The working tree, the index and the branch that is checked out stay as they are.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from relevo import git, pin
from relevo.errors import RelevoError, one_line

NOBODY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "relevo"), ("EMAIL", "relevo@localhost"))
}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    branch: str
    commit: str


def propose(configuration: Path, image: str, branch: str, message: str) -> Proposal | None:
    """Commit the pin onto `branch`, made at HEAD or, if it is there from an earlier try, left as it is.

    None where there is nothing to propose: the file is in no git repository, was never committed, or HEAD has
    this pin already. Raises `RelevoError` if git cannot do it.
    """
    folder = configuration.resolve().parent
    try:
        inside = git.run(folder, "ls-files", "--full-name", "--", configuration.name)
        committed = git.run(folder, "show", f"HEAD:./{configuration.name}")
    except (OSError, subprocess.CalledProcessError):
        return None
    edited = pin.edited(committed, image, configuration.name)
    if edited == committed or not inside:
        return None
    try:
        existing = git.run(folder, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        commit = existing or _commit(folder, inside.strip(), edited, branch, message)
    except subprocess.CalledProcessError as error:
        raise RelevoError(
            f"{branch} cannot be committed in {folder} ({one_line(error.stderr)}); "
            f"commit {configuration.name} by hand."
        ) from None
    return Proposal(branch=branch, commit=commit.strip())


def _commit(folder: Path, path: str, text: str, branch: str, message: str) -> str:
    """`path` is relative to the repository's top, `text` the file's new content; returns the commit."""
    mode = git.run(folder, "ls-tree", "--full-tree", "HEAD", "--", path).split()[0]
    blob = git.run(folder, "hash-object", "-w", "--path", path, "--stdin", given=text).strip()
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git.run(folder, "read-tree", "HEAD", variables=index)
        git.run(folder, "update-index", "--cacheinfo", f"{mode},{blob},{path}", variables=index)
        tree = git.run(folder, "write-tree", variables=index).strip()
    commit = git.run(
        folder, "commit-tree", tree, "-p", "HEAD", "-F", "-", given=message, variables=_identity(folder)
    ).strip()
    git.run(folder, "update-ref", f"refs/heads/{branch}", commit, "")
    return commit


def _identity(folder: Path) -> dict[str, str]:
    """Of nobody, where git knows none, as on a runner of CI."""
    try:
        git.run(folder, "var", "GIT_COMMITTER_IDENT")
    except subprocess.CalledProcessError:
        return NOBODY
    return {}
