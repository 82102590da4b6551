"""What a killed step has left of a scratch instance does not outlive the next step."""

from __future__ import annotations

import subprocess
from pathlib import Path

from components.local.layout import Layout
from components.local.marker import MARKER
from components.local.operations import PREVIOUS, LocalOperations

FACTS = {"database": {}, "ports": {"database": 1}, "limits": {"command_seconds": 5}}


def test_a_scratch_instance_of_a_killed_step_is_gone_once_another_begins(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    layout.make()
    (layout.programs / f"{PREVIOUS}.conf").write_text("[program:previous]\nstopwaitsecs=3\n")
    layout.launch(PREVIOUS).write_text("{}")
    layout.log(PREVIOUS).write_text("a line\n")
    with subprocess.Popen(["sleep", "60"], env={MARKER: layout.marker(PREVIOUS)}) as left:
        operations = LocalOperations({**FACTS, "state": str(layout.root), "store": str(tmp_path / "store")})
        with operations.exclusive("preflight"):
            assert left.wait(5) != 0
    assert list(layout.programs.iterdir()) == []
    assert layout.log(PREVIOUS).exists()
