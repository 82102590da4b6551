"""Run a command of the project: its output streamed as it comes, its time limited, its secrets masked."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from components.masking import SHORTEST_MASKED, Masking
from components.target import Completed, TargetError

KEPT_BYTES = 200_000
LONGEST_LINE = 64 * 1024
TERMINATION_SECONDS = 10.0


def run(
    argv: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    timeout: float,
    masked: Collection[str] = (),
    held: Sequence[int] = (),
    show: bool = True,
) -> Completed:
    """Returns when the command has ended, its whole output streamed to stdout and the end of it kept.

    It stays in the caller's process group, so that whoever ends that group ends it too. Any other way out of
    here (a signal, the time limit) ends the command and all its children. `held` descriptors are inherited.
    Raises `TargetError` at `timeout`.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        argv,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=held,
    )
    assert process.stdout is not None
    kept = bytearray()
    mask = Masking(value for value in masked if len(value) >= SHORTEST_MASKED)
    reader = threading.Thread(target=_stream, args=(process.stdout, kept, mask, show), daemon=True)
    reader.start()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"{' '.join(argv[1:3])} takes longer than {timeout:g} s, but it is given no more; raise "
            f"relevo:limits.commandSeconds, or make it shorter."
        ) from None
    finally:
        if process.poll() is None:
            _end(process)
    reader.join(5.0)  # a daemon that it left behind may hold the pipe for ever
    return Completed(
        status=process.returncode,
        output=kept.decode(errors="replace"),
        seconds=round(time.monotonic() - started, 3),
    )


def _stream(source: IO[bytes], kept: bytearray, mask: Masking, show: bool) -> None:
    while read := source.readline(LONGEST_LINE):
        line = mask(read.decode(errors="replace"))
        kept += line.encode()
        if len(kept) > 2 * KEPT_BYTES:
            del kept[:-KEPT_BYTES]
        if show:
            sys.stdout.write(line)
            sys.stdout.flush()
    del kept[:-KEPT_BYTES]


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = []
    for member in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _, left = psutil.wait_procs(tree, timeout=TERMINATION_SECONDS)
    for member in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
