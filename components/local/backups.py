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
from psycopg import sql

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

    def take(self, name: str, *, keep: int, protected: Collection[str]) -> Backup:
        """A verified backup called `name`; the one of that name if there is. Raises `TargetError`."""
        existing = self._read(self.layout.backups / name)
        if existing is not None:
            return existing
        for left_over in self.layout.backups.glob(f"*{PARTIAL}"):
            shutil.rmtree(left_over)
        partial = self.layout.backups / f"{name}{PARTIAL}"
        with connect(self.server, self.secrets, database=self.database) as connection:
            self._check_space(connection)
            partial.mkdir(mode=0o700)
            rows = self._dump(connection, partial / "database.dump")
        files = self._archive(partial / "media.tar")
        self._verify(partial / "database.dump", rows)
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
        self._prune(keep, protected)
        return backup

    def last(self) -> Backup | None:
        return next(iter(self.all()), None)

    def all(self) -> list[Backup]:
        """Newest first."""
        folders = [path for path in self.layout.backups.iterdir() if path.suffix != PARTIAL]
        found = [self._read(folder) for folder in folders]
        return sorted(
            (backup for backup in found if backup is not None),
            key=lambda backup: backup.taken_at,
            reverse=True,
        )

    def _read(self, folder: Path) -> Backup | None:
        try:
            return Backup(**json.loads((folder / "backup.json").read_text()))
        except FileNotFoundError:
            return None

    def _prune(self, keep: int, protected: Collection[str]) -> None:
        """The newest `keep` stay, and the `protected` ones."""
        for backup in self.all()[keep:]:
            if backup.name not in protected:
                folder = self.layout.backups / backup.name
                shutil.rmtree(folder.rename(folder.with_name(f"{backup.name}{PARTIAL}")))

    def _check_space(self, connection: psycopg.Connection) -> None:
        """Room for the dump, the media and the scratch database, before anything is written."""
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
                    f"{folder} has {free // 2**20} MB free, but a verified backup needs "
                    f"{(needed + SPARE_BYTES) // 2**20}"
                    f" MB; free some space, or lower relevo:backup.keep."
                )

    def _dump(self, connection: psycopg.Connection, file: Path) -> dict[str, int]:
        """Dump the database; returns the rows of each table in the very snapshot that was dumped."""
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert snapshot is not None
            self._run(
                "pg_dump",
                "--format=custom",
                f"--snapshot={snapshot[0]}",
                f"--file={file}",
                f"--dbname={self.database}",
            )
            return _rows(connection)

    def _verify(self, dump: Path, rows: dict[str, int]) -> None:
        """List the dump, restore it beside the real database and count."""
        self._run("pg_restore", "--list", "--file=/dev/null", str(dump), connect=False)
        # The server may be shared with other stacks.
        prefix = f"{SCRATCH}_{self.layout.digest}_"
        scratch = f"{prefix}{os.getpid()}"
        with connect(self.server, self.secrets) as server:
            self._drop_scratch(server, prefix)
            self._make_scratch(server, scratch)
            try:
                self._run(
                    "pg_restore",
                    "--exit-on-error",
                    "--no-owner",
                    "--no-privileges",
                    f"--dbname={scratch}",
                    str(dump),
                )
                with connect(self.server, self.secrets, database=scratch) as restored:
                    found = _rows(restored)
            finally:
                self._drop_scratch(server, prefix)
        if found != rows:
            table = sorted(name for name in {*rows, *found} if rows.get(name) != found.get(name))[0]
            raise TargetError(
                f"the backup holds {found.get(table)} rows of {table}, but the database had "
                f"{rows.get(table)}; run the release again."
            )

    def _make_scratch(self, server: psycopg.Connection, name: str) -> None:
        """An empty database of the same encoding and locale, which need not be the server's own."""
        row = server.execute(
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = %s",
            [self.database],
        ).fetchone()
        assert row is not None
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
                sql.Identifier(name), *(sql.Literal(value) for value in row)
            )
        )

    def _drop_scratch(self, server: psycopg.Connection, prefix: str) -> None:
        """Also what a killed backup left behind."""
        left = server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        for (name,) in left.fetchall():
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

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

    def _run(self, tool: str, *arguments: str, connect: bool = True) -> None:
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
                f"{tool} fails ({detail}), but a release needs a verified backup; correct that."
            )


def _rows(connection: psycopg.Connection) -> dict[str, int]:
    """The exact number of rows of each table."""
    tables = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', "
        "'information_schema')"
    ).fetchall()
    counts: dict[str, int] = {}
    for schema, table in tables:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        counts[f"{schema}.{table}"] = row[0] if row else 0
    return counts
