"""Artefacts on the target: verified in the store, which stays as it is, and copied into the state to run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.local.launch import digest12
from components.local.layout import Layout
from components.release.manifest import Manifest
from components.target import NotKept, TargetError


@dataclass(frozen=True)
class Store:
    """The artefact store of a checkout, and the copies of what a stack runs."""

    folder: Path
    layout: Layout

    def manifest(self, image: str) -> Manifest:
        """Of an artefact whose digest, lock and source files have been verified. Raises `TargetError`."""
        folder = self._folder(image)
        text = self._read(folder / "inputs.json", image)
        inputs = json.loads(text)
        _expect(image, "its inputs", hashlib.sha256(text.encode()).hexdigest(), image.rpartition(":")[2])
        lock = hashlib.sha256(self._read(folder / "requirements-lock.txt", image).encode()).hexdigest()
        _expect(image, "requirements-lock.txt", lock, inputs["lock"].removeprefix("sha256:"))
        manifest = Manifest.from_json(self._read(folder / "manifest.json", image))
        _expect(image, "the manifest's lock", manifest.lock, f"sha256:{lock}")
        source = folder / "source"
        found = {str(path.relative_to(source)) for path in _files(source)}
        if found != set(inputs["source"]):
            name = sorted(found ^ set(inputs["source"]))[0]
            raise TargetError(
                f"{image} is damaged ({name} is added or missing), but it must be as built; build it again."
            )
        for name, (_, digest) in inputs["source"].items():
            _expect(image, name, _digest(source / name), digest)
        self.environment(image)
        return manifest

    def environment(self, image: str) -> Path:
        """The folder of the artefact's Python environment, shared by equal locks."""
        folder = self.folder / "environments" / self._read(self._folder(image) / "environment", image).strip()
        if not (folder / "bin" / "python").exists():
            raise TargetError(
                f"{image} has no environment in {folder}, but it runs in one; run relevo build again."
            )
        return folder

    def materialise(self, image: str, app: Mapping[str, Any]) -> Path:
        """The project folder (with `manage.py`) in the state's copy of the source, made if need be."""
        target = self.layout.app / digest12(image)
        if not target.is_dir():
            partial = self.layout.app / f".{target.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self._folder(image) / "source", partial, symlinks=True)
            for path in (partial, *partial.rglob("*")):
                if not path.is_symlink():
                    path.chmod(
                        path.stat().st_mode | 0o600
                    )  # the store is read-only, a copy must be removable
            self._link(partial / app["project"], app["folders"], image)
            partial.rename(target)
        (self.layout.static / target.name).mkdir(exist_ok=True)
        return target / app["project"]

    def prune(self, kept: Collection[str]) -> None:
        """Remove the copies and static files of images that are not `kept`."""
        names = {digest12(image) for image in kept}
        for folder in (self.layout.app, self.layout.static):
            for path in folder.iterdir():
                if path.name not in names:
                    shutil.rmtree(path, ignore_errors=True)

    def _link(self, project: Path, folders: Mapping[str, str | None], image: str) -> None:
        """Folders that the project's settings hard-code become links to the target's."""
        roots = {"static": self.layout.static / digest12(image), "media": self.layout.media}
        for kind, root in roots.items():
            inside = folders.get(kind)
            if not inside:
                continue
            link = project / inside
            if link.is_dir() and not link.is_symlink():
                shutil.copytree(link, root, dirs_exist_ok=True, copy_function=_copy_missing)
                shutil.rmtree(link)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root)

    def _folder(self, image: str) -> Path:
        folder = self.folder / image
        if not folder.is_dir():
            raise NotKept(
                f"relevo:image is {image}, but {self.folder} has no such artefact; run relevo build, or "
                f"relevo releases."
            )
        return folder

    def _read(self, path: Path, image: str) -> str:
        try:
            return path.read_bytes().decode()
        except FileNotFoundError:
            raise TargetError(
                f"{image} has no {path.name}, but it must be as built; run relevo build again."
            ) from None


def _files(folder: Path) -> list[Path]:
    """All files but compiled bytecode, which is made at build and belongs to no digest."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [Path(parent) / name for name in (*names, *links)]
    return found


def _digest(path: Path) -> str:
    if path.is_symlink():
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _expect(image: str, what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise TargetError(
            f"{image} is damaged ({what} is sha256 {found[:12]}…, not {wanted[:12]}…), but it must be as "
            f"built; "
            f"delete it and run relevo build again."
        )


def _copy_missing(source: str, target: str) -> str:
    return target if os.path.lexists(target) else shutil.copy2(source, target)
