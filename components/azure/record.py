"""The record of a stack in an append blob, and one step at a time by a lease on another."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from components.azure.faults import asking
from components.azure.login import blobs
from components.azure.waiting import until
from components.target import TargetError

RECORD, LOCK = "record.jsonl", "step.lock"
LEASE_SECONDS = 60  # the longest that a lease may have, so the time that a killed step blocks the next
RENEW_SECONDS = 15.0
TRIES = 50  # writers that are in each other's way at the very same moment


class Record:
    """`logbook`: the container of the record, which is append-only; `lock`: that of the lease."""

    def __init__(self, *, host: str, logbook: str, lock: str) -> None:
        self._host = host
        self._containers = (logbook, lock)
        self._lost = threading.Event()

    # -- the record ------------------------------------------------------------------------------------
    def append(self, line: str) -> None:
        """Each line once, also where an answer is lost and azure-core asks again."""
        self._require_lease()
        blob, data = self._blob(0, RECORD), f"{line}\n".encode()
        with asking("write the record"):
            for _ in range(TRIES):
                at = self._size(blob)
                try:
                    blob.append_block(data, appendpos_condition=at)
                    return
                except (ResourceModifiedError, HttpResponseError) as error:
                    if error.status_code != 412:
                        raise
                written = self._size(blob) >= at + len(data)
                if written and blob.download_blob(offset=at, length=len(data)).readall() == data:
                    return
        raise TargetError(
            f"{TRIES} others write {RECORD} at the same time, but a step must be recorded; run pulumi up "
            f"again."
        )

    def lines(self) -> list[str]:
        with asking("read the record"):
            try:
                text = self._blob(0, RECORD).download_blob().readall().decode()
            except ResourceNotFoundError:
                return []
        return [line for line in text.splitlines() if line.strip()]

    def _size(self, blob: Any) -> int:
        """Made first where there is none."""
        try:
            return blob.get_blob_properties().size
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError, ResourceModifiedError):
                blob.create_append_blob(match_condition=MatchConditions.IfMissing)
            return blob.get_blob_properties().size

    # -- one at a time ---------------------------------------------------------------------------------
    @contextlib.contextmanager
    def exclusive(self, step: str, *, timeout: float) -> Iterator[None]:
        """Raises `TargetError` after `timeout` seconds. One that is killed holds it for a minute more."""
        lease = self._acquire(step, timeout)
        done = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(lease, done), daemon=True)
        self._lost.clear()
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join()
            with contextlib.suppress(AzureError):  # it ends by itself
                lease.release()

    def _acquire(self, step: str, timeout: float) -> Any:
        blob = self._blob(1, LOCK)
        holder = ""

        def acquire() -> Any | None:
            nonlocal holder
            with asking("take the stack's lock"):
                try:
                    lease = blob.acquire_lease(lease_duration=LEASE_SECONDS)
                    blob.set_blob_metadata({"step": step}, lease=lease)
                    return lease
                except ResourceNotFoundError:
                    with contextlib.suppress(ResourceExistsError, ResourceModifiedError):
                        blob.upload_blob(b"", overwrite=False)
                    return acquire()
                except HttpResponseError as error:
                    if error.status_code != 409:
                        raise
                    found = (blob.get_blob_properties().metadata or {}).get("step", "another step")
                    if found != holder:
                        print(f"waiting for {found}, which still runs …", file=sys.stderr, flush=True)
                        holder = found
            return None

        return until(
            acquire,
            timeout=timeout,
            limit="relevo:limits.commandSeconds",
            fault=lambda: f"{holder or 'another step'} of this stack still runs",
            pause=1.0,
        )

    def _renew(self, lease: Any, done: threading.Event) -> None:
        while not done.wait(RENEW_SECONDS):
            try:
                lease.renew()
            except HttpResponseError:  # somebody broke it, or has it
                self._lost.set()
                return
            except AzureError:  # the next try comes before the lease ends
                continue

    def _require_lease(self) -> None:
        if self._lost.is_set():
            raise TargetError(
                "the stack's lock was lost in the middle of a step, but one step at a time is accepted; see "
                "who broke the lease, and run pulumi up again."
            )

    def _blob(self, which: int, name: str) -> Any:
        return self._client.get_blob_client(self._containers[which], name)

    @property
    def _client(self) -> Any:
        if not hasattr(self, "_made"):
            self._made = blobs(self._host)
        return self._made
