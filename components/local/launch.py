"""Start a process of the project: `python -m components.local.launch <program file>`.

The file holds facts and templates but no secret; the values are filled in here and exist only in the
process's environment. `manage.py` commands get theirs from the same function.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.local.environment import base_environment, process_environment
from components.local.layout import Layout
from components.local.vault import Vault
from components.target import Deployment, TargetError


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start: `process` names the environment map, `name` who is started, `nonce` this very start."""

    facts: Mapping[str, Any]
    process: str
    name: str
    deployment: Deployment
    argv: tuple[str, ...]
    directory: str
    environment_folder: str
    nonce: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Launch:
        data = json.loads(text)
        data["deployment"] = Deployment(**data["deployment"])
        data["argv"] = tuple(data["argv"])
        return cls(**data)

    def environment(self) -> dict[str, str]:
        """Holds secrets: for the process only. Raises `TargetError` with the name of one that is missing."""
        layout = Layout(Path(self.facts["state"]))
        return process_environment(
            self.facts,
            process=self.process,
            name=self.name,
            marker=layout.marker(self.name),
            deployment=self.deployment,
            environment_folder=self.environment_folder,
            base=base_environment(),
            static_root=str(layout.static / digest12(self.deployment.image)),
            media_root=str(layout.media),
            secret=Vault(layout.secrets).read,
        )

    @property
    def first_line(self) -> str:
        """What it writes into its log before all else, by which one start's lines are told from another's."""
        return (
            f"relevo: {self.name} starts {self.deployment.version} ({self.deployment.release}, {self.nonce})"
        )


def digest12(image: str) -> str:
    """The first digits of an image's digest, which name its folders in the state."""
    return image.rpartition(":")[2][:12]


def main(arguments: list[str]) -> int:
    try:
        launch = Launch.from_json(Path(arguments[0]).read_text())
        environment = launch.environment()
        os.chdir(launch.directory)
    except (TargetError, OSError) as error:
        print(f"[CRITICAL] relevo: {error}", flush=True)
        return 1
    print(launch.first_line, flush=True)
    os.execve(launch.argv[0], launch.argv, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
