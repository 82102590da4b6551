"""Runs a program that does not watch its parent, and takes it along when the parent dies.

`python -P -m relevo.toolchain.guard PROGRAM ARG…`: the SDK's dynamic provider, which a `kill -9` of the
engine would otherwise orphan. Only the standard library: every start pays for it.
"""

import contextlib
import os
import signal
import subprocess
import sys

from relevo.toolchain.serve import watch_parent


def main() -> None:
    early: list[int] = []
    program: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: object = None) -> None:
        if program is None:
            early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, number)

    def leave() -> None:
        pass_on(signal.SIGKILL)
        os._exit(1)

    signal.signal(signal.SIGINT, pass_on)
    signal.signal(signal.SIGTERM, pass_on)
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, process_group=0)
    for number in early:
        pass_on(number)
    watch_parent(leave)
    sys.exit(program.wait())


if __name__ == "__main__":
    main()
