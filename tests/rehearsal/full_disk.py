"""Runs a command for which a folder's disk gets full: `python full_disk.py FOLDER COMMAND…`.

The folder is a small tmpfs in a mount namespace of this process and its children, so that nobody else sees
it and nothing is left mounted; without root, in a user namespace of its own (unshare(2), user_namespaces(7)).
Where neither is allowed, no file may grow beyond a limit (RLIMIT_FSIZE): that is EFBIG and not ENOSPC, and
the last line says which of the two it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

TMPFS = "a tmpfs without room (ENOSPC)"
LIMIT = "no file over 4 MB (EFBIG)"
SIZE = 96 * 2**20  # the backup wants its own size and 50 MB free before it begins
LARGEST_FILE = 4 * 2**20

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


def main(folder: Path, command: list[str]) -> int:
    try:
        mount(folder)
        how = TMPFS
    except (OSError, AttributeError):  # not allowed, or no Linux
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        how = LIMIT
    process = subprocess.Popen(command)
    if how == TMPFS:
        while process.poll() is None and not any(folder.glob("*.partial")):
            time.sleep(0.001)
        fill(folder / "of somebody else")
    status = process.wait()
    print(how, flush=True)
    return status


def mount(folder: Path) -> None:
    """A tmpfs with a copy of the folder over it, for this process and its children. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *arguments: object) -> None:
        if getattr(libc, function)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), function)

    user, group = os.geteuid(), os.getegid()
    if user == 0:
        call("unshare", CLONE_NEWNS)
    else:
        call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={SIZE},mode=700".encode())
    shutil.copytree(f"/proc/self/fd/{below}", folder, dirs_exist_ok=True)


def fill(file: Path) -> None:
    with contextlib.suppress(OSError), open(file, "wb", buffering=0) as rest:
        for size in (2**20, 4096):
            with contextlib.suppress(OSError):
                while rest.write(bytes(size)):
                    pass


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
