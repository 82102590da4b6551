"""What was found against what was expected, as JSON: values, and the rows of a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import jsonpath

from components.release.scenario import Rows

SHOWN_DIFFERENCES = 3
MISSING = object()


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but not true, which Python takes for 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def differences(
    expect: Rows,
    columns: Sequence[str],
    expected: Sequence[Sequence[Any]],
    found: Sequence[Any],
    shown: Callable[[str], str],
) -> str | None:
    """How the rows that were found differ from those expected: row by row, on one line, or None.

    Rows have the numbers that a spreadsheet gives them, after the titles in row 1. `shown` makes a value fit
    to show.
    """
    compared = expect.columns or {name: f"$[{dumped(name)}]" for name in columns}
    key = expect.key or columns[:1]
    paths = {name: compared.get(name, f"$[{dumped(name)}]") for name in key}

    def value(name: str, row: Any) -> Any:
        matches = (
            jsonpath.findall(paths.get(name) or compared[name], row) if isinstance(row, (dict, list)) else []
        )
        return matches[0] if matches else MISSING

    def told(names: Sequence[str], values: Sequence[Any]) -> str:
        return ", ".join(
            f"{name} {'missing' if one is MISSING else shown(dumped(one))}"
            for name, one in zip(names, values, strict=True)
        )

    arrived: dict[tuple[str, ...], list[Any]] = {}
    for row in found:
        arrived.setdefault(_identity([value(name, row) for name in key]), []).append(row)
    numbers: dict[tuple[str, ...], int] = {}
    faults: list[str] = []
    for number, cells in enumerate(expected, start=2):
        wanted = dict(zip(columns, cells, strict=True))
        own = [wanted[name] for name in key]
        place = f"row {number} of {expect.of} ({told(key, own)})"
        rows = arrived.pop(_identity(own), [])
        if first := numbers.get(_identity(own)):
            faults.append(f"{place} has the key of row {first}; give a key that is another in each row")
            continue
        numbers[_identity(own)] = number
        if len(rows) != 1:
            faults.append(
                f"{place} is there {len(rows)} times, but expected once" if rows else f"{place} is missing"
            )
            continue
        for name in compared:
            one = value(name, rows[0])
            if one is MISSING or not same(one, wanted[name]):
                said = "missing" if one is MISSING else shown(dumped(one))
                faults.append(f"{place}: {name} is {said}, but expected {shown(dumped(wanted[name]))}")
    if not expect.others:
        for row in (row for rows in arrived.values() for row in rows):
            own = told(key, [value(name, row) for name in key])
            faults.append(f"a row is there ({own}) that {expect.of} does not have")
    more = len(faults) - SHOWN_DIFFERENCES
    return "; ".join([*faults[:SHOWN_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])]) or None


def _identity(values: Sequence[Any]) -> tuple[str, ...]:
    """Equal for what is the `same`."""
    return tuple(
        ""
        if one is MISSING
        else dumped(float(one) if isinstance(one, int) and not isinstance(one, bool) else one)
        for one in values
    )
