"""An `up` which, if it fails by itself, is followed by what brings the last good release back."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from relevo.toolchain.launcher import asks


def run(command: Sequence[str], environment: Mapping[str, str], stack: str, folder: Path) -> int:
    """The exit status of the engine, whether or not the stack came back: the release itself has failed.

    `stack` is empty where the command names none. An `up` that somebody stops is not gone back from.
    """
    engine: subprocess.Popen[bytes] | None = None
    received: set[int] = set()

    def forward(number: int, _: object) -> None:
        received.add(number)
        if signal.SIGTERM in received and engine is not None:  # Ctrl-C has reached the engine already
            engine.terminate()

    handlers = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        engine = subprocess.Popen(command, env=environment)
        if signal.SIGTERM in received:  # while it was started
            engine.terminate()
        status = engine.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if status and not received:
        stack = stack or selected(command[0], environment, folder)
        if asks(stack, folder):
            recover = [sys.executable, "-m", "relevo", "recover", "--stack", stack]
            subprocess.run(recover, cwd=folder, env=environment, check=False)
    return status if status >= 0 else 128 - status


def selected(engine: str, environment: Mapping[str, str], folder: Path) -> str:
    """The stack that `pulumi stack select` has chosen."""
    asked = subprocess.run(
        [engine, "stack", "--show-name"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return asked.stdout.strip()
