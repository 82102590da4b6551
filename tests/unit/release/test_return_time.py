"""How long going back took, against the limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from components.release import return_time
from components.release.record import Entry, Release, releases
from tests.unit.release.stand_in import image

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def rollback(*steps: tuple[str, float], kind: str = "rollback", asked: float = 0.0) -> Release:
    """Opened at noon, asked for `asked` seconds before; each step takes its seconds and one more passes."""
    opening = {"version": "v1", "trigger": "t", "lock": "l", "responsible": "Ada", "kind": kind}
    opening |= {"previous_image": image("v2"), "previous_version": "v2"}
    opening["decided_at"] = (NOON - timedelta(seconds=asked)).isoformat()
    at = NOON

    def entry(event, step=None, seconds=None, data=None) -> Entry:
        return Entry(
            time=at.isoformat(),
            event=event,
            release="r",
            image=image("v1"),
            step=step,
            seconds=seconds,
            data=data or {},
        )

    entries = [entry("release opened", data=opening)]
    for step, seconds in steps:
        entries.append(entry("step started", step))
        at += timedelta(seconds=seconds)
        entries.append(entry("step done", step, seconds))
        at += timedelta(seconds=1)
    (release,) = releases(entries)
    return release


STEPS = (
    ("backup", 3.0),
    ("roll-worker", 2.0),
    ("roll-instance-1", 4.0),
    ("roll-instance-2", 4.0),
    ("smoke", 9.0),
)


def test_it_counts_from_the_decision_to_the_last_verified_instance() -> None:
    found = return_time.of(rollback(*STEPS, asked=60.0))
    assert found is not None
    assert (found.seconds, found.within) == (60 + 3 + 1 + 2 + 1 + 4 + 1 + 4, True)
    assert str(found) == "1 min 16 s of 30 min, within the limit"
    assert found.table() == [
        "     3.00 s  backup",
        "     2.00 s  roll-worker",
        "     4.00 s  roll-instance-1",
        "     4.00 s  roll-instance-2",
        "    63.00 s  between the steps",
        "    76.00 s  decision to last instance",
    ]


def test_a_slow_one_is_over_the_limit() -> None:
    found = return_time.of(rollback(*STEPS, asked=1790.0))
    assert found is not None
    assert (found.within, str(found)) == (False, "30 min 6 s of 30 min, OVER the limit")


@pytest.mark.parametrize("steps", [(), STEPS[:2], STEPS[:4]])
def test_until_the_last_instance_is_verified_there_is_no_time(steps) -> None:
    found = return_time.of(rollback(*steps))
    assert found is not None
    assert (found.seconds, found.within) == (None, None)
    assert str(found) == "not every instance is verified"


def test_without_a_decision_of_its_own_it_counts_from_the_opening() -> None:
    found = return_time.of(replace(rollback(*STEPS), decided_at=None))
    assert found is not None
    assert found.decided_at == NOON.isoformat()


def test_a_release_forward_has_no_limit() -> None:
    assert return_time.of(rollback(*STEPS, kind="release")) is None
