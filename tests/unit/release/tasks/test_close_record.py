"""The end of a release: its verdict, what took how long, and what is due."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from components.release.context import StepFailed
from components.release.running import perform
from components.release.spec import Receiver, Watch
from components.release.tasks.backup import backup
from components.release.tasks.close_record import close
from components.release.tasks.notify import notify
from components.target import TargetError
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import Killed, StandInOperations, image

CONSOLE = Receiver(console=True, file=None, url=None, apprise_secret=None)


def test_the_release_has_succeeded_and_says_what_took_how_long(operations, capsys) -> None:
    made, _ = opened(operations)
    perform(made, "backup", backup)
    capsys.readouterr()
    perform(made, "close-record", close)
    release = made.current()
    assert release.verdict == "succeeded"
    assert {"open-record", "backup", "close-record"} <= set(release.done)
    said = capsys.readouterr().out
    assert " s  backup" in said
    assert f"v1 of {release.image}" in said
    assert "by Ada" in said


def test_only_what_can_be_gone_back_to_is_kept(operations: StandInOperations) -> None:
    """Ten releases of one image once drove out the one that a rollback needs."""
    for version in ("v1", *["v2"] * 12):
        made, _ = opened(operations, version)
        perform(made, "close-record", close)
    assert operations.acted("prune")[-1] == ("prune", {image("v1"), image("v2")})


def test_review_and_watch_are_recorded_as_due(operations: StandInOperations) -> None:
    made, _ = opened(operations, watch=Watch(minutes=30, every_seconds=15))
    due = perform(made, "close-record", close)
    closed_at = made.current().closed_at
    assert closed_at is not None
    closed = datetime.fromisoformat(closed_at)
    assert datetime.fromisoformat(due["watch_until"]) - closed == timedelta(minutes=30)
    assert datetime.fromisoformat(due["review_due"]) - closed == timedelta(hours=24)
    assert made.current().done["close-record"] == due


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_kill_in_the_middle_then_again_closes_it_once(operations: StandInOperations, writes: int) -> None:
    made, _ = opened(operations)
    written = []

    def die(*_) -> None:
        written.append(1)
        if len(written) == writes:
            operations.kill_at("append_record")
            operations.before["append_record"]()

    operations.before["append_record"] = die
    with pytest.raises(Killed):
        perform(made, "close-record", close)
    operations.start_again()
    perform(made, "close-record", close)
    assert made.current().verdict == "succeeded"
    assert [entry.event for entry in operations.entries()].count("release succeeded") == 1


def test_everybody_is_told_of_the_success_once(operations: StandInOperations, capsys) -> None:
    made, _ = opened(operations, notify=(CONSOLE,))
    perform(made, "close-record", close)
    for _ in range(2):
        done = perform(made, "notify", notify, once=True)
        assert done == {"event": "done", "receivers": {"1 (console)": "told"}, "tries": {"1 (console)": 1}}
    assert capsys.readouterr().out.count("Release of v1 succeeded") == 1


def test_a_step_after_the_end_that_fails_leaves_the_release_good(operations: StandInOperations) -> None:
    made, _ = opened(operations, notify=(CONSOLE,))
    perform(made, "close-record", close)
    operations.fail("public_url")
    with pytest.raises(StepFailed):
        perform(made, "notify", notify, once=True)
    assert made.current().verdict == "succeeded"


def test_the_backup_is_named_after_the_release_and_taken_once(operations: StandInOperations) -> None:
    made, release = opened(operations)
    for _ in range(2):
        found = perform(made, "backup", backup, once=True)
        assert (found["name"], found["verified"]) == (release.id, True)
    assert operations.acted("backup") == [("backup", release.id)]


def test_a_backup_that_fails_ends_the_release(operations: StandInOperations) -> None:
    made, _ = opened(operations)
    operations.before["backup"] = lambda *_: (_ for _ in ()).throw(
        TargetError("the disk is full; free some.")
    )
    with pytest.raises(StepFailed, match="the disk is full"):
        perform(made, "backup", backup, once=True)
    assert made.current().failed_step == "backup"
