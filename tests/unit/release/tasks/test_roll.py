"""One instance is replaced and proved, or has back what it had: no fault may leave users unanswered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from components.release import gate, record
from components.release import smoke as smoke_step
from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.running import perform
from components.release.smoke import smoke
from components.release.tasks import roll as roll_task
from components.release.tasks.roll import roll, roll_next
from components.target import Completed, Deployment, TargetError
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import (
    Answer,
    Asked,
    Killed,
    Slot,
    StandInOperations,
    StandInSite,
    context,
    image,
    instance_of,
    serving,
    specification,
)

NAMES = ("instance-1", "instance-2")
ACTS = ("drain", "replace", "manage", "admit", "withdraw")


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(gate, "PAUSE", 0.01)
    monkeypatch.setattr(gate, "STEADY_SECONDS", 0.05)
    monkeypatch.setattr(roll_task, "RETURN_SECONDS", 0.2)
    monkeypatch.setattr(smoke_step, "BETWEEN", 0.001)


@pytest.fixture
def sites(operations: StandInOperations) -> Iterator[dict[str, StandInSite]]:
    """Two instances on which nothing has run, and a worker."""
    with ExitStack() as stack:
        found = {name: stack.enter_context(serving(instance_of(operations, name))) for name in NAMES}
        operations.slots = {name: Slot(address=site.url) for name, site in found.items()}
        operations.slots["worker"] = Slot()
        yield found


def of(release: Release) -> Deployment:
    return Deployment(image=release.image, version=release.version, release=release.id)


def perform_roll(made: Context, name: str = "instance-1"):
    return perform(made, f"roll-{name}", lambda known, release: roll_next(known, release, name))


def serves(operations: StandInOperations, version: str) -> Release:
    """The version, released on every slot."""
    made, release = opened(operations, version)
    for name in operations.slots:
        perform_roll(made, name)
    made.write("release succeeded", release.id)
    operations.calls.clear()
    return made.current()


def acts(operations: StandInOperations) -> list[tuple]:
    return [call[:2] for call in operations.acted(*ACTS)]


def test_drain_replace_gate_admit_in_this_order(operations: StandInOperations, sites) -> None:
    serves(operations, "v1")
    made, release = opened(operations, "v2")
    sites["instance-1"].asked.clear()
    found = roll(made, release, "instance-1")
    assert (found["changed"], found["before"]) == (True, "v1")
    assert acts(operations) == [
        ("drain", "instance-1"),
        ("replace", "instance-1"),
        ("manage", "migrate --check"),
        ("admit", "instance-1"),
    ]
    assert operations.slots["instance-1"].runs == of(release)
    assert operations.slots["instance-1"].in_rotation
    assert sites["instance-1"].paths == ["GET /healthz/"]
    assert operations.slots["instance-2"].runs != of(release), "the other one is not touched"


def test_the_first_release_finds_nothing_there(operations: StandInOperations, sites) -> None:
    made, release = opened(operations, "v1")
    assert roll(made, release, "instance-1")["before"] is None
    assert operations.slots["instance-1"].in_rotation


def test_what_serves_already_is_left_alone(operations: StandInOperations, sites, capsys) -> None:
    made, _ = opened(operations, "v1")
    perform_roll(made)
    operations.calls.clear()
    assert perform_roll(made) == {"changed": False}
    assert acts(operations) == []
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["out of rotation", "stopped", "another release of the same image"])
def test_what_only_looks_like_it_is_rolled(operations: StandInOperations, sites, change: str) -> None:
    made, release = opened(operations, "v1")
    perform_roll(made)
    slot = operations.slots["instance-1"]
    if change == "out of rotation":
        slot.in_rotation = False
    elif change == "stopped":
        slot.runs = None
    else:
        slot.runs = Deployment(image=release.image, version="v1", release="20200101T000000Z-v1")
    operations.calls.clear()
    assert perform_roll(made)["changed"]
    assert slot.in_rotation
    assert slot.runs == of(release)


# -- bad instances -----------------------------------------------------------------------------------------
def break_replacement(operations: StandInOperations, sites, how: str) -> None:
    """Have v2 fail on instance-1 in one of the ways in which instances do."""
    v2 = image("v2")
    good = instance_of(operations, "instance-1")

    def only_v2(bad: Answer):
        def answer(asked):
            runs = operations.slots["instance-1"].runs
            return bad if runs is not None and runs.version == "v2" else good(asked)

        return answer

    if how == "dies":
        operations.dies.add(v2)
    elif how == "log":
        operations.errors[v2] = ["ok", "  ModuleNotFoundError: no module named x"]
    elif how == "status":
        sites["instance-1"].answer = only_v2(Answer(status=500))
    elif how == "header":
        sites["instance-1"].answer = only_v2(Answer(headers={"X-Release": "v1", "X-Instance": "instance-1"}))
    elif how == "migrations":
        operations.completed["migrate"] = Completed(status=1, output="", seconds=0)
    elif how == "smoke":
        sites["instance-1"].answer = lambda asked: (
            Answer(status=404) if asked.path == "/smoke/" else good(asked)
        )
    elif how == "admit":
        refuse = operations.before

        def once(*_) -> None:
            del refuse["admit"]
            raise TargetError("the balancer does not see it healthy; look.")

        refuse["admit"] = once


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("dies", "not ready after 0.3 s (its process does not run)"),
        ("log", "does not start cleanly (ModuleNotFoundError: no module named x)"),
        ("status", "not ready after 0.3 s (/healthz/ answers 500, but expected 200)"),
        ("header", "X-Release is 'v1', but expected 'v2'"),
        ("migrations", "migrations of v2 are not all applied"),
        ("smoke", "fails the smoke scenario before any traffic"),
        ("admit", "the balancer does not see it healthy"),
    ],
)
def test_a_bad_instance_is_put_back(operations: StandInOperations, sites, how: str, said: str) -> None:
    first = serves(operations, "v1")
    scenario = "steps: [{name: opens, request: {path: /smoke/}}]" if how == "smoke" else None
    made, _ = opened(operations, "v2", scenario=scenario)
    break_replacement(operations, sites, how)
    with pytest.raises(StepFailed) as caught:
        perform_roll(made)
    assert said in str(caught.value)
    assert str(caught.value).endswith("; instance-1 serves v1 again.")
    slot = operations.slots["instance-1"]
    assert slot.in_rotation
    assert slot.runs == of(first)
    assert made.current().verdict == "failed"
    assert operations.slots["instance-2"].runs == of(first)
    admitted = [i for i, call in enumerate(operations.calls) if call[0] == "admit"]
    restored = operations.calls.index(("replace", "instance-1", of(first)))
    if how != "admit":
        assert all(i > restored for i in admitted), "it never served a user"


def test_a_stale_process_that_answers_200_does_not_pass(operations: StandInOperations, sites) -> None:
    """The old process still has the port: it answers well, but it is not what was released."""
    first = serves(operations, "v1")
    made, _ = opened(operations, "v2")
    operations.stale.add("instance-1")
    with pytest.raises(StepFailed, match="its process is not yet that of v2"):
        perform_roll(made)
    assert operations.slots["instance-1"].runs == of(first)


def test_where_nothing_ran_before_it_is_withdrawn(operations: StandInOperations, sites) -> None:
    made, _ = opened(operations, "v1")
    operations.dies.add(image("v1"))
    with pytest.raises(StepFailed, match="instance-1 is stopped, for nothing ran on it before"):
        perform_roll(made)
    assert acts(operations)[-1] == ("withdraw", "instance-1")
    assert not operations.slots["instance-1"].in_rotation


@pytest.mark.parametrize("fault", ["target", "unexpected", "it dies as well"])
def test_what_cannot_be_put_back_is_said_loudly(operations, sites, fault: str) -> None:
    serves(operations, "v1")
    made, _ = opened(operations, "v2")
    operations.dies.add(image("v2"))
    if fault == "it dies as well":
        operations.dies.add(image("v1"))
    else:

        def refuse(_, deployment: Deployment) -> None:
            if deployment.version == "v1":
                raise TargetError("no space left; free some.") if fault == "target" else OSError("no space")

        operations.before["replace"] = refuse
    with pytest.raises(StepFailed) as caught:
        perform_roll(made)
    assert "its process does not run" in str(caught.value), "the first fault is not lost"
    assert "and instance-1 could not be given back v1 (" in str(caught.value)
    assert made.current().error == str(caught.value)


def test_an_unforeseen_fault_and_that_of_putting_back_leave_their_tracebacks(
    operations, sites, capsys
) -> None:
    """The step's own fault wraps the first and swallows the second; both must be found."""
    serves(operations, "v1")

    def broken(*_: object) -> None:
        raise KeyError("port")

    made, _ = opened(operations, "v2")
    operations.before["replace"] = broken
    with pytest.raises(StepFailed, match=r"KeyError: 'port'; and instance-1 could not be given back v1"):
        perform_roll(made)
    said = capsys.readouterr().err
    assert said.count("Traceback (most recent call last):") >= 2
    assert "in put_back" in said


@pytest.mark.parametrize("call", ["drain", "replace", "deployed", "admit", "startup_errors"])
def test_a_target_that_fails_at_a_call_leaves_what_served(operations, sites, call: str) -> None:
    first = serves(operations, "v1")
    made, _ = opened(operations, "v2")

    def once(*_) -> None:
        del operations.before[call]
        raise TargetError("out of order; look.")

    if call == "deployed":  # asked first to see whether there is anything to do
        operations.slots["instance-1"].in_rotation = False
    operations.before[call] = once
    with pytest.raises(StepFailed, match=r"out of order; look; instance-1 serves v1 again\.$"):
        perform_roll(made)
    assert operations.slots["instance-1"].runs == of(first)
    assert operations.slots["instance-1"].in_rotation


# -- kill in the middle, then again ------------------------------------------------------------------------
@pytest.mark.parametrize("call", ["instance", "drain", "replace", "startup_errors", "deployed", "admit"])
def test_kill_in_the_middle_then_again_converges(operations, sites, call: str) -> None:
    serves(operations, "v1")
    made, release = opened(operations, "v2")
    operations.kill_at(call)
    with pytest.raises(Killed):
        perform_roll(made)
    operations.start_again()
    perform_roll(made)
    assert operations.slots["instance-1"].runs == of(release)
    assert operations.slots["instance-1"].in_rotation
    assert made.current().id == release.id


@pytest.mark.parametrize("call", ["drain", "startup_errors", "admit"])
def test_kill_in_the_middle_then_a_failure_gives_back_what_served(operations, sites, call: str) -> None:
    """After the kill the instance is this release's own; what is to be put back is what was before it."""
    first = serves(operations, "v1")
    made, _ = opened(operations, "v2")
    operations.kill_at(call)
    with pytest.raises(Killed):
        perform_roll(made)
    operations.start_again()
    operations.dies.add(image("v2"))
    operations.slots["instance-1"].runs = None
    with pytest.raises(StepFailed, match=r"instance-1 serves v1 again\.$"):
        perform_roll(made)
    assert operations.slots["instance-1"].runs == of(first)


def test_what_passed_and_stopped_since_is_not_what_was_before(operations, sites) -> None:
    """The step is done and run again, since the engine did not see its end; meanwhile v2 has died there."""
    first = serves(operations, "v1")
    made, _ = opened(operations, "v2")
    perform_roll(made)
    operations.dies.add(image("v2"))
    operations.slots["instance-1"].runs = None
    with pytest.raises(StepFailed, match=r"instance-1 serves v1 again\.$"):
        perform_roll(made)
    assert operations.slots["instance-1"].runs == of(first)


def test_the_same_image_released_again_gives_back_the_release_before(operations, sites) -> None:
    """Killed half-way in a second release of v1: not this release, whose image is the same, is put back."""
    first = serves(operations, "v1")
    made = context(operations, specification("v1", collectstatic=False))
    from components.release.tasks.open_record import open_record

    open_record(made)
    operations.kill_at("startup_errors")
    with pytest.raises(Killed):
        perform_roll(made)
    operations.start_again()
    fails = [True]

    def once(*_) -> None:
        if fails:
            fails.clear()
            raise TargetError("no; look.")

    operations.before["admit"] = once
    operations.slots["instance-1"].runs = None
    with pytest.raises(StepFailed, match="serves v1 again"):
        perform_roll(made)
    assert operations.slots["instance-1"].runs == of(first)


def test_after_a_release_that_failed_half_way_each_instance_has_back_its_own(operations, sites) -> None:
    """v2 serves on instance-1 and never got to instance-2; v3 fails on both."""
    first = serves(operations, "v1")
    made, second = opened(operations, "v2")
    perform_roll(made, "instance-1")
    made, _ = opened(operations, "v3")
    operations.dies.add(image("v3"))
    for name, before in (("instance-1", second), ("instance-2", first)):
        with pytest.raises(StepFailed, match=f"{name} serves {before.version} again"):
            perform_roll(made, name)
        assert operations.slots[name].runs == of(before)


# -- those that have the release already -------------------------------------------------------------------
def other_hand(operations: StandInOperations, first: Release, name: str = "instance-1") -> None:
    """Has put back on the instance what ran there before, of which the record knows nothing."""
    operations.slots[name].asked = operations.slots[name].runs = of(first)


def test_what_a_hand_has_changed_is_rolled_again_before_the_next_one(
    operations: StandInOperations, sites
) -> None:
    """The engine has its step as done, and never runs it again in this release."""
    first = serves(operations, "v1")
    made, release = opened(operations, "v2")
    perform_roll(made)
    other_hand(operations, first)
    operations.calls.clear()
    perform_roll(made, "instance-2")
    assert [call[1] for call in operations.acted("replace")] == ["instance-1", "instance-2"]
    assert operations.slots["instance-1"].runs == of(release)
    assert operations.slots["instance-1"].in_rotation


def test_what_comes_back_by_itself_is_left_alone(operations: StandInOperations, sites) -> None:
    """One slow answer, or a crash, is no reason to take an instance out."""
    serves(operations, "v1")
    made, release = opened(operations, "v2")
    perform_roll(made)
    operations.slots["instance-1"].runs = None
    asked: list[str] = []

    def started_again(name: str) -> None:
        asked.append(name)
        if len(asked) == 3:
            operations.slots["instance-1"].runs = of(release)

    operations.before["instance"] = started_again
    operations.calls.clear()
    perform_roll(made, "instance-2")
    assert [call[1] for call in operations.acted("replace")] == ["instance-2"]


@pytest.mark.parametrize("scenario", [None, "steps: [{name: opens, request: {path: /smoke/}}]"])
def test_all_instances_serve_one_version_when_smoke_is_done(
    operations: StandInOperations, sites, monkeypatch, scenario: str | None
) -> None:
    first = serves(operations, "v1")
    monkeypatch.setattr(type(operations), "public_url", sites["instance-2"].url)
    made, release = opened(operations, "v2", scenario=scenario)
    for name in NAMES:
        perform_roll(made, name)
    other_hand(operations, first)
    perform(made, "smoke", smoke)
    assert {operations.slots[name].runs for name in NAMES} == {of(release)}


def test_an_instance_that_the_scenario_kills_fails_smoke(
    operations: StandInOperations, sites, monkeypatch
) -> None:
    serves(operations, "v1")
    made, _ = opened(operations, "v2", scenario="steps: [{name: opens, request: {path: /smoke/}}]")
    for name in NAMES:
        perform_roll(made, name)
    good = instance_of(operations, "instance-1")

    def kills(asked: Asked) -> Answer:
        if asked.path == "/smoke/":
            operations.slots["instance-2"].runs = None
        return good(asked)

    with serving(kills) as site:
        monkeypatch.setattr(type(operations), "public_url", site.url)
        with pytest.raises(StepFailed) as caught:
            perform(made, "smoke", smoke)
    assert str(caught.value) == (
        "instance-2 does not serve v2 any more after the smoke scenario (its process does not run); "
        "see its log."
    )
    failed = next(entry for entry in operations.entries() if entry.event == "step failed")
    assert [request["fault"] for request in failed.data["requests"]] == [None]


def test_what_dies_of_traffic_is_put_back_and_the_last_good_one_is_not_taken_out(
    operations: StandInOperations, sites
) -> None:
    first = serves(operations, "v1")
    made, _ = opened(operations, "v2")

    admitted: list[str] = []

    def dies_of_traffic(name: str) -> None:
        if admitted and operations.slots[name].asked != of(first):
            operations.slots[name].runs = None

    perform_roll(made)
    operations.slots["instance-1"].runs = None
    operations.before["admit"] = admitted.append
    operations.before["instance"] = dies_of_traffic
    operations.calls.clear()
    with pytest.raises(StepFailed) as caught:
        perform_roll(made, "instance-2")
    assert str(caught.value) == (
        "instance-1 does not keep serving v2 (its process does not run); instance-1 serves v1 again."
    )
    assert {operations.slots[name].runs for name in NAMES} == {of(first)}
    assert {release.version for release in record.serving(made.releases()).values()} == {"v1"}
    assert "instance-2" not in [call[1] for call in operations.acted("drain", "replace")]


# -- processes without an address --------------------------------------------------------------------------
def test_a_process_without_an_address_must_stay_up(operations: StandInOperations, sites) -> None:
    serves(operations, "v1")
    made, release = opened(operations, "v2", processes=("worker",))
    assert roll(made, release, "worker")["changed"]
    assert operations.slots["worker"].runs == of(release)
    assert roll(made, release, "worker") == {"changed": False}


@pytest.mark.parametrize("how", ["ends", "log"])
def test_one_that_ends_soon_after_its_start_is_put_back(operations, sites, how: str) -> None:
    first = serves(operations, "v1")
    made, _ = opened(operations, "v2", processes=("worker",))
    asked = []

    def later(name: str) -> None:
        slot = operations.slots[name]
        if slot.asked and slot.asked.version == "v2":
            asked.append(1)
            if len(asked) == 4:
                if how == "ends":
                    slot.runs = None
                else:
                    operations.errors[image("v2")] = ["Traceback"]

    operations.before["startup_errors"] = later
    with pytest.raises(StepFailed, match=r"worker does not stay up .*; worker serves v1 again"):
        perform_roll(made, "worker")
    assert operations.slots["worker"].runs == of(first)


def test_a_new_instance_of_a_stack_has_nothing_to_go_back_to(operations: StandInOperations, sites) -> None:
    """Nothing in the record says that something passed its gate here, and nothing was put here."""
    released(operations, "v1")
    made, _ = opened(operations, "v2")
    operations.dies.add(image("v2"))
    with pytest.raises(StepFailed, match="is stopped, for nothing ran on it before"):
        perform_roll(made)
