"""A drill restores for practice, and the record says how long that took or what is wrong."""

from __future__ import annotations

import pytest

from components.release import running
from components.release.context import StepFailed
from components.release.drill import described, perform
from components.release.tasks.drill import drill
from components.target import TargetError
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import StandInOperations, context, image, specification


def test_a_drill_is_timed_and_recorded() -> None:
    operations = StandInOperations({})
    there = context(operations, specification("v1"))
    there.write("step done", "r1", step="roll-instance-1")
    done = perform(there, "manual-29991124T140210Z")
    assert operations.acted("drill") == [("drill", "manual-29991124T140210Z", image("v1"), "r1")]
    entry = operations.entries()[-1]
    assert (entry.event, entry.seconds, entry.data["rows"], entry.data["bytes"]) == ("drill done", 2.5, 7, 9)
    assert entry.data["responsible"]
    assert described(done).startswith(
        "manual-29991124T140210Z: 7 rows in 3 tables restored from 9 bytes in 2.5 s"
    )


def test_a_schema_that_the_artefact_of_its_time_would_migrate_fails_the_drill() -> None:
    operations = StandInOperations({})
    operations.drill_fault = "exit status 1, no output"
    with pytest.raises(TargetError, match=r"r1 was restored, but migrate --check of"):
        perform(context(operations, specification("v1")), "r1")
    assert operations.entries()[-1].event == "drill failed"
    assert operations.entries()[-1].data["responsible"]


def test_a_release_whose_backup_cannot_be_restored_stops(operations: StandInOperations) -> None:
    made, release = opened(operations, "v1")
    backup = f"{release.id}-v1"
    made.write("step done", release.id, step="backup", data={"name": backup})
    operations.drill_fault = "exit status 1, no output"
    with pytest.raises(StepFailed, match=f"{backup} was restored, but migrate --check of"):
        running.perform(made, "drill", drill, once=True)
    (failed,) = made.releases()
    assert (failed.verdict, failed.failed_step) == ("failed", "drill")
    assert backup in str(failed.error)
