"""The disk of a job, on which a dump lies while it is made or brought back. Its cores decide its size."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from components.azure.sizing import disk_gib
from components.target import TargetError

CORES = "RELEVO_CORES"  # in each job's environment, but for one that an older Relevo declared
GIB = 1024**3


def full(what: str) -> TargetError:
    """The fault that `what` ("the dump") does not fit."""
    cores = _cores()
    if cores is None:
        return TargetError(f"the job's disk is full, but {what} needs more; raise relevo:azure.jobs.cores.")
    return TargetError(
        f"relevo:azure.jobs.cores is {cores:g}, which gives {disk_gib(cores)} GiB of disk, but {what} needs "
        f"more; {_remedy(cores)}."
    )


def require(size: int, folder: Path, what: str) -> None:
    """Raises `TargetError` where so many bytes do not fit."""
    cores = _cores()
    free = shutil.disk_usage(folder).free
    # The file system may be the machine's, and a job that takes more than its own part is ended.
    if size > (free if cores is None else min(free, disk_gib(cores) * GIB)):
        raise full(what)


def warn(file: Path) -> None:
    """Says so while there is time where a dump takes more than half of the disk."""
    cores, size = _cores(), file.stat().st_size
    if cores is not None and size > disk_gib(cores) * GIB / 2:
        print(
            f"warning: relevo:azure.jobs.cores is {cores:g}, which gives {disk_gib(cores)} GiB of disk, but "
            f"the dump took {size / GIB:.1f} already; {_remedy(cores)}.",
            flush=True,
        )


def _remedy(cores: float) -> str:
    return "raise it (8 GiB above 1)" if cores <= 1 else "no job has more, so make the database smaller"


def _cores() -> float | None:
    found = os.environ.get(CORES)
    return float(found) if found else None
