"""A PULUMI_HOME with the stand-in plugins in place of the official ones, apart from the user's own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from relevo.toolchain import engine as engines
from relevo.toolchain.engine import Engine
from relevo.toolchain.launcher import TOOLCHAIN
from tests.azure import sdk


def make(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which an engine uses the home. Takes two seconds."""
    engine = Engine(**json.loads(TOOLCHAIN.read_text()))
    variables = {"PULUMI_HOME": str(folder), "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1"}
    of_home = {**environment, **variables, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    engines.install_own_command_plugin(engine, of_home)
    with tempfile.TemporaryDirectory(prefix="relevo-stand-in-") as made:
        for package, version in ((sdk.PACKAGE, sdk.VERSION), (sdk.DOCKER, sdk.DOCKER_VERSION)):
            script = Path(made, f"pulumi-resource-{package}")
            start = f"{shlex.quote(sys.executable)} -P -m tests.azure.serve {package}"
            script.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
            script.chmod(0o755)
            install = ["plugin", "install", "resource", package, version, "--file", str(script)]
            subprocess.run([engine.pulumi, *install], env=of_home, check=True, capture_output=True)
    return variables
