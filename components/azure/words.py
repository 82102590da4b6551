"""States as Azure writes them. Pure."""

from __future__ import annotations

from enum import Enum


def word(state: str | Enum | None) -> str:
    """The clients give a state that they know as a member of an enumeration, and any other as text."""
    return str(state.value if isinstance(state, Enum) else state or "")
