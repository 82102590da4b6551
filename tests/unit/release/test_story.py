"""Whole releases on a target in memory: whatever happens on the way, the next `up` comes to the same end."""

from __future__ import annotations

import copy
import io
import itertools
import json
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import pytest

from components.release import gate, record
from components.release.context import SPEC, TARGET, trigger
from components.release.release import SMOKE, order
from components.release.smoke import SmokeProvider
from components.release.spec import Commands, Limits, Receiver, Spec
from components.target import Completed
from tests.unit.release.stand_in import (
    CHANGING,
    GOOD_SETTINGS,
    Killed,
    Slot,
    StandInOperations,
    image,
    probe,
    specification,
    target_json,
)

COMMANDS = Commands(
    before_migrate=(), after_migrate=(("loaddata", "roles"),), before_collectstatic=(), after_collectstatic=()
)
ROLES = ("manage", "loaddata roles")
NAMES = ("worker", "instance-1", "instance-2")
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


class StandInEngine:
    """Runs each step whose triggers have changed, in order, until one fails; knows only what ended well."""

    def __init__(self, operations: StandInOperations, monkeypatch) -> None:
        self.operations = operations
        self._monkeypatch = monkeypatch
        self._state: dict[str, tuple[tuple[str, str], str]] = {}  # step → its triggers, and what it printed
        self.ran: list[str] = []
        self.killed_after: str | None = None  # a step whose end it does not get to see

    def up(self, spec: Spec) -> str | None:
        """The step that failed, or None. Raises `Killed` as a kill of engine and step does."""
        self.ran = []
        self._monkeypatch.setenv(TARGET, target_json())
        self._monkeypatch.setenv(SPEC, spec.to_json())
        described, opened = trigger(target_json(), spec.to_json()), ""
        for name, task in order(spec):
            triggers = (described, opened)
            if self._state.get(name, (None, ""))[0] != triggers:
                self.ran.append(name)
                printed = self._smoke(spec) if (name, task) == SMOKE else self._run(task)
                if printed is None:
                    return name
                if name == self.killed_after:
                    self.killed_after = None
                    raise Killed
                self._state[name] = (triggers, printed)
            opened = opened or self._state[name][1]
        return None

    def copy(self) -> StandInEngine:
        other = StandInEngine(self.operations, self._monkeypatch)
        other._state = dict(self._state)
        return other

    def _run(self, task: str) -> str | None:
        module, *words = task.split()
        self._monkeypatch.setattr(sys, "argv", [module, *words])
        out = io.StringIO()
        with pytest.raises(SystemExit) as ended, redirect_stdout(out), redirect_stderr(io.StringIO()):
            runpy.run_module(f"components.release.tasks.{module}", run_name="__main__", alter_sys=True)
        return out.getvalue() if ended.value.code == 0 else None

    def _smoke(self, spec: Spec) -> str:
        SmokeProvider().create({"release": "", "target": target_json(), "spec": spec.to_json()})
        return "verified"


@pytest.fixture
def engine(operations: StandInOperations, monkeypatch) -> StandInEngine:
    """On slots without addresses: what answers is the business of the gate's own tests."""
    monkeypatch.setattr("components.release.context.load_operations", lambda *_: operations)
    monkeypatch.setattr(gate, "PAUSE", 0.001)
    monkeypatch.setattr(gate, "STEADY_SECONDS", 0.0)
    operations.slots = {name: Slot() for name in NAMES}
    return StandInEngine(operations, monkeypatch)


def spec(version: str, **changes) -> Spec:
    limits = Limits(drain_seconds=1, ready_seconds=0.01, command_seconds=1)
    described = {"commands": COMMANDS, "processes": ("worker",), "secrets": ["SECRET_KEY"], "limits": limits}
    described["probe"] = probe(release_header=None)  # nobody answers at the public address
    # The backups of the stand-in are from another day.
    return specification(version, **{**described, "backup_max_age_hours": 1e6, **changes})


def serving(operations: StandInOperations) -> set[str | None]:
    return {slot.runs.version if slot.runs else None for slot in operations.slots.values()}


def newest(operations: StandInOperations) -> record.Release:
    return record.releases(operations.entries())[-1]


def test_a_release_forward_and_back(engine: StandInEngine, operations: StandInOperations) -> None:
    for version in ("v1", "v2", "v1"):
        assert engine.up(spec(version)) is None
        assert engine.ran == [name for name, _ in order(spec(version))]
        assert serving(operations) == {version}
        assert (newest(operations).version, newest(operations).verdict) == (version, "succeeded")
    assert operations.applied == {("loans", "0001_initial"), ("loans", "0002_location")}
    assert [backup.name for backup in operations.backups] == [
        release.id for release in record.releases(operations.entries())
    ]


def test_an_unchanged_up_does_nothing(engine: StandInEngine, operations: StandInOperations) -> None:
    engine.up(spec("v1"))
    before = operations.read_record()
    assert engine.up(spec("v1")) is None
    assert engine.ran == []
    assert operations.read_record() == before


def breaks(operations: StandInOperations, step: str) -> None:
    """Have v2 fail in the step."""
    if step == "preflight":
        operations.settings["web"] = replace(GOOD_SETTINGS, debug=True)
    elif step == "backup":
        operations.fail("backup")
    elif step in ("check", "migrate", "collectstatic"):
        operations.completed[step] = Completed(status=1, output="no", seconds=0)
    elif step == "after-migrate-1":
        operations.completed["loaddata"] = Completed(status=1, output="no", seconds=0)
    elif step == "roll-worker":
        operations.dies.add(image("v2"))
    elif step == "roll-instance-2":

        def only_there(name: str) -> None:
            if name == "instance-2" and (runs := operations.slots[name].runs) and runs.version == "v2":
                operations.slots[name].runs = None

        operations.before["startup_errors"] = only_there


@pytest.mark.parametrize(
    "step",
    [
        "preflight",
        "backup",
        "check",
        "migrate",
        "after-migrate-1",
        "collectstatic",
        "roll-worker",
        "roll-instance-2",
    ],
)
def test_each_broken_release_stops_where_it_should_and_the_good_version_converges(
    engine: StandInEngine, operations: StandInOperations, step: str
) -> None:
    engine.up(spec("v1"))
    breaks(operations, step)
    assert engine.up(spec("v2")) == step
    assert engine.ran[-1] == step
    failed = newest(operations)
    assert (failed.verdict, failed.failed_step) == ("failed", step)
    assert operations.slots["instance-2"].runs is not None, "it serves"
    if step != "roll-instance-2":
        assert serving(operations) == {"v1"}
    target = record.rollback_target(record.releases(operations.entries()))
    assert target is not None
    assert target.version == "v1"

    operations.settings.clear()
    operations.completed.clear()
    operations.before.clear()
    assert engine.up(spec("v1")) is None
    assert engine.ran == [name for name, _ in order(spec("v1"))], "every step, though the state has them all"
    assert serving(operations) == {"v1"}
    assert newest(operations).verdict == "succeeded"


def test_a_corrected_release_goes_on_where_it_stopped(engine, operations: StandInOperations) -> None:
    engine.up(spec("v1"))
    operations.fail("backup")
    assert engine.up(spec("v2")) == "backup"
    failed = newest(operations)
    operations.before.clear()
    assert engine.up(spec("v2")) is None
    assert engine.ran[0] == "backup"
    assert newest(operations).id == failed.id
    assert newest(operations).verdict == "succeeded"


@pytest.mark.parametrize("step", [name for name, _ in order(spec("v2"))])
def test_killed_before_the_engine_sees_a_step_end_nothing_is_done_twice(
    engine: StandInEngine, operations: StandInOperations, step: str, tmp_path
) -> None:
    """The step is run again: it must find that it has done its work."""
    told = tmp_path / "notices"
    receiver = Receiver(console=False, file=str(told), url=None, apprise_secret=None)
    engine.up(spec("v1"))
    operations.calls.clear()
    engine.killed_after = step
    with pytest.raises(Killed):
        engine.up(spec("v2", notify=(receiver,)))
    assert engine.up(spec("v2", notify=(receiver,))) is None
    assert engine.ran[0] == step
    assert serving(operations) == {"v2"}
    assert len(record.releases(operations.entries())) == 2
    assert operations.calls.count(ROLES) == 1
    assert len(operations.acted("backup")) == 1
    assert len(operations.acted("replace")) == 3, "each instance was replaced once"
    assert [json.loads(line)["event"] for line in told.read_text().splitlines()] == ["started", "done"]


def test_killed_before_any_change_the_next_up_converges(engine, operations: StandInOperations) -> None:
    """kill -9 at every single change that a release makes: what is read in between leaves no trace."""
    assert engine.up(spec("v1")) is None
    released = copy.deepcopy(vars(operations))
    changes = 0
    for changes in itertools.count():
        vars(operations).update(copy.deepcopy(released))
        again = engine.copy()
        operations.calls.clear()
        operations.kill_after = changes
        try:
            again.up(spec("v2"))
        except Killed:
            *made, last = operations.acted(*CHANGING)
        else:
            break
        operations.start_again()
        assert again.up(spec("v2")) is None, f"after a kill at change {changes}, {last}"
        assert serving(operations) == {"v2"}
        assert newest(operations).verdict == "succeeded"
        assert operations.applied == {("loans", "0001_initial"), ("loans", "0002_location")}
        assert len(record.releases(operations.entries())) == 2, "one release, however often it was tried"
        # What the record has as done is not run again: it may be only where the kill came in between.
        if ROLES in made[:-1]:
            assert ROLES not in operations.calls
    assert changes > 40, "it was killed at each change"
