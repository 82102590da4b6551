"""Files that after a crash hold the old content or the new, never half of it; and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def write(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` by `text` in one step, durably. The folder must exist."""
    replace(path, text.encode(), mode=mode, synced=True)
    sync_folder(path.parent)


def replace(path: Path, content: bytes, *, mode: int = 0o600, synced: bool = False) -> None:
    """Replace `path` in one step for whoever reads it. After a crash it may hold neither, unless `synced`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def append(path: Path, make: Callable[[bytes], str]) -> None:
    """Append durably the line that `make` says of what is there; of several writers one after the other.

    Half a line that a crash left is closed off first. A write that fails leaves none.
    """
    with locked(path) as descriptor:
        size = os.fstat(descriptor).st_size
        earlier = os.pread(descriptor, size, 0)
        end = b"\n" if earlier and not earlier.endswith(b"\n") else b""
        data = end + make(earlier + end).encode() + b"\n"
        try:
            if os.pwrite(descriptor, data, size) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, size)
            raise


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on `path`, open for reading and writing; the kernel releases it at any end."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
