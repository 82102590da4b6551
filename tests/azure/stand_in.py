"""A stand-in for a subscription: what was made in it, what was asked of it, and what it was told to do wrong.

A folder of files, so that the plugin's process, a stand-in server and a test share it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "RELEVO_STAND_IN_AZURE"
"""Environment variable by which the plugin's process knows the folder."""
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "33333333-3333-4333-8333-333333333333"
OBJECT = "44444444-4444-4444-8444-444444444444"

Document = dict[str, Any]


@dataclass(frozen=True)
class Orders:
    """What goes wrong on purpose, by Pulumi name.

    `fail`: to create, change or delete it fails with the text. `hold`: that waits until the name is taken out
    again. `known`: a preview is given what would only be known after an `up`.
    """

    fail: Mapping[str, str]
    hold: tuple[str, ...]
    known: bool


class StandInAzure:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._resources = folder / "resources"
        self._journal = folder / "journal.jsonl"
        self._orders = folder / "orders.json"

    @classmethod
    def make(cls, folder: Path) -> StandInAzure:
        (folder / "resources").mkdir(parents=True, exist_ok=True)
        (folder / "journal.jsonl").touch()
        return cls(folder)

    @classmethod
    def of_environment(cls) -> StandInAzure:
        return cls.make(Path(os.environ[VARIABLE]))

    # -- orders ----------------------------------------------------------------------------------------
    @property
    def orders(self) -> Orders:
        found = json.loads(self._orders.read_text()) if self._orders.exists() else {}
        return Orders(
            fail=found.get("fail", {}), hold=tuple(found.get("hold", ())), known=found.get("known", False)
        )

    def order(
        self, *, fail: Mapping[str, str] | None = None, hold: tuple[str, ...] = (), known: bool = False
    ) -> None:
        """Replaces all orders; without arguments it takes them back."""
        _write(self._orders, {"fail": dict(fail or {}), "hold": list(hold), "known": known})

    # -- journal ---------------------------------------------------------------------------------------
    def note(self, operation: str, **what: Any) -> None:
        line = json.dumps({"operation": operation, **what}, default=str) + "\n"
        with self._journal.open("a") as file:
            file.write(line)

    def journal(self, *operations: str) -> list[Document]:
        """What was asked, oldest first; all or only the given operations."""
        entries = [json.loads(line) for line in self._journal.read_text().splitlines()]
        return [entry for entry in entries if not operations or entry["operation"] in operations]

    # -- resources -------------------------------------------------------------------------------------
    def get(self, id_: str) -> Document | None:
        """`id`, `token`, `inputs` and `outputs` as the plugin's answers had them, `body` as ARM's."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads(self._file(id_).read_text())
        return None

    def put(self, document: Document) -> None:
        _write(self._file(document["id"]), document)

    def remove(self, id_: str) -> None:
        """With everything below it, as ARM does."""
        for document in self.below(id_):
            self._file(document["id"]).unlink(missing_ok=True)

    def resources(self) -> list[Document]:
        found = []
        for file in self._resources.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # deleted since
                found.append(json.loads(file.read_text()))
        return sorted(found, key=lambda document: document["id"])

    def below(self, id_: str) -> list[Document]:
        """The resource and all that it contains or that extends it."""
        start = id_.lower()
        return [
            document
            for document in self.resources()
            if document["id"].lower() == start or document["id"].lower().startswith(f"{start}/")
        ]

    def named(self, name: str) -> Document:
        """By the last part of its id, e.g. "psql-shop-qa". Raises `LookupError` unless there is one."""
        found = [document for document in self.resources() if document["id"].rpartition("/")[2] == name]
        if len(found) != 1:
            raise LookupError(f"{len(found)} resources are called {name}")
        return found[0]

    @contextlib.contextmanager
    def changing(self, id_: str) -> Iterator[Document]:
        """The resource's document, written back at the end; one change at a time."""
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            document = self.get(id_)
            if document is None:
                raise LookupError(f"{id_} is not there")
            yield document
            self.put(document)

    def drift(self, name: str, **properties: Any) -> None:
        """Somebody changes properties, in the SDK's spelling, without telling the engine."""
        with self.changing(self.named(name)["id"]) as document:
            document["inputs"].update(properties)
            document["outputs"].update(properties)

    def wait_while_held(self, name: str) -> None:
        while name in self.orders.hold:
            time.sleep(0.05)

    def _file(self, id_: str) -> Path:
        return self._resources / f"{hashlib.sha256(id_.lower().encode()).hexdigest()[:32]}.json"


def _write(file: Path, document: Any) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}.{time.monotonic_ns()}")
    part.write_text(json.dumps(document, default=str))
    part.replace(file)
