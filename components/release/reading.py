"""Data that another version of Relevo may have written: what it has added since is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any


def known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Of `data`, what the dataclass has a field for."""
    return {field.name: data[field.name] for field in fields(kind) if field.name in data}


def required(kind: type) -> list[str]:
    """The dataclass's fields without a default."""
    return [
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    ]
