"""What a release will do to the schema, and when it may not."""

from __future__ import annotations

import pytest

from components.release.plan import breaking, pending
from tests.unit.release.stand_in import manifest, migration

FIRST = migration("loans.0001_initial")
SECOND = migration("loans.0002_location")
SQUASHED = migration("loans.0001_squashed_0002", replaces="loans.0001_initial loans.0002_location")
BREAKING = migration("loans.0003_rename", "breaking")
OPAQUE = migration("loans.0003_fill", "opaque")


@pytest.mark.parametrize(
    ("known", "applied", "expected"),
    [
        pytest.param([FIRST, SECOND], [], [FIRST, SECOND], id="first release"),
        pytest.param([FIRST, SECOND], [FIRST], [SECOND], id="one is new"),
        pytest.param([FIRST, SECOND], [FIRST, SECOND], [], id="nothing is new"),
        pytest.param([FIRST], [FIRST, SECOND], [], id="the database is ahead"),
        pytest.param([SQUASHED], [FIRST, SECOND], [], id="squashed, all that it replaces is applied"),
        pytest.param([SQUASHED], [FIRST], [SQUASHED], id="squashed, half of it is applied"),
        pytest.param([SQUASHED], [], [SQUASHED], id="squashed, nothing is applied"),
        pytest.param([SQUASHED], [SQUASHED, FIRST, SECOND], [], id="squashed, and Django has noted so"),
        pytest.param([SQUASHED], [SQUASHED, FIRST], [SQUASHED], id="squashed, noted, and reversed in part"),
    ],
)
def test_pending_is_what_the_database_does_not_have_in_order(known, applied, expected) -> None:
    found = pending(manifest("v2", *known), {one.key for one in applied})
    assert [one.key for one in found] == [one.key for one in expected]


VERSION = manifest("v3", FIRST, SECOND, OPAQUE, BREAKING)


def test_a_breaking_migration_is_refused() -> None:
    refusal = breaking(VERSION, [SECOND, OPAQUE, BREAKING], accepted=None)
    assert refusal is not None
    assert "(loans.0003_rename)" in refusal
    assert "relevo:acceptIncompatible: v3" in refusal
    assert "\n" not in refusal


def test_it_is_accepted_for_exactly_the_version_that_the_stack_accepts() -> None:
    assert breaking(VERSION, [BREAKING], accepted="v3") is None
    assert breaking(VERSION, [BREAKING], accepted="v2") is not None


def test_what_adds_or_is_opaque_is_no_reason_to_refuse() -> None:
    assert breaking(VERSION, [SECOND, OPAQUE], accepted=None) is None
