"""What the local target's dynamic resources have in common: have it so, see whether it is, take it away.

The engine keeps no resource whose `up` was killed after its creation, so creating is the same as updating:
whatever is there already is used. A resource differs when its inputs do, or when what it made is gone.
"""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ResourceProvider,
    UpdateResult,
)
from pulumi.dynamic.dynamic import PROVIDER_KEY
from pulumi.runtime.rpc import UNKNOWN

from components.faults import in_one_line
from components.target import TargetError

Properties = dict[str, Any]


class LocalProvider(ResourceProvider):
    """Subclasses say how. All inputs are plain values; each has `state`, the stack's folder."""

    serialize_as_secret_always = False  # pickled by reference: there is nothing in it

    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        """An input that cannot be used, and the one-line error, found before anything is changed.

        The engine shows the input's value; "" shows none.

        A `TargetError` that it raises counts as a fault of `state`.
        """
        return None

    def ensure(self, inputs: Properties) -> Properties:
        """Have it as `inputs` say, whatever there is; returns further outputs. Raises `TargetError`."""
        raise NotImplementedError

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        """Whether `ensure` has something to do although the inputs are the same."""
        raise NotImplementedError

    def remove(self, inputs: Properties) -> None:
        """Take away what runs. Data stays."""

    # -- what the engine calls -------------------------------------------------------------------------
    def check(self, _olds: Properties, news: Properties) -> CheckResult:
        if _unknown(news):
            return CheckResult(news, [])
        try:
            fault = self.fault(_plain(news))
        except TargetError as error:
            fault = "state", str(error)
        return CheckResult(news, [CheckFailure(*fault)] if fault else [])

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> DiffResult:
        olds, news = _plain(_olds), _plain(_news)
        if olds.get("state") != news["state"]:
            return DiffResult(changes=True, replaces=["state"], delete_before_replace=True)
        changed = any(olds.get(name) != value for name, value in news.items())
        return DiffResult(changes=changed or self.drifted(news, olds))

    def create(self, props: Properties) -> CreateResult:
        inputs = _plain(props)
        with in_one_line(TargetError):
            return CreateResult(inputs["state"], {**inputs, **self.ensure(inputs)})

    def update(self, _id: str, _olds: Properties, _news: Properties) -> UpdateResult:
        inputs = _plain(_news)
        with in_one_line(TargetError):
            return UpdateResult({**inputs, **self.ensure(inputs)})

    def delete(self, _id: str, _props: Properties) -> None:
        with in_one_line(TargetError):
            self.remove(_plain(_props))


def _plain(properties: Properties) -> Properties:
    return {name: _whole(value) for name, value in properties.items() if name != PROVIDER_KEY}


def _whole(value: Any) -> Any:
    """The engine's protocol (protobuf's Struct) has no whole numbers: 5432 arrives as 5432.0."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(_unknown(item) for item in value)
    return value == UNKNOWN
