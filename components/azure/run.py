"""Run a job's command in its container: `python -m components.azure.run -- manage.py migrate --noinput`.

Its output goes to stdout, which the platform collects within minutes, and into an append blob, which the
runner reads at once. The last line of both says how the command ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from components.azure.container_secrets import once_ready, with_secrets
from components.azure.image import APP_PYTHON
from components.azure.login import blobs
from components.azure.marker import Ended
from components.target import DJANGO_FACTS, TargetError

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

OUR_OWN = ("aside", "dump", "restore", "role", "schema")
EVERY_SECONDS = 1.0
LONGEST_LINE = 64 * 1024
BLOCK = 2 * 1024 * 1024  # an append takes 4 MiB, in every API version ("Append Block")


def command(words: Sequence[str]) -> list[str]:
    """The argv of a job's words (see `image.job`)."""
    if words[0] in OUR_OWN:
        return [sys.executable, "-P", "-m", f"components.azure.{words[0]}", *words[1:]]
    script = str(DJANGO_FACTS) if words[0] == DJANGO_FACTS.name else words[0]
    return [APP_PYTHON, script, *words[1:]]


class Log:
    """The append blob of one execution. What it does not take is still on stdout."""

    def __init__(self, blob: BlobClient | None) -> None:
        self._blob = blob
        self._waiting = bytearray()
        self._lock = threading.Lock()

    def add(self, data: bytes) -> None:
        with self._lock:
            self._waiting += data

    def flush(self) -> None:
        while self._blob is not None:
            with self._lock:
                block = bytes(self._waiting[:BLOCK])
            if not block:
                return
            try:
                self._blob.append_block(block)
            except AzureError as error:
                print(f"relevo: the log stays here, no blob takes it ({type(error).__name__})", flush=True)
                self._blob = None
            with self._lock:
                del self._waiting[: len(block)]


def execute(argv: Sequence[str], *, key: str, log: Log) -> int:
    """Returns the command's exit status, after its whole output and how it ended are written.

    It runs where this does: in the image's working directory, which has manage.py. The secrets are in its
    environment alone.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            argv,
            env=with_secrets(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except TargetError as fault:
        _write(log, f"{fault}\n".encode())
        status = 1
    except OSError as error:
        _write(log, f"{argv[0]}: {error.strerror}\n".encode())
        status = 127
    else:
        _pass_signals(process)
        status = _follow(process, log)
    ended = Ended(status=status, key=key, seconds=round(time.monotonic() - began, 3))
    _write(log, f"{ended.to_line()}\n".encode())
    log.flush()
    return status


def _follow(process: subprocess.Popen[bytes], log: Log) -> int:
    assert process.stdout is not None
    done = threading.Event()

    def flush() -> None:
        while not done.wait(EVERY_SECONDS):
            log.flush()

    flusher = threading.Thread(target=flush, daemon=True)
    flusher.start()
    whole = True
    while line := process.stdout.readline(LONGEST_LINE):
        _write(log, line)
        whole = line.endswith(b"\n")
    if not whole:
        _write(log, b"\n")  # the last line of all is ours alone
    done.set()
    flusher.join()
    status = process.wait()
    return 128 - status if status < 0 else status


def _write(log: Log, line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    log.add(line)


def _pass_signals(process: subprocess.Popen[bytes]) -> None:
    """The platform ends this process alone, and waits for it before it kills all."""

    def pass_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)


def _blob() -> BlobClient | None:
    """`RELEVO_LOG`: host, container and name, e.g. "st….blob.core.windows.net/logbook-lock/jobs/3f….log"."""
    host, container, name = os.environ["RELEVO_LOG"].split("/", 2)
    try:
        blob = blobs(host).get_blob_client(container, name)
        once_ready(blob.create_append_blob)
        return blob
    except AzureError as error:
        print(f"relevo: no log in {os.environ['RELEVO_LOG']} ({type(error).__name__})", flush=True)
        return None


def main(arguments: list[str]) -> int:
    argv = command(arguments[arguments.index("--") + 1 :])
    return execute(argv, key=os.environ["RELEVO_KEY"], log=Log(_blob()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
