"""How the desk's commands find a stack, and how they run the engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.release.context import SPEC, TARGET, Context
from relevo import backup, engine, operating
from relevo.errors import RelevoError
from relevo.project import Project
from tests.unit.release.stand_in import StandInOperations, context, specification

STAND_IN_ENGINE = """\
#!/bin/sh
trap 'sleep 0.5; echo "its step has ended"; exit 255' INT
echo begun
while :; do sleep 0.05; done
"""
DESK = """\
import sys
from pathlib import Path
from relevo import engine
from relevo.errors import RelevoError
from relevo.project import Project

engine.program = lambda: sys.argv[1]
try:
    engine.run(Project(root=Path(sys.argv[1]).parent), "up")
except RelevoError as fault:
    print(fault)
"""


def resource(name: str, image: str, **marks: Any) -> dict[str, Any]:
    return {
        "urn": f"urn:pulumi:local::relevo::relevo:release:Release$command:local:Command::{name}",
        "inputs": {"environment": {TARGET: "a target", SPEC: image}},
        **marks,
    }


def test_after_a_failed_release_a_stack_is_what_that_release_knew_and_none_that_it_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The engine keeps what was replaced behind what is there, until an update succeeds."""
    resources = [
        resource("open-record", "failed"),
        resource("preflight", "failed"),
        resource("open-record", "failed before", delete=True),
        resource("open-record", "succeeded", delete=True),
    ]
    exported = json.dumps({"deployment": {"resources": resources}})
    monkeypatch.setattr(engine, "output", lambda *_: exported)
    monkeypatch.setattr(Context, "load", lambda *described: described)
    assert operating.context(Project(root=tmp_path), "local") == ("a target", "failed")


def test_a_stack_without_a_release_is_said_to_have_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "output", lambda *_: json.dumps({"deployment": {}}))
    with pytest.raises(operating.NeverReleased, match="was never released"):
        operating.context(Project(root=tmp_path), "local")


@pytest.mark.parametrize(
    ("said", "never"), [("error: no stack named 'prod' found", True), ("error: it does not answer", False)]
)
def test_a_stack_that_was_never_made_is_told_from_one_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, never: bool
) -> None:
    program = tmp_path / "pulumi"
    program.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 255\n')
    program.chmod(0o755)
    monkeypatch.setattr(engine, "program", lambda: str(program))
    with pytest.raises(RelevoError, match=said) as fault:
        operating.context(Project(root=tmp_path), "prod")
    assert isinstance(fault.value, operating.NeverReleased) is never


def test_ctrl_c_ends_a_command_only_after_the_engine_has_ended_its_step(tmp_path: Path) -> None:
    program = tmp_path / "pulumi"
    program.write_text(STAND_IN_ENGINE)
    program.chmod(0o755)
    desk = subprocess.Popen(
        [sys.executable, "-c", DESK, str(program)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert desk.stdout is not None
    assert desk.stdout.readline() == "begun\n"
    os.killpg(desk.pid, signal.SIGINT)  # as a terminal does
    told, _ = desk.communicate(timeout=20)
    assert told.splitlines()[0] == "its step has ended"
    assert "pulumi up ended with 255" in told


def test_a_backup_is_taken_of_a_stack_whichever_its_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    operations = StandInOperations({})
    monkeypatch.setattr(operating, "context", lambda *_: context(operations, specification()))
    taken = backup.take(Project(root=tmp_path), "qa")
    assert taken.name.startswith("manual-")
    assert operations.acted("backup") == [("backup", taken.name)]
