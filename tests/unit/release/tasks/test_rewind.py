"""rewind: the direct way back is taken and said; any other stops before anything is changed."""

from __future__ import annotations

import pytest

from components.release.context import StepFailed
from components.release.tasks.rewind import rewind
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import StandInOperations, image


def test_forward_there_is_nothing_to_rewind(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    made, release = opened(operations, "v2")
    assert rewind(made, release) == {"left_applied": [], "left_behind": []}
    assert "nothing to rewind" in capsys.readouterr().out


def test_what_only_adds_stays_and_is_said_and_recorded(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    released(operations, "v2")
    made, release = opened(operations, "v1")
    assert rewind(made, release) == {"left_applied": ["loans.0002_location"], "left_behind": []}
    assert "loans.0002_location" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_anything_else_is_refused_and_nothing_changes(operations: StandInOperations, version: str) -> None:
    released(operations, "v2")
    released(operations, version)
    before = operations.applied.copy()
    made, release = opened(operations, "v2")
    with pytest.raises(StepFailed, match="v2 does not know"):
        rewind(made, release)
    assert operations.applied == before
    assert operations.acted("manage") == []


def test_what_a_failed_release_has_applied_counts_as_well(operations: StandInOperations) -> None:
    """v3 migrated and then failed; the way back to v2 must know what v3 did."""
    released(operations, "v2")
    opened(operations, "v3")
    operations.applied.add(("loans", "0003_rename"))
    made, release = opened(operations, "v2")
    with pytest.raises(StepFailed, match=r"manage\.py migrate loans 0002_location"):
        rewind(made, release)


def test_an_artefact_that_is_not_kept_any_more_makes_its_migrations_unknown(operations) -> None:
    released(operations, "v1")
    released(operations, "v2")
    del operations.manifests[image("v2")]
    made, release = opened(operations, "v1")
    with pytest.raises(StepFailed, match="cannot be reversed"):
        rewind(made, release)


def test_the_backup_that_is_named_was_taken_before_that_release(operations: StandInOperations) -> None:
    """The newest backup is of this release, and already has what is to be got rid of."""
    from components.release.running import perform
    from components.release.tasks.backup import backup
    from components.release.tasks.manage import migrate
    from components.release.tasks.preflight import preflight

    released(operations, "v2")
    made, third = opened(operations, "v3", accept_incompatible="v3")
    operations.backup("before", kept=())
    perform(made, "preflight", preflight)
    perform(made, "backup", backup)
    perform(made, "migrate", migrate)
    made.write("release succeeded", third.id)
    made, release = opened(operations, "v2")
    perform(made, "backup", backup)
    with pytest.raises(StepFailed, match=rf"restore the backup {third.id}\."):
        rewind(made, release)
