"""What a reviewer on GitHub reads of a preview."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".github" / "preview.sh"
# As printed by `pulumi preview --diff` 3.259.0.
CHANGES = """\
Previewing update (qa):
  pulumi:pulumi:Stack: (same)
info: preview digest: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    ~ azure-native:cache:Database: (update)
      ~ sku: "Balanced_B0" => "Balanced_B5"
Resources:
    + 3 to create
    ~ 1 to update
    +-1 to replace
    138 unchanged
"""
NONE = "Previewing update (qa):\nResources:\n    142 unchanged\n"


@pytest.fixture
def preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(printed: str, status: int = 0) -> tuple[int, str, str]:
        """Exit status, comment and output `changes`, with a stand-in for pulumi that prints this."""
        tools = tmp_path / ".venv" / "bin"
        tools.mkdir(parents=True)
        stand_in = tools / "pulumi"
        stand_in.write_text(f"#!/bin/sh\ncat <<'PRINTED'\n{printed}PRINTED\nexit {status}\n")
        stand_in.chmod(0o755)
        output = tmp_path / "output"
        monkeypatch.setenv("GITHUB_OUTPUT", str(output))
        monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        done = subprocess.run([shutil.which("bash") or "bash", SCRIPT, "qa"], cwd=tmp_path, check=False)
        return done.returncode, (tmp_path / "preview.md").read_text(), output.read_text()

    return run


def test_a_preview_says_how_much_changes_and_shows_it_as_a_diff(preview) -> None:
    status, comment, output = preview(CHANGES)
    assert status == 0
    assert comment.startswith("### qa: 3 to create, 1 to update, 1 to replace\n")
    assert '\n!       sku: "Balanced_B0" => "Balanced_B5"\n' in comment  # the colour of a change
    assert output == f"changes=3 to create, 1 to update, 1 to replace\ndigest={'0123456789abcdef' * 4}\n"


def test_nothing_to_approve_where_nothing_changes(preview) -> None:
    """An empty `changes` skips the job that waits for reviewers."""
    status, comment, output = preview(NONE)
    assert (status, output) == (0, "changes=\ndigest=\n")
    assert comment.startswith("### qa: nothing changes\n")


def test_a_refused_preview_is_shown_and_fails_its_job(preview) -> None:
    status, comment, _ = preview("error: relevo:instances is 1, but …\n", status=255)
    assert status == 255
    assert comment.startswith("### qa: refused, or it failed\n")
    assert "relevo:instances is 1" in comment


def test_a_long_preview_is_cut_to_what_a_comment_holds(preview) -> None:
    _, comment, _ = preview("    + a resource\n" * 10_000 + CHANGES)
    assert len(comment) < 65_536 / 2
    assert "138 unchanged" in comment
