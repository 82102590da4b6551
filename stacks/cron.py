"""When a job starts: five fields, each within its range ("Jobs in Azure Container Apps")."""

from __future__ import annotations

import re

RANGES = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day of the month": (1, 31),
    "month": (1, 12),
    "day of the week": (0, 6),
}
PART = re.compile(r"(?:\*|(?P<first>[0-9]+)(?:-(?P<last>[0-9]+))?)(?:/(?P<step>[0-9]+))?")


def fault(expression: str) -> str | None:
    """Which of five fields is out of its range, in the words of an error; None if none is."""
    for (name, (lowest, highest)), field in zip(RANGES.items(), expression.split(" "), strict=True):
        if not all(_fits(part, lowest, highest) for part in field.split(",")):
            return f"its {name} accepts {lowest} to {highest}, as 1, 1-5, */2 or a list of such"
    return None


def _fits(part: str, lowest: int, highest: int) -> bool:
    found = PART.fullmatch(part)
    if found is None:
        return False
    first = int(found["first"] or lowest)
    last = int(found["last"] or (highest if found["first"] is None else first))
    return lowest <= first <= last <= highest and 1 <= int(found["step"] or 1) <= highest
