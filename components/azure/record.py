"""The record of a stack in an append blob, and one step at a time by a lease on another."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
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
FULL = "BlockCountExceedsLimit"  # each entry is a block of the append blob
TRIES = 50  # writers that are in each other's way at the very same moment


class Record:
    """`logbook`: the container of the record, which is append-only; `lock`: that of the lease."""

    def __init__(self, *, host: str, logbook: str, lock: str) -> None:
        self._host = host
        self._containers = (logbook, lock)
        self._lost = threading.Event()
        self._known = b""

    # -- the record ------------------------------------------------------------------------------------
    def append(self, make: Callable[[bytes], str]) -> None:
        """Each line once, also where an answer is lost and azure-core asks again."""
        self._require_lease()
        blob = self._blob(0, RECORD)
        with asking("write the record"):
            for _ in range(TRIES):
                earlier = self._upto(blob, self._size(blob))
                data, at = f"{make(earlier)}\n".encode(), len(earlier)
                try:
                    blob.append_block(data, appendpos_condition=at)
                    return
                except (ResourceModifiedError, HttpResponseError) as error:
                    if getattr(error, "error_code", None) == FULL:
                        raise TargetError(
                            f"{RECORD} has 50,000 entries, which is all that Azure lets it have one by one; "
                            f'write it anew in larger blocks, as docs/azure.md says under "A full record".'
                        ) from None
                    if error.status_code != 412:
                        raise
                if self._upto(blob, self._size(blob)).startswith(data, at):
                    return
        raise TargetError(
            f"{TRIES} others write {RECORD} at the same time, but a step must be recorded; run pulumi up "
            f"again."
        )

    def read(self) -> bytes:
        with asking("read the record"):
            try:
                return self._blob(0, RECORD).download_blob().readall()
            except ResourceNotFoundError:
                return b""

    def _upto(self, blob: Any, size: int) -> bytes:
        """The first `size` bytes. What was read once does not change: only what came since is asked for."""
        known = self._known if len(self._known) <= size else b""
        if len(known) < size:
            known += blob.download_blob(offset=len(known), length=size - len(known)).readall()
        self._known = known
        return known

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
