"""Backups: one of the server by Azure, and one of its content by a job, which also proves it by a restore."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import Clients, blobs
from components.azure.words import word
from components.target import Backup, Completed, TargetError

DUMP = "database.dump"
# "Backup and restore in Azure Database for PostgreSQL flexible server": on-demand backups at a time.
MOST = 7
ON_DEMAND = "Customer On-Demand"


class Backups:
    """`on_demand`: whether the server has such backups: not on Burstable, nor on SSD v2. `limit`: seconds."""

    def __init__(
        self,
        clients: Clients,
        *,
        group: str,
        server: str,
        host: str,
        container: str,
        on_demand: bool,
        limit: float,
    ) -> None:
        self._clients = clients
        self._at = (group, server)
        self._host = host
        self._container = container
        self._on_demand = on_demand
        self._limit = limit

    def take(self, name: str, *, kept: Collection[str], dump: Callable[[], Completed]) -> Backup:
        """The verified backup called `name`, taken now if there is none. `dump` runs the job for it.

        A dump is never removed here: its container keeps it, and lets it go by its own rule.
        """
        existing = self.find(name)
        if existing is not None:
            return existing
        if self._on_demand:
            self._take_on_demand(name, kept)
        done = dump()
        taken = self.find(name)
        if done.status != 0 or taken is None:
            lines = [line for line in done.output.splitlines() if line.strip()]
            said = lines[-1][:300] if lines else "no output"
            raise TargetError(
                f"the backup {name} failed (exit status {done.status}: {said}), but a release needs a "
                f"verified one; correct that, and run pulumi up again."
            )
        return taken

    def find(self, name: str) -> Backup | None:
        with asking(f"look for the backup {name}"):
            try:
                return self._backup(self._blobs.get_blob_client(f"{name}/{DUMP}").get_blob_properties())
            except ResourceNotFoundError:
                return None

    def last(self) -> Backup | None:
        """The newest one, by what its dump says of itself."""
        with asking("list the backups"):
            found = [
                self._backup(blob)
                for blob in self._blobs.list_blobs(include=["metadata"])
                if blob.name.endswith(f"/{DUMP}")
            ]
        return max(found, key=lambda backup: backup.taken_at, default=None)

    # -- of the server ---------------------------------------------------------------------------------
    def _take_on_demand(self, name: str, kept: Collection[str]) -> None:
        """Idempotent by name. Azure takes one at a time and keeps seven."""
        earlier = self._earlier()
        if any(backup_name == name for backup_name, _ in earlier):
            return
        while len(earlier) >= MOST:
            oldest = self._removable([backup_name for backup_name, _ in earlier], kept)
            with asking(f"remove the backup {oldest} of {self._at[1]}"):
                self._finish(self._service.begin_delete(*self._at, oldest), f"removing the backup {oldest}")
            earlier = [each for each in earlier if each[0] != oldest]
        with asking(f"take the backup {name} of {self._at[1]}"):
            self._finish(self._service.begin_create(*self._at, name), f"taking the backup {name}")

    def _removable(self, names: list[str], kept: Collection[str]) -> str:
        """The oldest that no way back needs, else that is in a verified dump. `names`: oldest first."""
        for name in (*(name for name in names if name not in kept), *names):
            if name not in kept:
                return name
            dump = self.find(name)
            if dump is not None and dump.verified:
                return name
        raise TargetError(
            f"{self._at[1]} has {MOST} on-demand backups, each needed for a way back and none with a "
            f"verified dump, but Azure keeps no more than {MOST}; remove one that you can do without in the "
            f"portal."
        )

    def _earlier(self) -> list[tuple[str, datetime]]:
        """Those made on demand, oldest first."""
        with asking(f"list the backups of {self._at[1]}"):
            found = list(self._service.list_by_server(*self._at))
        made = [
            (each.name or "", each.properties.completed_time or datetime.now(UTC))
            for each in found
            if each.properties and word(each.properties.backup_type) == ON_DEMAND
        ]
        return sorted(made, key=lambda each: each[1])

    def _finish(self, poller: Any, what: str) -> None:
        poller.wait(self._limit)
        if not poller.done():
            raise TargetError(
                f"{what} of {self._at[1]} takes longer than {self._limit:g} s, but it is given no more; "
                f"raise relevo:limits.commandSeconds."
            )
        poller.result()

    @property
    def _service(self) -> Any:
        return self._clients.postgres.backups_automatic_and_on_demand

    # -- of its content --------------------------------------------------------------------------------
    @property
    def _blobs(self) -> Any:
        return blobs(self._host).get_container_client(self._container)

    def _backup(self, blob: Any) -> Backup:
        said = blob.metadata or {}
        return Backup(
            name=blob.name.partition("/")[0],
            taken_at=said.get("taken_at") or blob.last_modified.isoformat(timespec="seconds"),
            verified=said.get("verified") == "true",
            location=f"https://{self._host}/{self._container}/{blob.name}",
            bytes=blob.size,
            detail=json.loads(said.get("detail") or "{}"),
        )
