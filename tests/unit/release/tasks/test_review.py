"""The review that the clock starts where nobody can be told: what it prints for who watches the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from components.release import logbook
from components.release.spec import Receiver, Review, Volume
from components.release.tasks.review import review_what_is_due
from components.target import Counted
from tests.unit.release.conftest import released
from tests.unit.release.stand_in import StandInOperations

LOANS = Volume(name="loans", sql="SELECT 1", command=None, tolerance_percent=20)
REVIEW = Review(hours=24, weeks=4, volumes=(LOANS,))
UNREACHABLE = Receiver(
    console=False, file=None, url="json://nowhere.invalid", apprise_secret=None, events=("review-bad",)
)


@pytest.fixture
def a_day_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the release is made."""
    later = datetime.now(UTC) + timedelta(hours=25)
    monkeypatch.setattr(logbook, "now", lambda: later)


def _made(operations: StandInOperations):
    made, _ = released(operations, "v1", review=REVIEW, notify=(UNREACHABLE,))
    operations.counting = lambda query: Counted(found=(10, *[1000] * (len(query.spans) - 1)))
    return made


def test_what_it_finds_is_one_line_and_once(operations: StandInOperations, request, capsys) -> None:
    """By its verdict an alert reaches the people; the receivers of the stack are CI's to tell."""
    made = _made(operations)
    request.getfixturevalue("a_day_later")
    for _ in range(2):
        review_what_is_due(made)
    *_, line, nothing = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["relevo"], found["version"], found["verdict"]) == ("reviewed", "v1", "not stable")
    assert found["volumes"]["loans"]["found"] == 10
    assert nothing == "no review is due"
    release = made.current()
    assert release.reviewed is not None
    assert release.reviewed["verdict"] == "not stable"
    assert "review-bad" not in release.told


def test_before_its_time_nothing_is_counted(operations: StandInOperations, capsys) -> None:
    review_what_is_due(_made(operations))
    assert capsys.readouterr().out.splitlines()[-1] == "no review is due"
    assert not any(call[0] == "measure" for call in operations.calls)
