"""A stand-in engine for each test."""

from __future__ import annotations

import pytest

from tests.unit.azure.stand_in import StandInEngine


@pytest.fixture
def engine() -> StandInEngine:
    return StandInEngine()
