"""What a release will do to the schema, and when it may not."""

from __future__ import annotations

import pytest

from components.release.plan import plan
from tests.unit.release.stand_in import manifest, migration

FIRST = migration("loans.0001_initial")
SECOND = migration("loans.0002_location")
SQUASHED = migration("loans.0001_squashed_0002", replaces="loans.0001_initial loans.0002_location")
BREAKING = migration("loans.0003_rename", "breaking")
OPAQUE = migration("loans.0003_fill", "opaque")


@pytest.mark.parametrize(
    ("known", "applied", "pending"),
    [
        pytest.param([FIRST, SECOND], [], [FIRST, SECOND], id="first release"),
        pytest.param([FIRST, SECOND], [FIRST], [SECOND], id="one is new"),
        pytest.param([FIRST, SECOND], [FIRST, SECOND], [], id="nothing is new"),
        pytest.param([FIRST], [FIRST, SECOND], [], id="the database is ahead"),
        pytest.param([SQUASHED], [FIRST, SECOND], [], id="squashed, all that it replaces is applied"),
        pytest.param([SQUASHED], [FIRST], [SQUASHED], id="squashed, half of it is applied"),
        pytest.param([SQUASHED], [], [SQUASHED], id="squashed, nothing is applied"),
        pytest.param([SQUASHED], [SQUASHED], [], id="squashed, itself applied"),
        pytest.param([FIRST, OPAQUE], [FIRST], [OPAQUE], id="opaque is allowed"),
    ],
)
def test_pending_is_what_the_database_does_not_have_in_order(known, applied, pending) -> None:
    found = plan(manifest("v2", *known), {one.key for one in applied}, accepted=None)
    assert found.pending == tuple(pending)
    assert found.refusal is None


def test_a_breaking_migration_is_refused_while_a_version_runs() -> None:
    found = plan(manifest("v3", FIRST, SECOND, BREAKING), {FIRST.key}, accepted=None)
    assert found.pending == (SECOND, BREAKING)
    assert found.refusal is not None
    assert "loans.0003_rename" in found.refusal
    assert "loans.0002_location" not in found.refusal
    assert "relevo:acceptIncompatible: v3" in found.refusal
    assert "\n" not in found.refusal


def test_it_is_accepted_for_exactly_the_version_that_the_stack_accepts() -> None:
    breaking = manifest("v3", FIRST, BREAKING)
    assert plan(breaking, {FIRST.key}, accepted="v3").refusal is None
    assert plan(breaking, {FIRST.key}, accepted="v2").refusal is not None


def test_on_an_empty_database_nothing_can_break() -> None:
    assert plan(manifest("v3", FIRST, BREAKING), frozenset(), accepted=None).refusal is None


def test_a_breaking_migration_that_is_applied_already_is_no_reason_to_refuse() -> None:
    assert plan(manifest("v3", FIRST, BREAKING), {FIRST.key, BREAKING.key}, accepted=None).refusal is None
