"""Whether a release touches what a check is about, by what two artefacts say of their source. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from components.release.manifest import Manifest


def reason(paths: Sequence[str], before: Manifest, now: Manifest) -> str | None:
    """What differs below the folders, or around all of them; None: nothing does. What is unknown differs."""
    for manifest in (before, now):
        if not manifest.folders:
            return f"the manifest of {manifest.version} does not say what its folders are"
    if before.lock != now.lock or before.python != now.python:
        return f"the dependencies are not those of {before.version}"
    for path in paths:
        old, new = _below(path, before), _below(path, now)
        if not old and not new:
            return f"no version has a folder {path}"
        if old != new:
            changed = min(folder for folder in {**old, **new} if old.get(folder) != new.get(folder))
            return f"{changed} differs from {before.version}"
    return None


def _below(path: str, manifest: Manifest) -> dict[str, str]:
    return {
        folder: digest
        for folder, digest in manifest.folders.items()
        if path in (".", folder) or folder.startswith(f"{path}/")
    }
