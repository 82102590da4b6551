"""Ask the image's own version by a scenario: `python -m components.azure.aside HOST VERSION <argv>`.

By `argv` it serves on the loopback of this container, and is gone with it. What it answers is the last line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict

from components.azure.image import PORT
from components.release import aside

SCENARIO, SECRET = "RELEVO_SCENARIO", "RELEVO_SECRET_"  # of each secret that the scenario uses
STOP_SECONDS = 3.0


@contextlib.contextmanager
def serving(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Without the scenario's secrets; gone with all its children at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SECRET)}
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(arguments: list[str]) -> int:
    host, version, *argv = arguments
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with serving(argv) as process:

        def ended() -> str | None:
            status = process.poll()
            return None if status is None else f"its process exited {status}, see the log of the job"

        results = aside.ask(
            os.environ[SCENARIO],
            address=f"http://127.0.0.1:{PORT}",
            headers={"Host": host, "X-Forwarded-Proto": "https"},  # as Front Door says
            version=version,
            secret=lambda name: os.environ[f"{SECRET}{name}"],
            ended=ended,
        )
    print(json.dumps({"read": [asdict(result) for result in results]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
