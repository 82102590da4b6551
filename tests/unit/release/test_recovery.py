"""A failed release comes back by itself only where that helps, and once."""

from __future__ import annotations

from typing import Any

import pytest

from components.release import recovery
from components.release.record import Release
from components.release.recovery import Recovery

V1, V2, V3 = (f"app@sha256:{digit * 64}" for digit in "123")


def release(image: str, verdict: Any, **changes: Any) -> Release:
    version = f"v{image[-1]}"
    known: dict[str, Any] = {
        "id": f"id-of-{version}",
        "version": version,
        "image": image,
        "trigger": "",
        "lock": "",
        "responsible": "",
        "opened_at": "",
        "previous_image": None,
        "previous_version": None,
        "verdict": verdict,
    }
    return Release(**{**known, **changes})


GOOD = release(V1, "succeeded")


def failed(step: str | None, **changes: Any) -> Release:
    return release(V2, "failed", failed_step=step, **changes)


def breached(**changes: Any) -> Release:
    found = {"measure": "errors-5xx", "found": "4.8 %", "before": "0.1 %"}
    return release(V2, "succeeded", **{"breached": found, **changes})


@pytest.mark.parametrize(
    ("step", "schema_only"),
    [
        ("roll-instance-1", False),
        ("roll-instance-2", False),
        ("roll-worker", False),
        ("smoke", False),
        ("previous-version", True),  # what serves fails on the schema that the release has made
    ],
)
def test_what_has_reached_an_instance_or_harms_what_serves_is_gone_back_from(
    step: str, schema_only: bool
) -> None:
    wrong = failed(step)
    due = recovery.due([GOOD, wrong], V2)
    assert isinstance(due, Recovery)
    assert (due.failed, due.target) == (wrong, GOOD)
    assert due.schema_only is schema_only


@pytest.mark.parametrize(
    ("known", "pinned", "reason"),
    [
        ([], V1, "has not failed"),
        ([GOOD], V1, "has not failed"),
        ([GOOD, release(V2, "open")], V2, "v2 has not come to its end"),
        ([GOOD, failed("preflight")], V2, "v2 failed in preflight, before an instance was replaced"),
        ([GOOD, failed("rewind")], V2, "may fail on: go on or back at once"),
        (
            [GOOD, failed("after-migrate-1", done={"preflight": {"pending": ["a.1"]}, "migrate": {}})],
            V2,
            "may fail on: go on or back at once",
        ),
        ([GOOD, failed("previous-version", kind="recovery")], V2, "a way back is not gone back from"),
        ([failed("previous-version")], V2, "no release before it has succeeded"),
        ([GOOD, failed("migrate")], V2, "before an instance was replaced"),
        ([GOOD, failed(None)], V2, "v2 failed in the beginning, before"),
        ([failed("roll-instance-1")], V2, "no release before it has succeeded"),
        ([GOOD, failed("smoke")], V1, "is not pinned any more"),
        ([GOOD, failed("smoke")], None, "is not pinned any more"),
        ([GOOD, failed("smoke", kind="recovery")], V2, "a way back is not gone back from"),
        ([GOOD, failed("smoke", kind="rollback")], V2, "a way back is not gone back from"),
        ([GOOD, release(V1, "failed", failed_step="smoke")], V1, "not to another artefact"),
    ],
)
def test_there_is_nothing_to_come_back_from(known: list[Release], pinned: str | None, reason: str) -> None:
    said = recovery.due(known, pinned)
    assert isinstance(said, str)
    assert reason in said


def test_a_release_that_fails_again_after_it_was_gone_back_from_comes_back_again() -> None:
    """One rollback for one release: pinning it anew is another one."""
    wrong = failed("smoke")
    again = failed("smoke", id="again")
    back = release(V1, "succeeded", id="back", kind="recovery")
    assert recovery.due([GOOD, wrong, back, again], V2) == Recovery(failed=again, target=back)


@pytest.mark.parametrize("pinned", [V2, V1])
def test_a_release_whose_watch_was_breached_is_gone_back_from(pinned: str) -> None:
    """Also when that was killed between its pin and its release."""
    found = recovery.due([GOOD, breached()], pinned)
    assert isinstance(found, Recovery)
    assert found == Recovery(failed=breached(), target=GOOD)
    assert found.detail == "the rate of 5xx responses is 4.8 %; before the release it was 0.1 %"


@pytest.mark.parametrize(
    ("known", "pinned", "reason"),
    [
        ([GOOD, release(V2, "succeeded")], V2, "has not failed"),
        ([GOOD, breached(), release(V2, "open", id="again")], V2, "has not failed"),
        ([breached()], V2, "no release before it has succeeded"),
        ([GOOD, breached()], V3, "is not pinned any more"),
        ([GOOD, breached()], None, "is not pinned any more"),
        ([GOOD, breached(kind="rollback")], V2, "a way back is not gone back from"),
        ([GOOD, breached(kind="recovery")], V2, "a way back is not gone back from"),
        ([GOOD, breached(breached={"measure": "errors-4xx"})], V2, "visitors can bring about"),
        ([GOOD, breached(stuck="no way.")], V2, "could not come back by itself: no way"),
        ([GOOD, breached(), release(V1, "succeeded", id="back", kind="rollback")], V1, "has not failed"),
    ],
)
def test_a_breach_is_not_gone_back_from(known: list[Release], pinned: str | None, reason: str) -> None:
    said = recovery.due(known, pinned)
    assert isinstance(said, str)
    assert reason in said


def test_a_breach_that_visitors_cannot_bring_about_is_gone_back_from_whatever_came_first() -> None:
    found = {"measure": "errors-4xx", "found": "30 %", "before": "2 %"}
    both = breached(breached=found, breaches=("errors-4xx", "errors-5xx"))
    assert recovery.due([GOOD, both], V2) == Recovery(failed=both, target=GOOD)


def test_a_re_release_that_is_breached_goes_back_to_what_served_before_it() -> None:
    back = release(V1, "succeeded", id="back", kind="rollback")
    again = breached(id="again", kind="re-release")
    assert recovery.due([GOOD, breached(), back, again], V2) == Recovery(failed=again, target=back)
