"""What a reviewer on GitHub reads of a preview."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import typer.core
from ruamel.yaml import YAML

from relevo import cli

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


def test_a_long_command_keeps_its_login_and_its_status(tmp_path: Path) -> None:
    """GitHub's token is good for five minutes, a release and its watch take longer."""
    stand_ins = {
        # Who else is on the runner may see the arguments of a command.
        "curl": '[[ "$*" != *of-the-job* && "$(cat)" == "Authorization: Bearer of-the-job" ]] || exit 22\n'
        'printf \'{"value": "a token for %s"}\' "${@: -1}"',
        "az": 'echo "$@" >> "$LOGINS"',
        "jq": "sed -E 's/.*: \"(.*)\".*/\\1/'",
    }
    for name, script in stand_ins.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    logins = tmp_path / "logins"
    until_three = 'until [ "$(wc -l < "$LOGINS")" = 3 ]; do sleep 0.05; done; exit 7'
    done = subprocess.run(
        [SCRIPT.with_name("logged-in.sh"), "bash", "-c", until_three],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "LOGINS": str(logins),
            "RENEW_SECONDS": "0.1",
            "ARM_CLIENT_ID": "app",
            "ARM_TENANT_ID": "tenant",
            "ACTIONS_ID_TOKEN_REQUEST_URL": "https://github?a=b",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        },
        check=False,
        timeout=30,
    )
    assert done.returncode == 7
    token = "a token for https://github?a=b&audience=api://AzureADTokenExchange"
    login = (
        f"login --service-principal --username app --tenant tenant --federated-token {token} --output none"
    )
    assert logins.read_text().splitlines() == [login] * 3


def test_the_branch_of_a_way_back_does_not_wait_for_its_watch() -> None:
    """Until its pull request is merged, the next release is of the version that was gone back from."""
    workflow = YAML(typ="safe").load(SCRIPT.parent / "workflows" / "watch.yml")
    steps = workflow["jobs"]["watch"]["steps"]
    runs = [(step["run"].split()[0], step.get("if")) for step in steps if ".sh" in step.get("run", "")]
    assert runs == [
        (".github/logged-in.sh", None),
        (".github/proposed.sh", "failure()"),
        (".github/logged-in.sh", "failure() && steps.watch.outcome == 'failure'"),
        (".github/proposed.sh", "failure()"),
    ]


@pytest.mark.parametrize(
    ("status", "heads", "released"),
    [
        (0, ("1 a", "2 b"), "released=2 b\n"),
        (0, ("1 a", "1 a"), ""),
        (1, ("1 a", "2 b"), "released=2 b\n"),  # it came back by itself, or failed after its release
        (1, ("1 a", "1 a"), ""),
    ],
)
def test_what_an_up_has_put_in_place_is_watched_also_where_it_failed(
    tmp_path: Path, status: int, heads: tuple[str, str], released: str
) -> None:
    folder = SCRIPT.parent / "workflows"
    (step,) = (
        step for step in YAML(typ="safe").load(folder / "stack.yml")["jobs"]["up"]["steps"] if step.get("id")
    )
    up = f"echo {heads[1]} > head; exit {status}"
    for name, script in {
        ".venv/bin/pulumi": f'[ "$1" = stack ] && {{ cat head; exit; }}\n{up}',
        ".github/logged-in.sh": 'exec "$@"',
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    (tmp_path / "head").write_text(heads[0])
    (tmp_path / "output").touch()
    environment = {**os.environ, "STACK": "prod", "GITHUB_OUTPUT": str(tmp_path / "output")}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == status
    assert (tmp_path / "output").read_text() == released
    jobs = YAML(typ="safe").load(folder / "release.yml")["jobs"]
    for stack in ("qa", "prod"):
        assert (
            jobs[f"watch-{stack}"]["if"] == f"${{{{ !cancelled() && needs.{stack}.outputs.released != '' }}}}"
        )


def test_the_pages_of_a_watch_take_the_place_of_its_releases() -> None:
    """Both are jobs of one run, which refuses a second artifact of the same name; neither fails by it."""
    action = YAML(typ="safe").load(SCRIPT.parent / "actions" / "logbook" / "action.yml")
    (upload,) = (step for step in action["runs"]["steps"] if "uses" in step)
    assert upload["with"]["overwrite"] is True
    assert upload["continue-on-error"] is True


def test_what_is_proposed_is_pushed_and_told_once(tmp_path: Path) -> None:
    branch = "relevo/rollback-prod-1"
    (tmp_path / "gh").write_text("#!/bin/sh\n")
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / ".relevo").mkdir()
    (tmp_path / ".relevo" / "relevo-rollback-prod-1.md").write_text("Roll prod back\n")
    summary = tmp_path / "summary"

    def git(*arguments: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout

    git("init", "--quiet", "--bare", "there")
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "pin")
    git("branch", branch)
    git("remote", "add", "origin", "there")
    for _ in range(2):
        subprocess.run(
            [SCRIPT.with_name("proposed.sh")],
            cwd=tmp_path,
            env={
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_SERVER_URL": "https://github",
                "GITHUB_REPOSITORY": "a/b",
            },
            check=True,
            timeout=30,
        )
    assert branch in git("ls-remote", "origin")
    assert summary.read_text() == f"https://github/a/b/compare/{branch}?expand=1\n\nRoll prod back\n"


def test_each_command_that_ci_gives_is_one_with_these_options() -> None:
    """A job that ends with "No such command" would be seen only after a release."""
    known = typer.main.get_command(cli.app)
    assert isinstance(known, typer.core.TyperGroup)
    files = [path for path in SCRIPT.parent.rglob("*") if path.suffix in (".yml", ".sh")]
    given = [
        words
        for path in files
        for words in re.findall(r"\.venv/bin/relevo ([a-z]+)([^|\n)]*)", path.read_text())
    ]
    assert {"logbook", "review", "watch"} <= {command for command, _ in given}
    for command, words in given:
        options = {name for each in known.commands[command].params for name in each.opts}
        assert set(re.findall(r"--[a-z]+", words)) <= options, command


def test_the_clock_asks_only_for_a_review_that_is_due() -> None:
    """Else its job is red every three hours until the next release, for what everybody knows."""
    said = SCRIPT.with_name("workflows").joinpath("review.yml").read_text()
    assert re.findall(r"relevo review [^\n]*", said) == ['relevo review --due --stack "$STACK"']
