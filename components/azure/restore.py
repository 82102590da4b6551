"""A backup brought back beside the application's database: `python -m components.azure.restore WORD …`.

A job's command, run by `components.azure.run` in the network. Each prints one line of JSON.

bring NAME [IMAGE]    the backup into a database beside; IMAGE is the artefact that runs on it
beside                what lies beside
compare ID            what the application's has and that one has not
switch ID [IMAGE]     that one in place of the application's, and its media; IMAGE ran on what is put aside
remove ID             that one, for good
drill NAME            the backup into a scratch database, asked by the manage.py of this image
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceNotFoundError

from components.azure import job_disk
from components.azure.backups import DUMP
from components.azure.database_login import connect
from components.azure.dump import tool
from components.azure.faults import asking, status_of
from components.azure.image import APP_PYTHON
from components.azure.login import blobs
from components.azure.media import Media
from components.azure.restores import DRILL
from components.dumping import Dumping
from components.restoring import Restoring
from components.target import Beside, Comparison, Completed, Drill, TargetError

ASIDE = "aside"  # folder of the lists of media that were put aside


@dataclass(frozen=True, kw_only=True)
class Restores:
    """Of one database. `urls`: the variables of a drill that hold the database's URL."""

    database: str
    media: Media
    urls: Sequence[str] = ()

    def bring(self, name: str, image: str | None) -> Beside:
        with tempfile.TemporaryDirectory(prefix="relevo-restore-") as folder:
            file, detail, _ = self._fetch(name, Path(folder))
            return self._restoring.bring(
                file, backup=name, image=image, detail=detail, media=detail.get("media")
            )

    def beside(self) -> list[Beside]:
        self._settle()
        return self._restoring.all()

    def compare(self, id: str) -> Comparison:
        rows, listing = self._restoring.compare(id), self._restoring.find(id).media
        files = self.media.change(listing) if listing else None
        return replace(rows, changes=(*rows.changes, *((files,) if files else ())))

    def switch(self, id: str, image: str | None) -> Beside:
        self._settle()
        aside = self.media.store(self.media.now(), ASIDE)
        kept = self._restoring.switch(id, image=image, media=aside)
        self._settle()
        return kept

    def remove(self, id: str) -> None:
        self._restoring.remove(id)

    def drill(self, name: str) -> Drill:
        dumping = Dumping(database=self.database, connect=connect, tool=tool, scratch=DRILL)
        with (
            tempfile.TemporaryDirectory(prefix="relevo-drill-") as folder,
            dumping.trial(DRILL, owned=True) as scratch,
        ):
            began = time.monotonic()
            file, detail, size = self._fetch(name, Path(folder))
            found = self._restoring.fill(scratch, file, detail)
            seconds = round(time.monotonic() - began, 3)
            image = os.environ.get("RELEVO_IMAGE")
            fault = self._asked(scratch) if image else None
        return Drill(backup=name, image=image, seconds=seconds, bytes=size, fault=fault, **found)

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _restoring(self) -> Restoring:
        return Restoring(database=self.database, connect=connect, tool=tool)

    def _fetch(self, name: str, folder: Path) -> tuple[Path, Mapping[str, Any], int]:
        """The dump in a file, what was counted when it was made, and its bytes."""
        client: Any = blobs(self.media.host).get_blob_client(self.media.backups, f"{name}/{DUMP}")
        file = folder / DUMP
        with asking(f"fetch the backup {name}"):
            try:
                properties = client.get_blob_properties()
                said = properties.metadata or {}
                job_disk.require(properties.size, folder, f"the backup {name}")
                with file.open("wb") as target:
                    client.download_blob().readinto(target)
            except ResourceNotFoundError:
                said = {}
        if said.get("verified") != "true":
            raise TargetError(
                f"{name} is not a verified backup in {self.media.backups}, but only such a one is restored; "
                f"name one that is there."
            )
        return file, json.loads(said["detail"]), file.stat().st_size

    def _settle(self) -> None:
        """The media that belong to the application's database in their place."""
        live = self._restoring.live()
        if live is None or live.media is None:
            return
        lost = self.media.put_back(live.media)
        self._restoring.settled()
        if lost:  # no reason to call the switch failed, which is done
            print(
                f"warning: {len(lost)} media files have no version left ({', '.join(sorted(lost)[:3])}), but "
                f"rows of the restored database may name them; relevo restore --undo goes back.",
                flush=True,
            )

    def _asked(self, scratch: str) -> str | None:
        """What `migrate --check` has to say against the scratch database."""
        environment = dict(os.environ)
        for variable in self.urls:
            environment[variable] = urlsplit(environment[variable])._replace(path=f"/{scratch}").geturl()
        done = subprocess.run(
            [APP_PYTHON, "manage.py", "migrate", "--check"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return None
        return Completed(status=done.returncode, output=done.stdout, seconds=0.0).last_line


def answer(restores: Restores, words: Sequence[str]) -> dict[str, Any]:
    match words:
        case ["bring", name, *image]:
            return {"beside": asdict(restores.bring(name, *(image or [None])))}
        case ["beside"]:
            return {"besides": [asdict(beside) for beside in restores.beside()]}
        case ["compare", id]:
            return {"compared": asdict(restores.compare(id))}
        case ["switch", id, *image]:
            return {"beside": asdict(restores.switch(id, *(image or [None])))}
        case ["remove", id]:
            restores.remove(id)
            return {"removed": id}
        case ["drill", name]:
            return {"drill": asdict(restores.drill(name))}
    raise TargetError(f"{' '.join(words)} is no command of a restore, but {__doc__}")


def main(arguments: list[str]) -> int:
    restores = Restores(
        database=os.environ["PGDATABASE"],
        media=Media(os.environ["RELEVO_BLOBS"], os.environ["RELEVO_MEDIA"], os.environ["RELEVO_BACKUPS"]),
        urls=os.environ.get("RELEVO_URLS", "").split(),
    )
    return status_of(lambda: print(json.dumps(answer(restores, arguments)), flush=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
