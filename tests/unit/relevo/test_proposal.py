"""A pin that came back by itself is proposed, and nothing that somebody has at hand is touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from relevo import proposal

V1, V2 = (f"app@sha256:{digit * 64}" for digit in "12")
CONFIGURATION = "config:\n  relevo:target: local\n  relevo:image: {image} # what runs\n"
NAME = "Pulumi.local.yaml"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose HEAD pins v2, with a file that is staged and one that is changed. git knows nobody."""
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(variable, "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    folder = tmp_path / "clone" / "deploy"
    folder.mkdir(parents=True)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", "clone")
    (folder / NAME).write_text(CONFIGURATION.format(image=V2))
    (folder / "other").write_text("as committed\n")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "Pin v2")
    (folder / "other").write_text("changed\n")
    (folder / "new").write_text("staged\n")
    git(folder, "add", "new")
    return folder


def test_a_pin_is_committed_on_a_branch_and_nothing_else_changes(clone: Path) -> None:
    (clone / NAME).write_text(CONFIGURATION.format(image=V1))  # as `pin` has just written it
    before = git(clone, "status", "--porcelain"), git(clone, "rev-parse", "HEAD")

    made = proposal.propose(clone / NAME, V1, "relevo/back", "Roll back\n\nIt failed.\n")

    assert made is not None
    assert git(clone, "show", f"relevo/back:deploy/{NAME}") == CONFIGURATION.format(image=V1).strip()
    assert git(clone, "diff", "--name-only", "main", "relevo/back") == f"deploy/{NAME}"
    assert git(clone, "log", "-1", "--format=%s%n%n%b", "relevo/back") == "Roll back\n\nIt failed."
    assert git(clone, "rev-parse", "relevo/back^") == before[1]
    assert (git(clone, "status", "--porcelain"), git(clone, "rev-parse", "HEAD")) == before


def test_what_else_was_changed_in_the_file_is_not_proposed(clone: Path) -> None:
    (clone / NAME).write_text(CONFIGURATION.format(image=V1) + "  relevo:instances: 9\n")
    proposal.propose(clone / NAME, V1, "relevo/back", "Roll back")
    assert "instances" not in git(clone, "show", f"relevo/back:deploy/{NAME}")


def test_a_second_try_keeps_the_branch_of_the_first(clone: Path) -> None:
    first = proposal.propose(clone / NAME, V1, "relevo/back", "Roll back")
    assert proposal.propose(clone / NAME, V1, "relevo/back", "Roll back") == first


@pytest.mark.parametrize("commits", [True, False])
def test_a_pin_that_is_not_committed_needs_no_proposal(clone: Path, tmp_path: Path, commits: bool) -> None:
    """HEAD still has what the stack comes back to, or the file is in no repository."""
    if commits:
        assert proposal.propose(clone / NAME, V2, "relevo/back", "Roll back") is None
        assert git(clone, "branch", "--list", "relevo/*") == ""
    else:
        alone = tmp_path / NAME
        alone.write_text(CONFIGURATION.format(image=V2))
        assert proposal.propose(alone, V1, "relevo/back", "Roll back") is None
