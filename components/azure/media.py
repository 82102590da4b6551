"""Media as they are at a moment: listed with the version of each blob, which the account keeps, and put back.

What was added since stays where it is: no row of a restored database names it, and who goes back again needs
it ("Blob versioning", Azure Storage: a version is had back by writing it over the blob).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import blobs
from components.target import Change


@dataclass(frozen=True)
class File:
    name: str
    bytes: int
    version: str | None
    etag: str


@dataclass(frozen=True)
class Media:
    """`host`: of the blobs; `media`, `backups`: containers. Lists are kept in the latter, write once."""

    host: str
    media: str
    backups: str

    def now(self) -> dict[str, File]:
        with asking("list the media"):
            found = blobs(self.host).get_container_client(self.media).list_blobs()
            return {
                blob.name: File(name=blob.name, bytes=blob.size, version=blob.version_id, etag=blob.etag)
                for blob in found
            }

    def store(self, files: dict[str, File], folder: str) -> str:
        """The list's name, another one at each try: what the container has cannot be changed."""
        listing = f"{folder}/media-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.json"
        data = json.dumps([asdict(file) for file in files.values()]).encode()
        with asking("store the list of the media"):
            blobs(self.host).get_blob_client(self.backups, listing).upload_blob(data)
        return listing

    def read(self, listing: str) -> dict[str, File]:
        with asking("read the list of the media"):
            data = blobs(self.host).get_blob_client(self.backups, listing).download_blob().readall()
        return {found["name"]: File(**found) for found in json.loads(data)}

    def change(self, listing: str) -> Change | None:
        """What was written since the list was made; None: nothing."""
        live, before = self.now(), self.read(listing)
        change = Change(
            table="media",
            inserted=len(live.keys() - before.keys()),
            updated=sum(live[name].etag != before[name].etag for name in live.keys() & before.keys()),
            deleted=len(before.keys() - live.keys()),
        )
        return change if change.inserted or change.updated or change.deleted else None

    def put_back(self, listing: str) -> list[str]:
        """Each file as it was when the list was made. Returns those of which no version is left."""
        live = self.now()
        changed = [
            file
            for name, file in self.read(listing).items()
            if name not in live or live[name].etag != file.etag
        ]
        return [file.name for file in changed if not self._copy(file)]

    def _copy(self, file: File) -> bool:
        """Through here, so that it takes no other right than to read and write blobs."""
        if file.version is None:
            return False
        client: Any = blobs(self.host).get_blob_client(self.media, file.name)
        with asking(f"put {file.name} back"):
            try:
                before = client.get_blob_properties(version_id=file.version)
                content = client.download_blob(version_id=file.version)
            except ResourceNotFoundError:
                return False
            client.upload_blob(
                content.chunks(),
                length=before.size,
                overwrite=True,
                metadata=before.metadata,
                content_settings=before.content_settings,
            )
        return True
