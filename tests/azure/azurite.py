"""Azurite: Microsoft's own emulator of blobs, from npm. Its version is pinned here and nowhere else."""

from __future__ import annotations

import base64
import fcntl
import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests import node

VERSION = "3.35.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relevo-tests"
MAIN = "node_modules/azurite/dist/src/blob/main.js"
KEY = base64.b64encode(b"of the emulator alone, not of an account").decode()


def installed() -> Path:
    """The folder of the pinned version, installed once for all test runs on this machine."""
    folder = CACHE / f"azurite-{VERSION}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "azurite.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / MAIN).exists():
            folder.mkdir(exist_ok=True)
            node.install(f"azurite@{VERSION}", folder)
    return folder


@dataclass
class Azurite:
    """Blobs of one account over TLS, in memory, for tokens as Entra gives them (not verified)."""

    account: str
    certificate: Path
    key: Path
    port: int = field(default_factory=lambda: _free_port())

    def __enter__(self) -> Azurite:
        self._process = subprocess.Popen(
            [
                node.NODE,
                str(installed() / MAIN),
                "--blobHost=127.0.0.1",
                f"--blobPort={self.port}",
                "--oauth=basic",
                f"--cert={self.certificate}",
                f"--key={self.key}",
                "--inMemoryPersistence",
                "--skipApiVersionCheck",
                "--silent",
                "--disableTelemetry",
            ],
            env={**os.environ, "AZURITE_ACCOUNTS": f"{self.account}:{KEY}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not _listens(self.port):
            assert self._process.poll() is None, "Azurite does not start"
            assert time.monotonic() < deadline, "Azurite does not listen"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
