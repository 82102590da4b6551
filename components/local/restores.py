"""A backup brought back beside: its database on the server, its media in a folder, and both switched by name.

The folder beside is called by the id of the database that it belongs to. While it is there although that
database is the application's, a switch was killed between the two, and is completed by the next call.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from components.local import durable
from components.local.backups import PARTIAL, Backups
from components.restoring import Restoring
from components.target import Beside, Change, Comparison, Drill


@dataclass(frozen=True, kw_only=True)
class Restores:
    backups: Backups

    def restore(self, name: str, *, image: str | None) -> Beside:
        backup = self.backups.find(name)
        self._restoring.require_rights()
        with self.backups.connect(self.backups.database) as connection:
            self.backups.check_space(connection)
        unused = {beside.id for beside in self.beside() if not beside.kept}
        brought = self._restoring.bring(
            self.backups.dump_of(backup.name), backup=backup.name, image=image, detail=backup.detail
        )
        for id in unused - {brought.id}:  # of others, which made room for this one
            shutil.rmtree(self._folder(id), ignore_errors=True)
        self._unpack(self.backups.media_of(backup.name), self._folder(brought.id))
        return brought

    def beside(self) -> list[Beside]:
        self._settle()
        return self._restoring.all()

    def compare(self, id: str) -> Comparison:
        rows = self._restoring.compare(id)
        files = _compare(_files(self.backups.layout.media), _files(self._folder(id)))
        return replace(rows, changes=(*rows.changes, *((files,) if files else ())))

    def switch(self, id: str, *, image: str | None) -> Beside:
        self._settle()
        kept = self._restoring.switch(id, image=image)
        self._settle()
        return kept

    def remove(self, id: str) -> None:
        self._settle()  # or the media of a switch that was killed, which now belong to the site, would go
        folder = self._folder(id)
        if not folder.is_dir() or any(beside.id == id for beside in self._restoring.all()):
            self._restoring.remove(id)  # it is there, or was never
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[tuple[Drill, str]]:
        """The backup in a scratch database, counted, and that one's name. What a killed drill left goes."""
        backup, dumping = self.backups.find(name), self.backups.dumping()
        with dumping.trial(owned=True) as database:
            began = time.monotonic()
            found = self._restoring.fill(database, self.backups.dump_of(backup.name), backup.detail)
            yield (
                Drill(
                    backup=backup.name,
                    image=None,
                    seconds=round(time.monotonic() - began, 3),
                    bytes=backup.bytes,
                    fault=None,
                    **found,
                ),
                database,
            )

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _restoring(self) -> Restoring:
        backups = self.backups
        return Restoring(database=backups.database, connect=backups.connect, tool=backups.tool)

    def _folder(self, id: str) -> Path:
        return self.backups.layout.media_beside(id)

    def _unpack(self, archive: Path, folder: Path) -> None:
        if folder.is_dir():
            return
        partial = folder.with_name(f"{folder.name}{PARTIAL}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        with tarfile.open(archive) as content:
            content.extractall(partial, filter="tar")
        partial.rename(folder)
        durable.sync_folder(folder.parent)

    def _settle(self) -> None:
        """The media that belong to the application's database in their place."""
        live, media = self._restoring.live(), self.backups.layout.media
        if live is None or live.instead_of is None or not self._folder(live.id).is_dir():
            return
        if media.is_dir() and not self._folder(live.instead_of).exists():
            media.rename(self._folder(live.instead_of))
        _put_in_place(self._folder(live.id), media)
        durable.sync_folder(media.parent)


def _put_in_place(folder: Path, media: Path) -> None:
    """Its new name, with what the site has written there while there was none.

    It makes the folder anew for an upload, and each row of one is in the database that serves by now.
    """
    while True:
        try:
            folder.rename(media)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        for path in [path for path in media.rglob("*") if path.is_symlink() or not path.is_dir()]:
            place = folder / path.relative_to(media)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        _remove_empty(media)


def _remove_empty(folder: Path) -> None:
    """All folders in it that are empty, and itself if it is one then."""
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # the site writes there
            Path(path).rmdir()


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """path → size and time of the last change, to the second as an archive keeps it."""
    found: dict[str, tuple[int, int]] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            state = path.stat()
            found[str(path.relative_to(folder))] = (state.st_size, int(state.st_mtime))
    return found


def _compare(live: dict[str, tuple[int, int]], other: dict[str, tuple[int, int]]) -> Change | None:
    change = Change(
        table="media",
        inserted=len(live.keys() - other.keys()),
        updated=sum(live[name] != other[name] for name in live.keys() & other.keys()),
        deleted=len(other.keys() - live.keys()),
    )
    return change if change.inserted or change.updated or change.deleted else None
