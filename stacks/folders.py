"""Where a checkout keeps its stacks' state and its artefacts; for the program and for the desk's commands."""

from __future__ import annotations

from pathlib import Path

from stacks.settings import Settings


def state_folder(root: Path, stack: str, settings: Settings) -> Path:
    """Where the stack's servers keep everything. `root` is the folder of Pulumi.yaml."""
    return root / (settings.state_dir or f".relevo/{stack}")


def store_folder(root: Path) -> Path:
    """The artefact store, shared by the stacks of one checkout."""
    return root / ".relevo" / "artefacts"
