"""The backup job: `python -m components.azure.dump <name>`, run by `components.azure.run` in the network.

A dump of the database, verified by a restore beside it, and a list of the media as they are at that moment,
each by its version, which the account keeps. The dump comes last and carries what is known of it: a backup
that has its dump is whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from azure.core.exceptions import ResourceExistsError

from components.azure import job_disk
from components.azure.backups import DUMP
from components.azure.database_login import connect
from components.azure.faults import asking, status_of
from components.azure.image import SCHEDULED
from components.azure.login import blobs
from components.azure.media import Media
from components.dumping import Dumping
from components.target import TargetError

SCRATCH = "relevo_scratch_"


def tool(program: str, *arguments: str, connect: bool = True) -> None:
    done = subprocess.run(
        [program, *(["--no-password"] if connect else []), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        if "No space left" in done.stderr and "ERROR:" not in done.stderr:  # which would be the server's disk
            raise job_disk.full("the dump")
        detail = " ".join(done.stderr.split())[-400:]
        raise TargetError(
            f"{program} fails ({detail}), but backups are made and restored by it; correct that."
        )


def take(name: str, *, database: str, host: str, backups: str, media: str) -> None:
    """`host`: of the blobs; `backups`, `media`: containers. Raises `TargetError`."""
    service = blobs(host)
    # The clock's and a release's may be taken at once; each sweeps what a killed one of its kind has left.
    scratch = f"{SCRATCH}{'scheduled' if name.startswith(SCHEDULED) else 'release'}_"
    dumping = Dumping(database=database, connect=connect, tool=tool, scratch=scratch)
    with tempfile.TemporaryDirectory(prefix="relevo-dump-") as folder:
        file = Path(folder) / DUMP
        with connect(database) as connection:
            rows = dumping.dump(connection, file)
        job_disk.warn(file)
        dumping.verify(file, rows)
        print(
            f"{len(rows)} tables, {sum(rows.values())} rows: dumped, restored beside and counted", flush=True
        )
        stored = Media(host, media, backups)
        files = stored.now()
        listing = stored.store(files, name)
        detail = {
            "tables": len(rows),
            "rows": sum(rows.values()),
            "media_files": len(files),
            "media": listing,
        }
        with asking(f"store the backup {name}"), file.open("rb") as data:
            try:
                service.get_blob_client(backups, f"{name}/{DUMP}").upload_blob(
                    data,
                    metadata={
                        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
                        "verified": "true",
                        "detail": json.dumps(detail),
                    },
                )
            except ResourceExistsError:  # another try of this very backup was quicker
                print(f"the backup {name} is there already", flush=True)


def main(arguments: list[str]) -> int:
    return status_of(
        lambda: take(
            arguments[0],
            database=os.environ["PGDATABASE"],
            host=os.environ["RELEVO_BLOBS"],
            backups=os.environ["RELEVO_BACKUPS"],
            media=os.environ["RELEVO_MEDIA"],
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
