"""The artefact store: folders named by digest, which are complete or not there at all.

app@sha256:<hex>/{manifest.json, inputs.json, requirements-lock.txt, environment, source/…}
environments/<lock>-py<version>/    installed once for all artefacts with an equal lock
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.release.manifest import Manifest
from relevo.errors import EMPTY, RelevoError

KEPT = 10
IMAGE = re.compile(r"app@sha256:[0-9a-f]{64}")
UNFINISHED = ".unfinished-"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One artefact of the store."""

    image: str
    folder: Path
    manifest: Manifest

    @property
    def environment(self) -> str:
        """The name of its folder in `environments`."""
        return (self.folder / "environment").read_text().strip()


class Store:
    """The store in `root`, which is made when it is first written to."""

    def __init__(self, root: Path) -> None:
        # Links are followed once: an environment's programs name their interpreter by its real path.
        self.root = root.resolve()
        self.environments = self.root / "environments"

    @contextlib.contextmanager
    def exclusive(self, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
        """One writer at a time. Yields the lock's descriptor, for children who must keep it if we die.

        `waiting` is called when somebody else has it. What a killed writer left half-made is removed.
        """
        self.environments.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left_over in self.root.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left_over)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A folder to make something in, removed at the end unless it was renamed. Only in `exclusive`."""
        folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def folder(self, image: str) -> Path:
        return self.root / image

    def get(self, image: str) -> Stored | None:
        folder = self.folder(image)
        try:
            manifest = Manifest.from_json((folder / "manifest.json").read_text())
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise RelevoError(
                f"{folder}/manifest.json cannot be read, but says what the artefact is; "
                f"remove {folder} and build it again."
            ) from None
        return Stored(image=image, folder=folder, manifest=manifest)

    def described(self, image: str) -> str:
        """With its version, where the store knows it."""
        stored = self.get(image) if IMAGE.fullmatch(image) else None
        return f"{stored.manifest.version} ({image})" if stored else image

    def all(self) -> list[Stored]:
        """Every artefact, the newest first."""
        names = [path.name for path in self.root.glob("app@sha256:*") if IMAGE.fullmatch(path.name)]
        found = [stored for name in names if (stored := self.get(name)) is not None]
        return sorted(found, key=lambda stored: stored.manifest.built_at, reverse=True)

    def find(self, wanted: str) -> Stored:
        """By digest (whole or the beginning, with or without app@ and sha256:) or by version tag."""
        everything = self.all()
        digits = wanted.removeprefix("app@").removeprefix("sha256:").lower()
        found = [stored for stored in everything if stored.manifest.version == wanted]
        if re.fullmatch(r"[0-9a-f]{1,64}", digits):
            found += [
                stored
                for stored in everything
                if stored not in found and _digits(stored.image).startswith(digits)
            ]
        if len(found) == 1:
            return found[0]
        if not found:
            known = ", ".join(_short(stored) for stored in everything[:5]) or "none at all"
            raise RelevoError(
                f"{wanted or EMPTY} is not in the artefact store {self.root}, which has {known}; "
                f"build it with relevo build PATH."
            )
        raise RelevoError(
            f"{wanted} is ambiguous: {', '.join(_short(stored) for stored in found[:5])}; "
            f"give more of its digest."
        )

    def prune(self, keep: Collection[str]) -> list[Stored]:
        """Remove all but the newest `KEPT` and those in `keep`, then environments that nothing uses.

        Only inside `exclusive`. Returns what was removed.
        """
        everything = self.all()
        removed = [stored for stored in everything[KEPT:] if stored.image not in keep]
        for stored in removed:
            self.discard(stored.folder)
        # Any artefact's folder counts, so that an unreadable one does not lose its environment.
        used = {path.read_text().strip() for path in self.root.glob("app@sha256:*/environment")}
        for environment in self.environments.iterdir():
            if environment.name not in used:
                self.discard(environment)
        return removed

    def discard(self, folder: Path) -> None:
        """Remove a folder so that a kill in the middle leaves nothing that looks whole."""
        with self.unfinished() as grave:
            folder.rename(grave / folder.name)


def _digits(image: str) -> str:
    return image.rpartition(":")[2]


def _short(stored: Stored) -> str:
    return f"{stored.manifest.version} ({_digits(stored.image)[:12]})"
