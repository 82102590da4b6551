"""An `up` that fails is followed by the way back where its stack asks for it, and by nothing else."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from components.release import context
from relevo.toolchain import back, launcher

ASKS = "config:\n  relevo:target: local\n  relevo:onFailure: rollback\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["up", "--stack", "local"], True),
        (["up", "-s", "organization/relevo/local", "--yes"], True),
        (["--stack=local", "update"], True),
        (["up"], True),  # the selected stack may be the one
        (["up", "--stack", "qa"], False),
        (["preview", "--stack", "local"], False),
        (["destroy", "--stack", "local"], False),
        (["up", "--stack", "local", "--help"], False),
    ],
)
def test_only_an_up_of_a_stack_that_asks_for_it_is_followed(
    tmp_path: Path, arguments: list[str], wanted: bool
) -> None:
    (tmp_path / "Pulumi.local.yaml").write_text(ASKS)
    (tmp_path / "Pulumi.qa.yaml").write_text(ASKS.replace("rollback", "stop"))
    assert launcher.comes_back(arguments, tmp_path, {}) is wanted


def test_a_way_back_is_not_followed_by_another(tmp_path: Path) -> None:
    """Also where it fails before the record has it: the engine is locked, the cloud does not answer."""
    (tmp_path / "Pulumi.local.yaml").write_text(ASKS)
    assert launcher.DECIDED == context.DECIDED
    way_back = {context.DECIDED: "2026-11-24T12:00:00+00:00"}
    assert launcher.comes_back(["up", "--stack", "local"], tmp_path, way_back) is False


@pytest.fixture
def recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the stack for which `relevo recover` was run, by a stand-in for our Python."""
    (tmp_path / "Pulumi.local.yaml").write_text(ASKS)
    (tmp_path / "Pulumi.chosen.yaml").write_text(ASKS)
    python = script(tmp_path / "python", 'echo "$@" > recovered')
    monkeypatch.setattr(sys, "executable", str(python))
    return tmp_path / "recovered"


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run(folder: Path, engine: str, stack: str = "local") -> int:
    return back.run([str(script(folder / "pulumi", engine)), "up"], dict(os.environ), stack, folder)


def test_a_failed_up_stays_failed_and_is_followed(tmp_path: Path, recovered: Path) -> None:
    assert run(tmp_path, "exit 255") == 255
    assert recovered.read_text() == "-m relevo recover --stack local\n"


def test_the_stack_that_is_selected_is_the_one_to_recover(tmp_path: Path, recovered: Path) -> None:
    assert run(tmp_path, 'if [ "$1" = stack ]; then echo chosen; else exit 255; fi', stack="") == 255
    assert recovered.read_text() == "-m relevo recover --stack chosen\n"


def test_a_selected_stack_that_does_not_ask_for_it_is_not_followed(tmp_path: Path, recovered: Path) -> None:
    """Another stack of the folder does."""
    (tmp_path / "Pulumi.chosen.yaml").write_text(ASKS.replace("rollback", "stop"))
    assert run(tmp_path, 'if [ "$1" = stack ]; then echo chosen; else exit 255; fi', stack="") == 255
    assert not recovered.exists()


def test_an_up_that_succeeds_is_not_followed(tmp_path: Path, recovered: Path) -> None:
    assert run(tmp_path, "exit 0") == 0
    assert not recovered.exists()


def test_an_up_that_somebody_ends_is_not_followed(tmp_path: Path, recovered: Path) -> None:
    waits = "trap 'exit 2' TERM; kill -TERM $PPID; while :; do sleep 0.05; done"
    assert run(tmp_path, waits) == 2
    assert not recovered.exists()


def test_an_up_that_is_interrupted_at_the_keyboard_is_not_followed(tmp_path: Path, recovered: Path) -> None:
    """The terminal interrupts the engine as well, so nothing is handed on."""
    assert run(tmp_path, "kill -INT $PPID; exit 255") == 255
    assert not recovered.exists()


def test_a_killed_engine_is_a_failure(tmp_path: Path, recovered: Path) -> None:
    assert run(tmp_path, "kill -9 $$") == 128 + signal.SIGKILL
    assert recovered.exists()


def test_the_launcher_costs_no_more_where_nobody_asks(tmp_path: Path) -> None:
    """Every pulumi command pays for its imports."""
    code = "import sys; import relevo.toolchain.launcher; sys.exit('subprocess' in sys.modules)"
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=launcher.CHECKOUT)
