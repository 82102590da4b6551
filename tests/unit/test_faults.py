"""What the engine would print of a fault in a dynamic resource, which the SDK formats with `traceback`."""

from __future__ import annotations

import traceback

from components.faults import in_one_line
from components.target import TargetError


def shown(fault: Exception) -> str:
    """As the SDK does: after the provider has ended."""
    try:
        with in_one_line(TargetError):
            try:
                raise KeyError("what it came from")
            except KeyError as cause:
                raise fault from cause
    except Exception:  # noqa: BLE001 - whatever it is
        return traceback.format_exc()


def test_an_expected_one_is_one_line() -> None:
    assert (
        shown(TargetError("the database is gone")) == "components.target.TargetError: the database is gone\n"
    )


def test_an_unexpected_one_is_shown_whole_also_after_an_expected_one() -> None:
    shown(TargetError("the database is gone"))
    told = shown(ZeroDivisionError("a bug"))
    assert "what it came from" in told
    assert "raise fault from cause" in told
