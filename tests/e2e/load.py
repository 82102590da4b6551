"""Constant load on the public address, by locust, which never retries: clients that read, and count."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

CLIENTS = 16
FEW = 4  # beside much else: they notice a gap as well, and leave the machine to it
LONGEST = 900  # seconds; the load ends by itself however the test ends

LOCUSTFILE = """\
import json
import os
import time
from locust import FastHttpUser, constant, events, task

@events.request.add_listener
def note(exception, **_):
    if exception:
        with open("failed", "a") as file:
            file.write(f"{time.time()}\\n")

class Reader(FastHttpUser):
    wait_time = constant(0.1)
    max_retries = 0
    connection_timeout = network_timeout = 10

    @task
    def read(self):
        headers = json.loads(os.environ["LOAD_HEADERS"])
        self.client.get(os.environ["LOAD_PATH"], headers=headers, name="read")
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    requests: int
    failures: int
    slowest: float  # seconds
    errors: tuple[str, ...]
    failed_at: tuple[float, ...]  # seconds since the epoch


class Load:
    """`with Load(url, "/path") as load: …`; then `load.measured`. As long as the block, or `seconds`."""

    measured: Measured

    def __init__(
        self,
        url: str,
        path: str,
        *,
        seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
        clients: int = CLIENTS,
    ) -> None:
        self.url = url
        self.path = path
        self.seconds = seconds
        self.headers = headers or {}
        self.clients = clients

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="relevo-load-")
        folder = Path(self._folder.name)
        (folder / "locustfile.py").write_text(LOCUSTFILE)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--json"),
                *("-f", str(folder / "locustfile.py"), "--host", self.url),
                *(
                    "--users",
                    str(self.clients),
                    "--spawn-rate",
                    str(self.clients),
                    "--run-time",
                    f"{self.seconds or LONGEST}s",
                ),
                *("--exit-code-on-error", "0", "--stop-timeout", "10", "--csv", str(folder / "load")),
            ],
            cwd=folder,
            env={**os.environ, "LOAD_PATH": self.path, "LOAD_HEADERS": json.dumps(self.headers)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        over = self.seconds is None and self._process.poll() is not None
        if self.seconds is None:
            self._process.send_signal(signal.SIGINT)
        output = log = ""
        try:
            output, log = self._process.communicate(timeout=30)
            folder = Path(self._folder.name)
            if error is None:
                assert not over, f"the load was over before its block, which has {LONGEST} s: {log[-2000:]}"
                (entry,) = json.loads(output)
                failures = folder / "load_failures.csv"
                failed = folder / "failed"
                lines = failures.read_text().splitlines()[1:] if failures.exists() else []
                self.measured = Measured(
                    requests=entry["num_requests"],
                    failures=entry["num_failures"],
                    slowest=entry["max_response_time"] / 1000,
                    errors=tuple(lines),
                    failed_at=tuple(map(float, failed.read_text().split())) if failed.exists() else (),
                )
        except ValueError as broken:
            raise AssertionError(f"locust said: {output[-500:]} {log[-2000:]}") from broken
        finally:
            self._process.kill()
            self._process.wait()
            self._folder.cleanup()
