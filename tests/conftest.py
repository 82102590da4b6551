"""Marks each test by the folder it lies in, and runs the quick ones first: unit, engine, e2e, the rest."""

from pathlib import Path

import pytest

_ROOT = Path(__file__).parent
_ORDER = ["unit", "engine", "e2e"]


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(_ROOT).parts[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _folder(item) in _ORDER:
            item.add_marker(_folder(item))
    items.sort(key=lambda item: _ORDER.index(_folder(item)) if _folder(item) in _ORDER else len(_ORDER))
