"""previous-version: no instance is replaced when the code that still serves fails on the new schema."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from components.release.context import StepFailed
from components.release.running import perform
from components.release.tasks.previous_version import previous_version
from components.release.verification import Result
from components.target import Deployment, TargetError
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import StandInOperations, image

SCENARIO = """
steps:
  - {name: log in, request: {method: POST, path: /token/, form: {p: "{secret.SECRET_KEY}"}}, reads: true}
  - {name: list, request: {path: /loans/}}
  - {name: assign, request: {method: POST, path: /loans/}}
"""
FINE = Result(name="it is ready", status=200, milliseconds=3, fault=None)
BAD = replace(FINE, name="list", status=500, fault='"list" GET /loans/: status is 500, but expected 2xx')


def serves(operations: StandInOperations, version: str, **changes):
    """A release of the version has put it on both instances."""
    made, release = opened(operations, version, **changes)
    perform(made, "previous-version", previous_version)
    for name in ("instance-1", "instance-2"):
        made.write("step done", release.id, step=f"roll-{name}")
    made.write("release succeeded", release.id)
    operations.calls.clear()
    return release


def migrated(operations: StandInOperations, version: str, *names: str, **changes):
    """The context of a release that has got as far as this step, having applied what is named."""
    made, release = opened(operations, version, **changes)
    made.write("step done", release.id, step="preflight", data={"pending": names})
    made.write("step started", release.id, step="migrate")
    return made


def asked(operations: StandInOperations) -> list[tuple[Deployment, list[str]]]:
    """The deployment and the names of the steps that it was asked, in order."""
    return [
        (deployment, [step["name"] for step in json.loads(text)["steps"]])
        for _, deployment, text in operations.acted("read_aside")
    ]


def run(context):
    return perform(context, "previous-version", previous_version)


def test_the_version_that_serves_is_asked_what_its_own_scenario_reads(
    operations: StandInOperations, capsys
) -> None:
    release = serves(operations, "v1", scenario=SCENARIO)
    operations.aside = {image("v1"): (FINE,)}
    newer = SCENARIO + "  - {name: only in v2, request: {path: /new/}}\n"
    data = run(migrated(operations, "v2", "loans.0002_location", scenario=newer))
    deployment = Deployment(image=image("v1"), version="v1", release=release.id)
    assert asked(operations) == [(deployment, ["it is ready", "log in", "list"])]
    assert data["asked"][0]["version"] == "v1"
    assert data["asked"][0]["fault"] is None
    assert "/healthz/ and 2 of 3 smoke requests, which only read" in capsys.readouterr().out


def test_what_must_answer_in_time_is_asked_once_before_without_that(operations: StandInOperations) -> None:
    """A busy host and a process that has just begun would else be taken for a fault of the schema."""
    scenario = "steps: [{name: list, request: {path: /loans/}, expect: {status: 200, within: 2s}}]"
    serves(operations, "v1", scenario=scenario)
    operations.aside = {image("v1"): (FINE,)}
    run(migrated(operations, "v2", "loans.0002_location", scenario=scenario))
    ((_, _, text),) = operations.acted("read_aside")
    steps = {step["name"]: step["expect"] for step in json.loads(text)["steps"]}
    assert list(steps) == ["it is ready", "list (warm-up)", "list"]
    assert [expect.get("within") for expect in steps.values()] == ["1.000s", None, "2s"]
    assert steps["list (warm-up)"]["status"] == [200]


def test_a_version_that_fails_stops_the_release_unless_that_is_accepted(
    operations: StandInOperations, capsys
) -> None:
    serves(operations, "v1", scenario=SCENARIO)
    operations.aside = {image("v1"): (FINE, BAD)}
    with pytest.raises(StepFailed) as caught:
        run(migrated(operations, "v2", "loans.0002_location", scenario=SCENARIO))
    line = str(caught.value)
    assert 'v1, which still serves, fails on the schema of v2 ("list" GET /loans/: status is 500' in line
    assert "relevo rollback" in line
    assert "relevo:acceptIncompatible: v2" in line
    (failed,) = [entry for entry in operations.entries() if entry.event == "step failed"]
    assert failed.data["asked"][0]["requests"][1]["status"] == 500

    with pytest.raises(StepFailed):
        run(migrated(operations, "v2", "loans.0002", scenario=SCENARIO, accept_incompatible="v3"))
    capsys.readouterr()
    data = run(migrated(operations, "v2", "loans.0002", scenario=SCENARIO, accept_incompatible="v2"))
    assert data["asked"][0]["fault"] == BAD.fault
    assert "accepted by relevo:acceptIncompatible: v1, which still serves, fails" in capsys.readouterr().out


def test_a_version_that_cannot_be_asked_is_one_that_fails(operations: StandInOperations) -> None:
    serves(operations, "v1")

    def gone(*_: object) -> None:
        raise TargetError("v1 is not in the store; build it.")

    operations.before["read_aside"] = gone
    with pytest.raises(StepFailed, match=r"it could not be asked: v1 is not in the store; build it\)"):
        run(migrated(operations, "v2", "loans.0002_location"))


def test_what_a_failed_release_has_applied_is_asked_about_as_well(operations: StandInOperations) -> None:
    """The one after it has nothing to migrate, but the code that serves has never been asked."""
    serves(operations, "v1")
    migrated(operations, "v2", "loans.0002_location")
    run(migrated(operations, "v3"))
    assert len(asked(operations)) == 1


@pytest.mark.parametrize(
    ("version", "names", "rewind", "why"),
    [
        ("v2", (), {}, "no migration was applied"),
        ("v1", ("loans.0002_location",), {}, "no other version serves"),
        ("v2", ("loans.0002_location",), {"reversed": ["loans.0003_rename"]}, "has reversed migrations"),
    ],
)
def test_nothing_to_ask_is_said_and_recorded(
    operations: StandInOperations, capsys, version: str, names: tuple[str, ...], rewind: dict, why: str
) -> None:
    serves(operations, "v1")
    made = migrated(operations, version, *names)
    made.write("step done", made.current().id, step="rewind", data=rewind)
    assert why in run(made)["why"]
    assert why in capsys.readouterr().out
    assert asked(operations) == []


def test_the_first_release_has_nobody_to_ask(operations: StandInOperations) -> None:
    assert run(migrated(operations, "v1", "loans.0001_initial"))["why"] == "no other version serves"


def test_an_instance_that_the_stack_has_no_more_serves_nobody(operations: StandInOperations) -> None:
    serves(operations, "v1")
    made = migrated(operations, "v2", "loans.0002_location", instances=("instance-3", "instance-4"))
    assert run(made)["why"] == "no other version serves"


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, None, "the stack has no scenario"),
        ("steps: [{name: one, request: {path: /, method: PUT}}]", SCENARIO, "none of 1 smoke requests"),
        (SCENARIO, "steps: [{name: one, request: {path: /}}]", "its scenario uses SECRET_KEY"),
    ],
)
def test_where_nothing_can_be_read_the_probe_alone_is_asked(
    operations: StandInOperations, capsys, before: str | None, now: str | None, told: str
) -> None:
    serves(operations, "v1", scenario=before)
    run(migrated(operations, "v2", "loans.0002_location", scenario=now))
    assert [names for _, names in asked(operations)] == [["it is ready"]]
    assert f"/healthz/ alone: {told}" in capsys.readouterr().out
