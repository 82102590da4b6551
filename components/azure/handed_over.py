"""What a release hands over to those who look after it in the network, once `pulumi up` has ended.

`python -m components.azure.handed_over MODULE`, in a job there: runs MODULE as a step of the release that was
handed over last, with the operations that a job has.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from azure.core.exceptions import ResourceExistsError

from components.azure.container_secrets import once_ready
from components.azure.faults import asking
from components.azure.login import blobs
from components.target import TargetError

FOLDER = "handed-over/"  # in the record's container: what is there can be neither changed nor deleted
OUTSIDE, INSIDE = "components.azure.operations:AzureOperations", "components.azure.inside:InsideOperations"


class HandedOver:
    """`host`: of the blobs; `logbook`: the record's container."""

    def __init__(self, *, host: str, logbook: str) -> None:
        self._host = host
        self._logbook = logbook

    def write(self, described: Mapping[str, str]) -> None:
        """`described`: the variables of a step."""
        with asking("hand the release over"):
            if self._newest() != described:
                name = f"{FOLDER}{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.json"
                blob = blobs(self._host).get_blob_client(self._logbook, name)
                with suppress(ResourceExistsError):  # by this very request, whose answer was lost
                    blob.upload_blob(json.dumps(dict(described), sort_keys=True).encode())

    def newest(self) -> dict[str, str] | None:
        """None: no release has succeeded yet."""
        with asking("read which release was handed over"):
            return once_ready(self._newest)

    def _newest(self) -> dict[str, str] | None:
        container = blobs(self._host).get_container_client(self._logbook)
        name = max((blob.name for blob in container.list_blobs(name_starts_with=FOLDER)), default=None)
        return None if name is None else json.loads(container.download_blob(name).readall())


def main(arguments: list[str]) -> int:
    handed_over = HandedOver(host=os.environ["RELEVO_BLOBS"], logbook=os.environ["RELEVO_LOGBOOK"])
    try:
        described = handed_over.newest()
    except TargetError as fault:
        print(fault, flush=True)
        return 1
    if described is None:
        print("no release was handed over yet", flush=True)
        return 0
    inside = {name: text.replace(OUTSIDE, INSIDE) for name, text in described.items()}
    os.execve(sys.executable, [sys.executable, "-P", "-m", *arguments], {**os.environ, **inside})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
