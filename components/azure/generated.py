"""What is made once and then kept in the state: a random secret, and since when a value is in use."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

Properties = dict[str, Any]

BYTES = 36  # of randomness; 48 characters that need no quoting in a URL


class GeneratedProvider(ResourceProvider):
    serialize_as_secret_always = False  # pickled by reference: there is nothing in it

    def create(self, props: Properties) -> CreateResult:
        return CreateResult(secrets.token_hex(8), {"value": secrets.token_urlsafe(BYTES), "since": _now()})

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> DiffResult:
        # Another value would be a rotation that nobody asked for.
        return DiffResult(changes=False)


class Generated(Resource, module="relevo", name="Generated"):
    """A random value. Killed before it is recorded, it is made again: nothing has used the lost one yet."""

    value: pulumi.Output[str]
    since: pulumi.Output[int]  # seconds since 1970

    def __init__(self, name: str, parent: pulumi.Resource, *, protect: bool = False) -> None:
        super().__init__(
            GeneratedProvider(),
            name,
            {"value": None, "since": None},
            pulumi.ResourceOptions(parent=parent, protect=protect, additional_secret_outputs=["value"]),
        )
        self.value = pulumi.Output.secret(self.value)


class InUseProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: Properties) -> CreateResult:
        return CreateResult(secrets.token_hex(8), {**props, "since": _now()})

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> DiffResult:
        return DiffResult(changes=_olds["fingerprint"] != _news["fingerprint"])

    def update(self, _id: str, _olds: Properties, _news: Properties) -> UpdateResult:
        return UpdateResult({**_news, "since": _now()})


class InUse(Resource, module="relevo", name="InUse"):
    """Since when a value that Azure made is in use; `fingerprint` tells one value from the next."""

    since: pulumi.Output[int]  # seconds since 1970

    def __init__(self, name: str, parent: pulumi.Resource, fingerprint: pulumi.Input[str]) -> None:
        super().__init__(
            InUseProvider(),
            name,
            {"fingerprint": fingerprint, "since": None},
            pulumi.ResourceOptions(parent=parent),
        )


def _now() -> int:
    return int(time.time())
