"""Marks each test by the folder it lies in: tests/unit → unit, tests/engine → engine, tests/e2e → e2e."""

from pathlib import Path

import pytest

_ROOT = Path(__file__).parent
_MARKED = {"unit", "engine", "e2e"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(_ROOT).parts[0]
        if folder in _MARKED:
            item.add_marker(folder)
