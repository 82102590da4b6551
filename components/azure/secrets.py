"""Secrets of the stack, read when asked for and printed by nobody."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import Clients
from components.azure.secret_names import OWN, secret_name
from components.target import TargetError


class Secrets:
    """`uri`: the vault's. Values are kept as long as the process lives: a step sees one version of each."""

    def __init__(self, clients: Clients, uri: str, names: Iterable[str]) -> None:
        self._clients = clients
        self._uri = uri
        self._names = tuple(names)
        self.value = functools.cache(self._value)

    @functools.cached_property
    def _client(self):
        return self._clients.vault(self._uri)

    def read(self, name: str) -> str:
        """Of a project's secret. Raises `TargetError` with its name."""
        value = self.value(secret_name(name))
        if value is None:
            raise TargetError(
                f"the secret {name} has no value in the vault; set it with relevo secret set {name}."
            )
        return value

    def own(self, name: str) -> str:
        """Of one of the stack's own. Raises `TargetError`."""
        value = self.value(name)
        if value is None:
            raise TargetError(f"the vault has no {name}, but the stack needs its own secrets; run pulumi up.")
        return value

    def missing(self) -> list[str]:
        """The project's secrets without a value, and the stack's own."""
        project = [name for name in self._names if self.value(secret_name(name)) is None]
        return [*project, *(name for name in OWN if self.value(name) is None)]

    def all(self) -> list[str]:
        """Every value there is, for masking."""
        names = [*map(secret_name, self._names), *OWN]
        return [value for name in names if (value := self.value(name)) is not None]

    def _value(self, name: str) -> str | None:
        """None: there is no such secret, or it is disabled or empty."""
        with asking(f"read the secret {name} of {self._uri}"):
            try:
                return self._client.get_secret(name).value or None
            except ResourceNotFoundError:
                return None
