"""A stack that asks for it comes back by itself; where it cannot, it says so and touches nothing more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from components.release.context import APPROVED, DECIDED
from components.release.spec import Receiver
from components.target import Deployment, TargetError
from relevo import engine, operating, pin, proposal, recovery
from relevo.errors import RelevoError
from relevo.project import Project
from tests.unit.release.conftest import VERSIONS, opened, released
from tests.unit.release.stand_in import SECRET, Slot, StandInOperations, image

CONFIGURATION = """\
config:
  relevo:target: local
  relevo:onFailure: rollback
  relevo:app:
    settings: a.settings
    wsgi: a.wsgi:application
    environment: {KEY: "{secret.SECRET_KEY}"}
"""
CONSOLE = Receiver(console=True, file=None, url=None, apprise_secret=None)


class Desk:
    """A newer version failed on an instance, and v1 had succeeded before; what the engine is asked for."""

    def __init__(self, folder: Path, newer: str, step: str) -> None:
        (folder / "Pulumi.yaml").write_text("name: relevo\n")
        self.configuration = folder / "Pulumi.local.yaml"
        self.configuration.write_text(CONFIGURATION)
        self.project = Project(root=folder)
        self.operations = StandInOperations({"secrets": {"SECRET_KEY": SECRET}})
        self.operations.manifests = {image(known.version): known for known in VERSIONS}
        released(self.operations, "v1")
        self.context, failed = opened(self.operations, newer, notify=(CONSOLE,))
        self.failed, self._newer = failed.id, newer
        self.operations.applied |= {one.key for one in self.operations.manifests[image(newer)].migrations}
        self.context.write("step failed", failed.id, step=step, error="it does not start.")
        self.context.write("release failed", failed.id)
        for name, version in (("instance-1", "v1"), ("instance-2", newer)):
            at = Deployment(image=image(version), version=version, release=failed.id)
            self.operations.slots[name] = Slot(address="http://127.0.0.1:1")
            self.operations.replace(name, at)
        pin.pin(self.configuration, image(newer))
        self.asked: list[tuple[tuple[str, ...], Mapping[str, str]]] = []
        self.said: list[str] = []
        self.waited = 0.0
        self.meanwhile: Callable[[], object] = lambda: None  # whenever it waits
        self.engine: Callable[[Mapping[str, str]], object] = lambda _: None

    def recover(self) -> None:
        recovery.recover(
            self.project, "local", say=self.said.append, clock=lambda: self.waited, sleep=self._sleep
        )

    def _sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.meanwhile()

    def fails(self, variables: Mapping[str, str], message: str = "pulumi up ended with 255.") -> None:
        raise RelevoError(message)

    def fails_on_record(self, variables: Mapping[str, str]) -> None:
        """Once its release is opened."""
        self.opens(variables[DECIDED])
        self.fails(variables)

    def opens(self, decided: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(DECIDED, decided)
            context, release = opened(self.operations, "v1")
        context.write("release failed", release.id)

    @property
    def pinned(self) -> str | None:
        return pin.pinned(self.configuration)

    def has_failed_loudly(self, printed: str, fault: str) -> None:
        """In the record and to the receivers, with what runs on each instance."""
        last, told = self.operations.entries()[-2:]
        assert (last.event, told.event) == ("recovery failed", "notified")
        assert last.release == self.failed
        assert last.error is not None
        assert fault in last.error
        states = ["instance-1 runs v1, out of rotation", f"instance-2 runs {self.version}, out of rotation"]
        assert last.data["states"] == states
        assert "local could not come back by itself" in printed
        for said in (*states, fault):
            assert said in printed

    @property
    def version(self) -> str:
        return self._newer


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Desk]:
    def make(newer: str = "v2", step: str = "roll-instance-2") -> Desk:
        made = Desk(tmp_path, newer, step)

        def run(_: Project, *arguments: str, variables: Mapping[str, str]) -> None:
            made.asked.append((arguments, variables))
            made.engine(variables)

        monkeypatch.setattr(engine, "run", run)
        monkeypatch.setattr(operating, "context", lambda *_: made.context)
        return made

    return make


def test_the_last_good_artefact_is_pinned_and_released(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.recover()
    assert made.pinned == image("v1")
    ((arguments, variables),) = made.asked
    assert arguments == ("up", "--stack", "local", "--yes")
    assert variables[DECIDED]
    assert variables[APPROVED] == ""  # the approval was for the release that failed
    assert made.said[-1] == "v1 serves again, and is pinned; v2 is not released"


def test_a_branch_that_git_cannot_make_does_not_keep_the_stack_from_coming_back(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RelevoError("the branch cannot be committed.")

    monkeypatch.setattr(proposal, "propose", refuse)
    made = desk()
    made.recover()
    assert "no branch was made: the branch cannot be committed." in made.said
    assert len(made.asked) == 1


def test_a_pin_that_cannot_be_written_is_said_loudly(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else whoever watches would try again and again, and nobody would know."""

    def refuse(*_: object) -> None:
        raise RelevoError("Pulumi.local.yaml is written in a way in which relevo:image cannot be set.")

    made = desk()
    monkeypatch.setattr(pin, "pin", refuse)
    with pytest.raises(RelevoError, match="somebody has to act"):
        made.recover()
    made.has_failed_loudly(capsys.readouterr().out, "relevo:image cannot be set")
    assert made.asked == []


def test_nothing_is_touched_where_no_instance_was_reached(desk: Callable[..., Desk]) -> None:
    made = desk(step="migrate")
    made.recover()
    assert (made.pinned, made.asked) == (image("v2"), [])
    assert made.said == [
        "v2 failed in migrate, before an instance was replaced: what served still serves.",
    ]


@pytest.mark.parametrize(
    ("newer", "pinned"),
    [
        pytest.param("v3", "v1", id="a migration that is reversed"),
        pytest.param("v2", "v2", id="nothing to reverse"),
    ],
)
def test_after_the_version_before_has_failed_on_the_schema_only_reversing_that_helps(
    desk: Callable[..., Desk], newer: str, pinned: str
) -> None:
    made = desk(newer, step="previous-version")
    made.recover()
    assert made.pinned == image(pinned)
    assert len(made.asked) == (newer != pinned)
    if newer == pinned:
        (said,) = made.said
        assert "no migration would be reversed for v1, so going back does not help" in said


def test_a_schema_without_a_way_back_stops_it_before_anything_is_touched(
    desk: Callable[..., Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    """v4 has dropped something that v1 needs, which cannot be reversed."""
    made = desk("v4")
    with pytest.raises(RelevoError, match=r"could not come back by itself to v1: .* instance-2 runs v4"):
        made.recover()
    assert (made.pinned, made.asked) == (image("v4"), [])
    made.has_failed_loudly(capsys.readouterr().out, "loans.0004_drop")


def test_nobody_comes_back_unasked_to_a_column_without_its_values(
    desk: Callable[..., Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    made = desk("v3")
    newer = made.operations.manifests[image("v3")]
    drops = [replace(one, loses=("Remove field note from loan",)) for one in newer.migrations[-1:]]
    made.operations.manifests[image("v3")] = replace(newer, migrations=(*newer.migrations[:-1], *drops))
    with pytest.raises(RelevoError, match=r"could not come back by itself to v1: .* stays LOST"):
        made.recover()
    assert (made.pinned, made.asked) == (image("v3"), [])
    made.has_failed_loudly(capsys.readouterr().out, "Remove field note from loan")


def test_a_way_back_that_fails_is_told_with_what_runs_where(
    desk: Callable[..., Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    made = desk()
    made.engine = made.fails_on_record
    with pytest.raises(RelevoError, match="somebody has to act"):
        made.recover()
    assert made.pinned == image("v1")
    assert (len(made.asked), made.waited) == (1, 0)
    made.has_failed_loudly(capsys.readouterr().out, "pulumi up ended with 255")


def test_people_are_told_even_where_the_record_cannot_be_written(
    desk: Callable[..., Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    made = desk()
    made.engine = made.fails
    made.operations.fail("append_record")
    with pytest.raises(RelevoError):
        made.recover()
    assert "could not come back by itself" in capsys.readouterr().out


def test_a_stack_that_does_not_ask_for_it_is_left_alone(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.configuration.write_text(made.configuration.read_text().replace("rollback", "stop"))
    with pytest.raises(RelevoError, match="relevo:onFailure of stack local is stop, but"):
        made.recover()
    assert (made.pinned, made.asked) == (image("v2"), [])


@pytest.mark.parametrize(
    ("watched", "goes_back"),
    [
        pytest.param({"verdict": "breached", "goes_back": True}, True, id="while the stack asked for it"),
        pytest.param({"verdict": "breached", "goes_back": False}, False, id="before the stack asked for it"),
        pytest.param(None, False, id="by a watch that has not ended"),
    ],
)
def test_a_breach_is_gone_back_from_only_where_its_watch_has_asked_for_that(
    desk: Callable[..., Desk], watched: Mapping[str, object] | None, goes_back: bool
) -> None:
    """Also after an `up` that failed before it opened a release: people may have kept what was breached."""
    made = desk()
    context, worse = released(made.operations, "v2")
    context.write("watch breached", worse.id, data={"measure": "errors-5xx", "found": "5 %", "before": "0 %"})
    if watched is not None:
        context.write("watch done", worse.id, data=watched)
    made.recover()
    assert made.pinned == image("v1" if goes_back else "v2")
    assert len(made.asked) == goes_back
    if not goes_back:
        (said,) = made.said
        assert said.endswith("has not asked for a way back; go back with relevo rollback --stack local.")


def test_what_keeps_the_engine_from_beginning_is_waited_for(desk: Callable[..., Desk]) -> None:
    """A lock that another update holds, or a state that does not answer."""
    made = desk()
    made.engine = lambda variables: made.fails(variables) if len(made.asked) < 4 else None
    made.recover()
    assert (len(made.asked), made.waited) == (4, 180)
    assert (
        len({variables[DECIDED] for _, variables in made.asked}) == 1
    )  # its 30 minutes count from the first
    why = "no release was opened: pulumi up ended with 255; that may pass, so it is tried again in 60 s"
    assert made.said.count(why) == 3
    assert made.said[-1].startswith("v1 serves again")


def test_what_keeps_it_from_beginning_for_ten_minutes_is_given_up(
    desk: Callable[..., Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    made = desk()
    made.engine = made.fails
    with pytest.raises(RelevoError, match="somebody has to act"):
        made.recover()
    assert made.waited == recovery.PATIENCE_SECONDS
    made.has_failed_loudly(capsys.readouterr().out, "no release was opened: pulumi up ended with 255")


def test_a_way_back_that_somebody_stops_is_not_tried_again(desk: Callable[..., Desk]) -> None:
    def stop(_: object) -> None:
        raise engine.Stopped("pulumi up ended with 130.")

    made = desk()
    made.engine = stop
    with pytest.raises(RelevoError, match="pulumi up ended with 130"):
        made.recover()
    assert (len(made.asked), made.waited) == (1, 0)


@pytest.mark.parametrize("verdict", ["release succeeded", "release failed", None])
def test_a_way_back_that_another_has_begun_is_its_affair(
    desk: Callable[..., Desk], verdict: Literal["release succeeded", "release failed"] | None
) -> None:
    """A job that is run again while the engine of the first one works, and has the lock."""

    def other() -> None:
        context, release = opened(made.operations, "v1")
        if verdict:
            context.write(verdict, release.id)

    made = desk()
    made.engine, made.meanwhile = made.fails, other
    made.recover()
    assert len(made.asked) == 1
    assert made.said[-1].startswith("the way back is not gone on with: ")
    assert "recovery failed" not in [entry.event for entry in made.operations.entries()]


def test_a_pin_that_somebody_sets_meanwhile_is_left_alone(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.engine, made.meanwhile = made.fails, lambda: pin.pin(made.configuration, image("v3"))
    made.recover()
    assert (made.pinned, len(made.asked)) == (image("v3"), 1)
    assert "somebody has it in hand" in made.said[-1]


def test_a_failed_way_back_is_not_tried_again_where_the_record_did_not_say_so_at_once(
    desk: Callable[..., Desk],
) -> None:
    made = desk()
    read = made.operations.read_record

    def away() -> bytes:
        raise TargetError("the record does not answer.")

    def fail(variables: Mapping[str, str]) -> None:
        made.opens(variables[DECIDED])
        made.operations.read_record = away
        made.fails(variables)

    made.engine, made.meanwhile = fail, lambda: setattr(made.operations, "read_record", read)
    with pytest.raises(RelevoError, match=r"pulumi up ended with 255\. .* somebody has to act"):
        made.recover()
    assert (len(made.asked), made.waited) == (1, 60)


def test_a_lock_of_the_stack_is_waited_for_before_anything_is_pinned(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.operations.fail("exclusive", "drill of this stack still runs.")
    made.meanwhile = lambda: made.waited < 300 or made.operations.before.clear()
    made.recover()
    assert (made.waited, len(made.asked)) == (300, 1)
    assert made.said[0].startswith("drill of this stack still runs; that may pass")


def test_an_artefact_that_cannot_be_read_for_a_while_is_waited_for(desk: Callable[..., Desk]) -> None:
    """It alone says how its migration is reversed; without it, there would seem to be no way back."""
    made = desk("v3")

    def silent(asked: str) -> None:
        if asked == image("v3"):
            raise TargetError("the registry does not answer.")

    made.operations.before["artefact"] = silent
    made.meanwhile = made.operations.before.clear
    made.recover()
    assert (made.waited, made.pinned, len(made.asked)) == (60, image("v1"), 1)


def test_a_lock_that_stays_is_given_up_with_nothing_pinned(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.operations.fail("exclusive", "drill of this stack still runs.")
    with pytest.raises(RelevoError, match=r"drill of this stack still runs\. .* somebody has to act"):
        made.recover()
    assert (made.pinned, made.asked) == (image("v2"), [])


def test_an_up_that_begins_while_a_lock_is_waited_for_keeps_its_pin(desk: Callable[..., Desk]) -> None:
    made = desk()

    def other() -> None:
        made.operations.before.clear()
        opened(made.operations, "v2")

    made.operations.fail("exclusive", "drill of this stack still runs.")
    made.meanwhile = other
    made.recover()
    assert (made.pinned, made.asked) == (image("v2"), [])
    assert "v2 has not come to its end" in made.said[-1]


@pytest.mark.parametrize(("interrupt", "stopped"), [("kill -INT $PPID; sleep 0.1", True), (":", False)])
def test_an_engine_that_somebody_stops_is_told_from_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt: str, stopped: bool
) -> None:
    stand_in = tmp_path / "pulumi"
    stand_in.write_text(f"#!/bin/sh\n{interrupt}\nexit 255\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(engine, "program", lambda: str(stand_in))
    with pytest.raises(RelevoError, match="pulumi up ended with 255") as fault:
        engine.run(Project(root=tmp_path), "up")
    assert isinstance(fault.value, engine.Stopped) is stopped


def test_what_the_engine_says_goes_to_where_our_own_output_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else `relevo watch --json`, which comes back by a release, prints more than its JSON."""
    stand_in = tmp_path / "pulumi"
    stand_in.write_text("#!/bin/sh\necho updated\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(engine, "program", lambda: str(stand_in))
    with redirect_stdout(sys.stderr):
        engine.run(Project(root=tmp_path), "up")
    assert capfd.readouterr() == ("", "updated\n")
