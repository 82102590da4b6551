"""Backups of database and media: written beside, verified by listing and a restore, then given their name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from components.dumping import Dumping
from components.local import durable
from components.local.layout import Layout
from components.local.postgres import Postgres, connect, program
from components.local.server import Server
from components.local.vault import Vault
from components.target import Backup, TargetError

SCRATCH = "relevo_scratch"
PARTIAL = ".partial"  # being written, or being removed: not a backup
SPARE_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Backups:
    """`held`: descriptors that the tools keep open, so that a killed step's orphan still holds its lock."""

    layout: Layout
    server: Server
    binaries: str | None
    secrets: Vault
    database: str
    timeout: float
    held: Sequence[int] = ()

    def find(self, name: str) -> Backup:
        """Raises `TargetError` if there is none of this name."""
        backup = _read(self.layout.backups / name)
        if backup is None or not backup.verified:
            raise TargetError(
                f"{name} is not a verified backup in {self.layout.backups}, but only such a one is restored; "
                f"name one that is there."
            )
        return backup

    def dump_of(self, name: str) -> Path:
        return self.layout.backups / name / "database.dump"

    def media_of(self, name: str) -> Path:
        return self.layout.backups / name / "media.tar"

    def take(self, name: str, *, keep: int, protected: Collection[str]) -> Backup:
        """A verified backup called `name`; the one of that name if there is. Raises `TargetError`."""
        existing = _read(self.layout.backups / name)
        if existing is not None:
            return existing
        for left_over in self.layout.backups.glob(f"*{PARTIAL}"):
            shutil.rmtree(left_over)
        partial = self.layout.backups / f"{name}{PARTIAL}"
        try:
            backup = self._write(name, partial)
        except OSError as error:
            raise TargetError(
                f"{partial} cannot be written ({error.strerror}), but nothing is released without a backup; "
                f"free some space, or lower relevo:backup.keep."
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # else what is half made keeps a full disk full
        self._prune(keep, protected)
        return backup

    def _write(self, name: str, partial: Path) -> Backup:
        """Under the name of `partial` until it is verified."""
        dumping = self.dumping()
        with connect(self.server, self.secrets, database=self.database) as connection:
            self.check_space(connection)
            partial.mkdir(mode=0o700)
            rows = dumping.dump(connection, partial / "database.dump")
        files = self._archive(partial / "media.tar")
        dumping.verify(partial / "database.dump", rows)
        self._verify_media(partial / "media.tar", files)
        target = self.layout.backups / name
        backup = Backup(
            name=name,
            taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
            verified=True,
            location=str(target),
            bytes=sum(path.stat().st_size for path in partial.iterdir()),
            detail={"tables": len(rows), "rows": sum(rows.values()), "media_files": len(files)},
        )
        durable.write(partial / "backup.json", json.dumps(asdict(backup), indent=2) + "\n")
        for path in partial.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        partial.rename(target)
        durable.sync_folder(self.layout.backups)
        return backup

    def last(self) -> Backup | None:
        return next(iter(self.all()), None)

    def all(self) -> list[Backup]:
        """Newest first."""
        return stored(self.layout)

    def _prune(self, keep: int, protected: Collection[str]) -> None:
        """The newest `keep` stay, and the `protected` ones."""
        for backup in self.all()[keep:]:
            if backup.name not in protected:
                folder = self.layout.backups / backup.name
                shutil.rmtree(folder.rename(folder.with_name(f"{backup.name}{PARTIAL}")))

    def check_space(self, connection: psycopg.Connection) -> None:
        """Room for the media once more, and for a dump and a second database, before anything is written."""
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        media = sum(path.stat().st_size for path in self.layout.media.rglob("*") if path.is_file())
        data = Postgres(self.layout).data  # None: the server's disk is another's business
        for folder, needed in (
            (self.layout.backups, (row[0] if row else 0) + media),
            (data or self.layout.root, row[0] if row and data else 0),
        ):
            free = shutil.disk_usage(folder).free
            if free < needed + SPARE_BYTES:
                raise TargetError(
                    f"{folder} has {free // 2**20} MB free, but a backup and its restore need "
                    f"{(needed + SPARE_BYTES) // 2**20} MB; free some space, or lower relevo:backup.keep."
                )

    def dumping(self) -> Dumping:
        return Dumping(
            database=self.database,
            connect=self.connect,
            tool=self.tool,
            scratch=self.scratch,
        )

    @property
    def scratch(self) -> str:
        """Begins the names of scratch databases: the server may be shared with other stacks."""
        return f"{SCRATCH}_{self.layout.digest}_"

    def _archive(self, file: Path) -> dict[str, int]:
        """Media into a tar file; returns path → size."""
        files: dict[str, int] = {}
        with tarfile.open(file, "w") as archive:
            for path in sorted(self.layout.media.rglob("*")):
                name = str(path.relative_to(self.layout.media))
                try:
                    member = archive.gettarinfo(path, arcname=name)
                    if member.isreg():
                        with open(path, "rb") as content:
                            archive.addfile(member, content)
                        files[name] = member.size
                    else:
                        archive.addfile(member)
                except FileNotFoundError:
                    continue  # deleted by the site meanwhile
        file.chmod(0o600)
        return files

    def _verify_media(self, file: Path, files: dict[str, int]) -> None:
        with tarfile.open(file) as archive:
            found = {member.name: member.size for member in archive if member.isreg()}
        if found.keys() != files.keys():
            raise TargetError(
                f"the backup holds {len(found)} media files, but there were {len(files)}; run the release "
                f"again."
            )

    def connect(self, database: str | None) -> psycopg.Connection:
        return connect(self.server, self.secrets, database=database or "postgres")

    def tool(self, tool: str, *arguments: str, connect: bool = True) -> None:
        server = self.server
        where = [f"--host={server.host}", f"--port={server.port}", f"--username={server.role}"]
        where.append("--no-password")
        try:
            done = subprocess.run(
                [program(tool, self.binaries), *(where if connect else []), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env={
                    "PATH": "/usr/bin:/bin",
                    "LANG": "C.UTF-8",
                    **server.tls_variables(),
                    "PGPASSWORD": self.secrets.read(server.secret),
                },
                check=False,
                timeout=self.timeout,
                pass_fds=self.held,
            )
        except subprocess.TimeoutExpired:
            raise TargetError(
                f"{tool} takes longer than {self.timeout:g} s, but the step gives it no more; raise "
                f"relevo:limits.commandSeconds."
            ) from None
        if done.returncode != 0:
            detail = " ".join(done.stderr.split())[-400:]
            raise TargetError(
                f"{tool} fails ({detail}), but backups are made and restored by it; correct that."
            )


def stored(layout: Layout) -> list[Backup]:
    """Newest first."""
    folders = [path for path in layout.backups.iterdir() if path.suffix != PARTIAL]
    found = [backup for folder in folders if (backup := _read(folder)) is not None]
    return sorted(found, key=lambda backup: backup.taken_at, reverse=True)


def _read(folder: Path) -> Backup | None:
    try:
        return Backup(**json.loads((folder / "backup.json").read_text()))
    except FileNotFoundError:
        return None
