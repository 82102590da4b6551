"""What the inputs of a command may be, and what differs between two of them."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.struct_pb2 import Struct

from relevo.toolchain.command_plugin.wire import SIGNATURE, UNKNOWN, plain, step_into

RUN_INPUTS: dict[str, Any] = {
    "interpreter": [str],
    "dir": str,
    "environment": {str: str},
    "stdin": str,
    "logging": str,
    "assetPaths": [str],
    "archivePaths": [str],
    "addPreviousOutputInEnv": bool,
}
COMMAND_INPUTS: dict[str, Any] = {
    **RUN_INPUTS,
    "triggers": [Any],
    "create": str,
    "update": str,
    "delete": str,
}
LOGGED = {"stdout": {1}, "stderr": {2}, "stdoutAndStderr": {1, 2}, "none": set[int]()}
"""`logging` → the streams that are displayed, 1 for stdout and 2 for stderr."""


def plain_inputs(properties: Struct) -> dict[str, Any]:
    """The inputs among the properties, without those that are null."""
    items = ((key, plain(properties.fields[key])) for key in COMMAND_INPUTS if key in properties.fields)
    return {key: value for key, value in items if value is not None}


def type_faults(path: str, value: Any, accepted: Any) -> Iterator[tuple[str, str]]:
    """(property path, what must be there instead) for each part of the value that has the wrong type."""
    if value == UNKNOWN or accepted is Any:
        return
    if isinstance(accepted, list):
        if not isinstance(value, list):
            yield path, "list"
            return
        for index, item in enumerate(value):
            yield from type_faults(f"{path}[{index}]", item, accepted[0])
    elif isinstance(accepted, dict):
        if not isinstance(value, dict):
            yield path, "map"
            return
        for key, item in value.items():
            yield from type_faults(step_into(path, key), item, accepted[str])
    elif not isinstance(value, accepted):
        yield path, {str: "string", bool: "bool"}[accepted]


def input_faults(kind: str, inputs: dict[str, Any], accepted: dict[str, Any]) -> list[tuple[str, str]]:
    """(property path, reason) for each unknown field, wrong type and unknown way of logging."""
    faults: list[tuple[str, str]] = []
    for key, value in inputs.items():
        if key not in accepted:
            faults.append((key, f"Unrecognized field '{key}' on '{kind}'"))
            continue
        for path, expected in type_faults(key, value, accepted[key]):
            faults.append((path, f"Field '{path}' on '{kind}' must be a '{expected}'"))
        if key == "logging" and isinstance(value, str) and value not in {*LOGGED, UNKNOWN}:
            faults.append(
                (key, f"Field 'logging' on '{kind}' is {value!r}, but must be one of {', '.join(LOGGED)}")
            )
    return faults


_ADD, _DELETE, _UPDATE = "ADD", "DELETE", "UPDATE"


def differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """(property path, kind) for each difference, as deep as both sides have the same shape."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and SIGNATURE not in old and SIGNATURE not in new:
        for key in sorted({*old, *new}):
            yield from _item_differences(step_into(path, key), old, new, key)
    elif isinstance(old, list) and isinstance(new, list):
        before, after = dict(enumerate(old)), dict(enumerate(new))
        for index in range(max(len(old), len(new))):
            yield from _item_differences(f"{path}[{index}]", before, after, index)
    else:
        yield path, _UPDATE


def _item_differences(
    path: str, old: dict[Any, Any], new: dict[Any, Any], key: Any
) -> Iterator[tuple[str, str]]:
    if key not in old:
        yield path, _ADD
    elif key not in new:
        yield path, _DELETE
    else:
        yield from differences(path, old[key], new[key])


def input_differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Property path → kind of difference. Only `triggers` as a whole, added or removed, replaces here.

    A changed item of it becomes a replacement by the SDK's own `replace_on_changes`.
    """
    found: dict[str, str] = {}
    for key in sorted({*old, *new}):
        for path, kind in _item_differences(key, old, new, key):
            found[path] = f"{kind}_REPLACE" if path == "triggers" and kind != _UPDATE else kind
    return found
