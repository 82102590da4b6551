"""When a release is reviewed, what is counted and recorded of it, and who is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from components.release import notices
from components.release import review as reviews
from components.release.context import Context
from components.release.spec import Receiver, Review, Volume
from components.target import Completed, Counted, Query, TargetError
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import SECRET, Killed, StandInOperations, image

CONSOLE = Receiver(console=True, file=None, url=None, apprise_secret=None)
LOANS = Volume(name="loans", sql="SELECT loans", command=None, tolerance_percent=20)
AUDIT = Volume(name="audit entries", sql="SELECT audit", command=None, tolerance_percent=20)
COUNTED = Volume(
    name="invoices", sql=None, command=("count_invoices", "{since}/{until}"), tolerance_percent=20
)
DAY = timedelta(hours=24)


def asked(*volumes: Volume, **changes: Any) -> Review:
    return Review(**{"hours": 24, "weeks": 2, "volumes": volumes or (LOANS, AUDIT), **changes})


def made(operations: StandInOperations, *volumes: Volume, version: str = "v1", **changes: Any):
    """The context of a release that has succeeded, the release, and when its review is due."""
    context, release = released(
        operations, version, review=asked(*volumes, **changes), notify=(CONSOLE,), secrets=("SECRET_KEY",)
    )
    assert release.closed_at is not None
    return context, release, datetime.fromisoformat(release.closed_at) + DAY


def counting(operations: StandInOperations, **after: int | str) -> None:
    """What the queries find after the release, or why nothing; in all other spans they find 1000."""

    def count(query: Query) -> Counted:
        found = after.get(query.sql.split()[1], 1000)
        if isinstance(found, str):
            return Counted(error=found)
        return Counted(found=(found, *(1000,) * (len(query.spans) - 1)))

    operations.counting = count


def reviewed(operations: StandInOperations) -> list[dict[str, Any]]:
    return [dict(entry.data) for entry in operations.entries() if entry.event == "review done"]


def told(operations: StandInOperations) -> list[str]:
    return [entry.data["event"] for entry in operations.entries() if entry.event == "notified"]


# -- when --------------------------------------------------------------------------------------------------
def test_it_is_due_once_the_hours_of_the_stack_have_passed(operations: StandInOperations) -> None:
    context, release, due = made(operations)
    for late, found in ((-1, None), (0, release.id), (3600, release.id)):
        found_due = reviews.due(context.releases(), context.spec.review, due + timedelta(seconds=late))
        assert (found_due and found_due.id) == found
    assert reviews.due(context.releases(), None, due) is None
    sooner = asked(hours=1)
    assert reviews.due(context.releases(), sooner, due - 23 * timedelta(hours=1)) is not None


def test_once_it_is_done_it_is_not_due_any_more_and_what_was_found_stays(
    operations: StandInOperations,
) -> None:
    context, release, due = made(operations)
    counting(operations, loans=700)
    first = reviews.review(context, release, due)
    assert reviews.due(context.releases(), context.spec.review, due) is None
    operations.calls.clear()
    assert reviews.review(context, context.current(), due + DAY) == first
    assert operations.acted("measure") == []
    assert len(reviewed(operations)) == 1
    assert told(operations) == ["review-bad"]


def test_of_two_at_the_same_time_one_writes_and_both_say_what_it_found(operations: StandInOperations) -> None:
    context, release, due = made(operations)
    counting(operations, loans=700)

    def another(*_: Any) -> None:
        del operations.before["measure"]
        counting(operations, loans=710)
        reviews.review(context, release, due)

    operations.before["measure"] = another
    counting(operations, loans=700)
    found = reviews.review(context, release, due)
    assert len(reviewed(operations)) == 1
    assert found == reviewed(operations)[0]


def test_the_newest_good_release_takes_the_place_of_an_earlier_one(operations: StandInOperations) -> None:
    made(operations)
    context, newer, due = made(operations, version="v2")
    late = reviews.due(context.releases(), context.spec.review, due + DAY)
    assert late is not None
    assert late.id == newer.id
    opened(operations, "v3", review=asked())  # which has not succeeded
    late = reviews.due(context.releases(), context.spec.review, due + DAY)
    assert late is not None
    assert late.id == newer.id


# -- what --------------------------------------------------------------------------------------------------
def test_each_volume_is_counted_by_the_release_itself_in_all_spans_at_once(
    operations: StandInOperations,
) -> None:
    context, release, due = made(operations)
    data = reviews.review(context, release, due)
    ((_, by, queries),) = operations.acted("measure")
    assert by == image("v1")
    assert [query.sql for query in queries] == ["SELECT loans", "SELECT audit"]
    closed = datetime.fromisoformat(str(release.closed_at))
    assert len(queries[0].spans) == 6  # after, before, and both in two weeks
    assert queries[0].spans[0] == (closed, closed + DAY)
    assert (data["verdict"], data["early"]) == ("not enough data", False)


def test_a_fall_is_recorded_with_what_was_expected_and_told(operations: StandInOperations, capsys) -> None:
    context, release, due = made(operations)
    counting(operations, loans=700)
    data = reviews.review(context, release, due + timedelta(minutes=5))
    assert data == reviewed(operations)[0]
    assert (data["verdict"], data["due"], data["late_seconds"]) == ("not stable", due.isoformat(), 300.0)
    loans, audit = data["volumes"]["loans"], data["volumes"]["audit entries"]
    assert (loans["verdict"], loans["found"], loans["expected"], loans["change_percent"]) == (
        "not stable",
        700,
        1000.0,
        -30.0,
    )
    assert (loans["before"], loans["weeks"]) == (1000, [1000, 1000])
    assert audit["verdict"] == "stable"
    assert told(operations) == ["review-bad"]
    said = capsys.readouterr().out
    assert "the volume of loans is not stable" in said
    assert f"is 700, where 1000 ({loans['low']:.0f}-{loans['high']:.0f}) was to be expected" in said
    lines = reviews.said(release, data)
    assert lines[0].startswith("loans: 700, not stable: -30.0 % from the expected 1000, and ")
    assert lines[-1] == "review of v1: not stable"


def test_stable_volumes_are_recorded_and_nobody_is_told(operations: StandInOperations) -> None:
    context, release, due = made(operations)
    counting(operations)
    assert reviews.review(context, release, due)["verdict"] == "stable"
    assert told(operations) == []


def test_a_look_before_its_time_is_over_the_span_so_far_and_does_not_count(
    operations: StandInOperations,
) -> None:
    context, release, due = made(operations)
    counting(operations, loans=700)
    data = reviews.review(context, release, due - DAY / 2)
    ((_, _, queries),) = operations.acted("measure")
    began, ended = queries[0].spans[0]
    assert ended - began == DAY / 2
    assert (data["verdict"], data["early"], data["late_seconds"]) == ("not stable", True, 0.0)
    assert reviews.said(release, data)[-1].endswith(f"so far; it is due at {due.isoformat()}")
    assert told(operations) == []
    assert reviews.due(context.releases(), context.spec.review, due) is not None
    assert reviews.review(context, context.current(), due)["early"] is False
    assert [entry["early"] for entry in reviewed(operations)] == [True, False]


def test_a_volume_that_cannot_be_counted_says_why_and_the_others_are_judged(
    operations: StandInOperations,
) -> None:
    context, release, due = made(operations)
    counting(operations, audit=f'relation "audit" does not exist ({SECRET})')
    data = reviews.review(context, release, due)
    assert data["verdict"] == "not measured"
    assert data["volumes"]["loans"]["verdict"] == "stable"
    assert data["volumes"]["audit entries"]["error"].startswith('relation "audit" does not exist')
    assert SECRET not in str(reviewed(operations))
    assert told(operations) == ["review-due"]
    assert "audit entries: not measured, relation" in reviews.said(release, data)[1]


def test_a_command_counts_each_span_by_its_last_line(operations: StandInOperations) -> None:
    context, release, due = made(operations, COUNTED)
    operations.completed["count_invoices"] = Completed(status=0, output="counting …\n1000\n", seconds=0.1)
    data = reviews.review(context, release, due)
    assert data["volumes"]["invoices"]["verdict"] == "stable"
    assert operations.acted("measure") == []
    commands = [command for by, command in operations.managed if by == release.image]
    assert len(commands) == 6
    assert commands[0] == f"count_invoices {(due - DAY).isoformat()}/{due.isoformat()}"


@pytest.mark.parametrize(
    ("ended", "error"),
    [
        (Completed(status=1, output="Unknown command", seconds=0.1), "ended with status 1: Unknown command"),
        (
            Completed(status=0, output="3 invoices\n", seconds=0.1),
            "ends with '3 invoices', but its last line",
        ),
        (Completed(status=0, output="-3\n", seconds=0.1), "ends with '-3', but its last line"),
        (Completed(status=0, output="", seconds=0.1), "but its last line is to be a whole number"),
    ],
)
def test_a_command_that_does_not_count_is_the_error_of_its_volume(
    operations: StandInOperations, ended: Completed, error: str
) -> None:
    context, release, due = made(operations, COUNTED, LOANS)
    operations.completed["count_invoices"] = ended
    counting(operations)
    volumes = reviews.review(context, release, due)["volumes"]
    assert error in volumes["invoices"]["error"]
    assert volumes["loans"]["verdict"] == "stable"


# -- what goes wrong ---------------------------------------------------------------------------------------
def test_a_command_that_cannot_be_run_leaves_the_review_due(operations: StandInOperations) -> None:
    """Azure may not start a job just now; that says nothing of the volume."""
    context, _, due = made(operations, COUNTED)
    operations.fail("manage", "Azure answers 503.")
    with pytest.raises(TargetError, match="Azure answers 503"):
        reviews.review(context, context.current(), due)
    assert reviewed(operations) == []
    assert told(operations) == ["review-due"]
    assert reviews.due(context.releases(), context.spec.review, due) is not None


def test_where_nothing_can_be_counted_it_stays_due_and_people_are_told_once(
    operations: StandInOperations,
) -> None:
    context, _, due = made(operations)
    operations.fail("measure", "the database does not answer.")
    for _ in range(2):
        with pytest.raises(TargetError, match="the database does not answer"):
            reviews.review(context, context.current(), due)
    assert reviewed(operations) == []
    assert told(operations) == ["review-due"]
    assert reviews.due(context.releases(), context.spec.review, due) is not None
    operations.before.clear()
    counting(operations, loans=1)
    reviews.review(context, context.current(), due)
    assert told(operations) == ["review-due", "review-bad"]


def test_a_kill_while_people_are_told_does_not_leave_them_untold(operations: StandInOperations) -> None:
    context, release, due = made(operations)
    counting(operations, loans=700)
    operations.kill_at("append_record")
    with pytest.raises(Killed):
        reviews.review(context, release, due)
    operations.start_again()
    reviews.review(context, context.current(), due)
    assert told(operations) == ["review-bad"]
    assert len(reviewed(operations)) == 1


def test_what_was_found_where_nobody_could_be_told_is_told_by_whoever_asks_next(
    operations: StandInOperations,
) -> None:
    """On Azure it is counted in the network, from where no way leads out; CI tells."""
    context, release, due = made(operations)
    counting(operations, loans=700)
    silent = Context(
        stack=context.stack,
        trigger=context.trigger,
        spec=type(context.spec)(**{**vars(context.spec), "notify": ()}),
        operations=operations,
    )
    reviews.review(silent, release, due)
    assert told(operations) == []
    for _ in range(2):
        reviews.review(context, context.current(), due)
    assert told(operations) == ["review-bad"]


def test_a_volume_of_which_nobody_was_told_is_told_by_whoever_asks_next(
    operations: StandInOperations,
) -> None:
    """CI's job was ended after it had told of the first one."""
    context, release, due = made(operations)
    counting(operations, loans=700, audit=700)
    silent = replace(context, spec=replace(context.spec, notify=()))
    reviews.review(silent, release, due)
    notices.tell_on_record(
        context, "review-bad", release, volume="loans", found="700", expected="1000 (900-1100)"
    )
    assert reviews.untold(context, context.current())
    for _ in range(2):
        reviews.review(context, context.current(), due)
    assert context.current().told_of == ("loans", "audit entries")
    assert not reviews.untold(context, context.current())


def test_what_is_overdue_is_said(operations: StandInOperations) -> None:
    context, release, due = made(operations)
    wanted = context.spec.review
    assert reviews.overdue(context.releases(), wanted, due - DAY) is None
    assert reviews.overdue(context.releases(), wanted, due + DAY) == (
        f"that of v1 ({release.id}) was due on {due:%Y-%m-%d %H:%M} UTC and is not done"
    )
