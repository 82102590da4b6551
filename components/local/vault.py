"""The local vault: one 0600 file a secret in a 0700 folder. Values are never shown, only names.

Beside each lies its version, a random id of the value, by which the engine knows a value that was replaced.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from components.local import durable
from components.target import TargetError

# The target's own. Lower case with a dot, so that they never meet a project's names.
SUPERUSER = "database.superuser"
DATABASE_USER = "database.user"
CACHE_APP = "cache.app"
CACHE_READER = "cache.reader"
OWN = (SUPERUSER, DATABASE_USER, CACHE_APP, CACHE_READER)

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")


class Vault:
    """The secrets in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> str:
        """Raises `TargetError` if there is none."""
        try:
            return self._path(name).read_text()
        except FileNotFoundError:
            raise TargetError(
                f"secret {name} is missing, but the stack needs it; set it with relevo secret set {name}."
            ) from None

    def write(self, name: str, value: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(name)
        # Without a version meanwhile: a kill between the two must not leave the old one with the new value.
        self._version(name).unlink(missing_ok=True)
        durable.write(path, value)
        self.mark([name])

    def generate(self, names: Iterable[str]) -> None:
        """Make a random value for each of `names` that has none. An existing one is never replaced."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            path = self._path(name)
            if path.exists():
                continue
            self._version(name).unlink(missing_ok=True)
            fresh = path.with_name(f".{name}.{os.getpid()}.{secrets.token_hex(4)}")
            durable.write(fresh, secrets.token_urlsafe(48))
            try:
                os.link(fresh, path)  # unlike a rename, loses against whoever was first
            except FileExistsError:
                pass
            finally:
                fresh.unlink()

    def mark(self, names: Iterable[str]) -> None:
        """Give a version to each of `names` that has a value but none."""
        for name in names:
            if self._path(name).exists() and not self._version(name).exists():
                durable.write(self._version(name), secrets.token_hex(8))

    def versions(self, names: Iterable[str]) -> dict[str, str]:
        """Name → version, which is another one whenever the value was written; of those that have one."""
        return {name: self._version(name).read_text() for name in names if self._version(name).exists()}

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that do not resolve to a value."""
        return [name for name in names if not self._resolves(name)]

    def names(self) -> list[str]:
        """The project's secrets that are there, without the target's own."""
        if not self._folder.is_dir():
            return []
        return sorted(
            path.name for path in self._folder.iterdir() if NAME.fullmatch(path.name) and path.name not in OWN
        )

    def _resolves(self, name: str) -> bool:
        path = self._path(name)
        return path.is_file() and path.stat().st_size > 0

    def _version(self, name: str) -> Path:
        return self._path(name).with_name(f".{name}.version")

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise TargetError(
                f"{name!r} is not a secret's name, but only such as SECRET_KEY is accepted; correct it."
            )
        return self._folder / name
