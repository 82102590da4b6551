"""Runs a program that does not watch its parent, and takes it along when the parent dies.

`python -P -m relevo.toolchain.guard PROGRAM ARG…`: the SDK's dynamic provider, which a `kill -9` of the
engine would otherwise orphan. Both are in one process group, so that what the engine sends it (SIGINT, and
SIGKILL 5 s later) reaches the program as well. Only the standard library: every start pays for it.
"""

import os
import signal
import subprocess
import sys

from relevo.toolchain.serve import watch_parent


def main() -> None:
    if os.getpgrp() != os.getpid():  # the engine has seen to it
        os.setpgrp()
    # A handler and not SIG_IGN, which the program would inherit. The guard leaves when the program does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    watch_parent(lambda: os.killpg(0, signal.SIGKILL))
    sys.exit(program.wait())


if __name__ == "__main__":
    main()
