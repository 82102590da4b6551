"""Small Pulumi projects, run as a user would: by the launcher, with the engine that `make setup` chose."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

PULUMI = Path(sys.prefix, "bin", "pulumi")
STACK = "test"
PACK = """\
import pulumi
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def validate(args, report):
    pass
{rule}

PolicyPack("pack", [
    ResourceValidationPolicy(
        name="rule",
        description="a rule",
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )
])
"""


class Project:
    """A project with one stack and a backend of its own in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{PULUMI.parent}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "of a test",
        }
        (folder / "state").mkdir()
        (folder / "Pulumi.yaml").write_text("name: small\nruntime: python\n")
        self.program("")
        self.pulumi("stack", "init", STACK)

    def program(self, text: str) -> None:
        (self.folder / "__main__.py").write_text("import pulumi\n" + textwrap.dedent(text))

    def policy_pack(self, rule: str) -> Path:
        """A pack of one mandatory rule for each resource, given the lines of its `validate(args, report)`."""
        folder = self.folder / "pack"
        folder.mkdir()
        (folder / "PulumiPolicy.yaml").write_text("description: of a test\nruntime: python\n")
        (folder / "__main__.py").write_text(PACK.format(rule=textwrap.indent(textwrap.dedent(rule), " " * 4)))
        return folder

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`pulumi …` in a process group of its own, stderr with stdout."""
        return subprocess.Popen(
            [PULUMI, *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        """What it prints; asserts that it succeeds, or fails."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=120)
        assert (process.returncode != 0) == fails, output
        return output

    def up(self, *arguments: str, fails: bool = False) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", "--stack", STACK, *arguments, fails=fails)

    def output(self, name: str) -> Any:
        return json.loads(self.pulumi("stack", "output", "--json", "--stack", STACK))[name]

    def resources(self) -> dict[str, dict[str, Any]]:
        """Name → resource, as the state has it."""
        state = json.loads(self.pulumi("stack", "export", "--stack", STACK))
        return {item["urn"].rpartition("::")[2]: item for item in state["deployment"].get("resources", [])}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
