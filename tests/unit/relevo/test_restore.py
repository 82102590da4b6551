"""A restore from a desk: what it tells, asks, does and pins."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from components.release import logbook, notices, outlook, recorded_schema, restoration, return_time
from components.release.context import Context, StepFailed
from components.release.running import perform
from components.release.tasks.preflight import preflight
from components.target import Change, Comparison, TargetError
from relevo import cli, operating, pin, restore, situation
from relevo.errors import RelevoError
from relevo.project import Project
from stacks.settings import Probe
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import Killed, Slot, StandInOperations, image, manifest, migration

LOST = Comparison(
    changes=(
        Change(table="public.loan", inserted=12, updated=3, deleted=0, columns=("place",)),
        Change(table="public.visit", inserted=5, updated=None, deleted=0),
    ),
    migrations=("loans.0002",),
)


class Desk:
    """A project whose stack has released v1 and then v2, of which v1 does not know the migration."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        old, new = migration("loans.0001"), migration("loans.0002", "opaque", reversible=False)
        self.operations = StandInOperations({})
        self.operations.manifests = {
            image("v1"): manifest("v1", old),
            image("v2"): manifest("v2", old, new),
        }
        self.operations.compared = LOST
        for version, pending in (("v1", old), ("v2", new)):
            context, release = opened(self.operations, version)
            for step, data in {
                "preflight": {"pending": [str(pending)]},
                "backup": {"name": release.id},
                "migrate": {},
                "roll-instance-1": {},
            }.items():
                context.write("step started", release.id, step=step)
                context.write("step done", release.id, step=step, data=data)
            context.write("release succeeded", release.id)
            self.operations.applied.add(pending.key)
        self.context: Context = context
        self.release = release
        self.project = Project(root=folder)
        self.said: list[str] = []
        (folder / "Pulumi.local.yaml").write_text(f"config:\n  relevo:image: {image('v2')}\n")
        monkeypatch.setattr(operating, "context", lambda *_: self.context)

    @property
    def pinned(self) -> str | None:
        return pin.pinned(self.project.configuration("local"))

    def restore(self, backup: str | None = None, *, wanted: bool | None = None) -> None:
        self.operations.calls.clear()
        confirm = None if wanted is None else (lambda: wanted)
        restore.restore(self.project, "local", backup, confirm=confirm, say=self.said.append)

    def listed(self) -> list[str]:
        return restore.listed(self.project, "local", say=self.said.append)

    def ends(self) -> list[str]:
        """How restores that were begun have ended, on record."""
        return [entry.event for entry in self.operations.entries() if entry.event.startswith("restore ")]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_it_tells_what_would_be_lost_before_it_asks_and_changes_nothing_without_a_yes(desk: Desk) -> None:
    desk.restore(wanted=False)
    said = "\n".join(desk.said)
    assert "  written since   inserted    updated    deleted\n" in said
    assert "  public.loan           12          3          0  and the values of place\n" in said
    assert "  public.visit           5          ?          0\n" in said
    assert "migrations that go: loans.0002" in said
    assert desk.said[-1] == "nothing was changed"
    assert desk.operations.acted("restore", "switch", "remove") == [
        ("restore", desk.release.id),
        ("remove", "1"),
    ]
    assert desk.pinned == image("v2")
    assert desk.operations.entries()[-1].event == "release succeeded"


@pytest.mark.parametrize("pinned", ["v1", "v2"])
def test_it_takes_the_backup_of_before_what_serves_and_pins_what_ran_then(desk: Desk, pinned: str) -> None:
    pin.pin(desk.project.configuration("local"), image(pinned))
    desk.restore()
    assert desk.operations.acted("restore", "switch") == [("restore", desk.release.id), ("switch", "1")]
    assert desk.pinned == image("v1")
    assert any(line.endswith("pulumi up --stack local") for line in desk.said)
    begun, done = desk.operations.entries()[-2:]
    assert (begun.event, done.event, done.image) == ("restore started", "restore done", image("v1"))
    assert done.data["lost"][0]["inserted"] == 12
    assert (done.data["kept"], done.data["backup"]) == ("site_before_2", desk.release.id)
    assert done.data["schema"] == ["loans.0001", "loans.0002"]

    restore.undo(desk.project, "local", confirm=None, say=desk.said.append)
    assert desk.pinned == image("v2")


def test_the_way_back_by_a_restore_counts_from_when_that_was_asked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half hour begins with the decision, and bringing a large backup is most of it."""
    noon = logbook.now().replace(microsecond=0)
    hands = count(1)
    clock = SimpleNamespace(monotonic=lambda: 100.0 * next(hands))  # each part takes 100 s
    monkeypatch.setattr(restore, "time", clock)
    monkeypatch.setattr(logbook, "now", lambda: noon)
    desk.operations.before["switch"] = lambda *_: monkeypatch.setattr(
        logbook, "now", lambda: noon + timedelta(minutes=10)
    )
    desk.restore()
    begun, done = desk.operations.entries()[-2:]
    assert (begun.data["took"], done.seconds) == ({"bring": 100.0, "compare": 100.0}, 600.0)

    context, release = opened(desk.operations, "v1")
    for step in ("roll-instance-1", "smoke"):
        context.write("step started", release.id, step=step)
        context.write("step done", release.id, step=step, seconds=4.0)
    took = return_time.of(context.current())
    assert took is not None
    assert (took.seconds, took.decided_at) == (600.0, noon.isoformat(timespec="milliseconds"))
    parts = (("restore: bring", 100.0), ("restore: compare", 100.0), ("restore: switch", 100.0))
    assert took.steps[:3] == parts
    assert opened(desk.operations, "v1")[1].restored == {}, "only the first one after it is its end"


def test_a_switch_that_fails_is_on_record_and_pins_nothing(desk: Desk) -> None:
    desk.operations.fail("switch", "postgres is connected to site.")
    with pytest.raises(Exception, match="postgres is connected"):
        desk.restore()
    assert desk.operations.entries()[-1].error == "postgres is connected to site."
    assert desk.pinned == image("v2")


@pytest.mark.parametrize("call", ["restore", "compare"])
def test_a_restore_that_does_not_get_to_its_switch_is_on_record_and_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        notices, "tell_on_record", lambda _, news, **facts: told.append((news, *facts.values()))
    )
    schema = recorded_schema.applied(desk.operations.entries())
    fault = "the dump is damaged; restore another one."
    desk.operations.fail(call, fault)
    with pytest.raises(TargetError, match="the dump is damaged"):
        desk.restore()
    refused = desk.operations.entries()[-1]
    assert (refused.event, refused.step, refused.error) == ("attempt refused", "restore", fault)
    assert (refused.data["backup"], refused.data["responsible"]) == (desk.release.id, "Ada")
    assert told == [("restore-failed", desk.release.id, fault)]
    assert (desk.pinned, desk.ends()) == (image("v2"), [])
    assert recorded_schema.applied(desk.operations.entries()) == schema


def test_a_backup_that_the_record_does_not_name_is_refused_on_record(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration, "backup_for", lambda *_: None)
    with pytest.raises(RelevoError, match="name it") as caught:
        desk.restore()
    assert desk.operations.entries()[-1].error == str(caught.value)


def kill(desk: Desk, where: str) -> None:
    """A restore by `kill -9`, and the next command after it."""
    with pytest.MonkeyPatch.context() as patched, contextlib.suppress(Killed):
        if where == "before the pin":

            def die(*_: object) -> None:
                desk.operations.kill_at("beside")
                desk.operations.beside()

            patched.setattr(pin, "pin", die)
        else:
            desk.operations.kill_at("switch" if where == "before the switch" else "applied_migrations")
        desk.restore(desk.release.id)
    desk.operations.start_again()


WHERE = ["before the switch", "before the pin", "before the end"]


@pytest.mark.parametrize("where", WHERE)
def test_after_a_restore_that_was_killed_status_and_the_next_up_name_the_remedy(
    desk: Desk, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(desk, where)
    begun = restoration.unfinished(desk.operations.entries())
    assert begun is not None
    said = f"the restore of backup {desk.release.id}, begun "
    remedy = "run relevo restore --stack local, which completes it"
    ahead = outlook.of(desk.context)
    assert ahead is not None
    assert ahead.refused
    with pytest.raises(StepFailed) as refused:
        perform(desk.context, "preflight", preflight)
    desk.operations.slots = {name: Slot() for name in desk.context.spec.instances}
    monkeypatch.setattr(situation, "health", lambda *_: "")
    now = situation.elsewhere(desk.context, "local", Probe(), image("v2"))
    for told in (str(ahead), str(refused.value), "\n".join(situation.describe(now))):
        assert said in told
        assert remedy in told
    assert situation.next_steps(now)[0] == "relevo restore --stack local"


@pytest.mark.parametrize("where", WHERE)
def test_a_release_that_is_past_its_preflight_does_not_go_on_after_a_restore_that_was_killed(
    desk: Desk, where: str
) -> None:
    kill(desk, where)
    with pytest.raises(StepFailed, match="relevo restore --stack local"):
        perform(desk.context, "migrate", lambda *_: pytest.fail("it works on what may be another version's"))
    desk.listed()
    assert perform(desk.context, "migrate", lambda *_: {}) == {}


@pytest.mark.parametrize("command", ["restore", "list", "undo", "drop"])
@pytest.mark.parametrize("where", WHERE[1:])
def test_a_restore_that_was_killed_after_its_switch_is_completed_by_whatever_comes_next(
    desk: Desk, where: str, command: str
) -> None:
    kill(desk, where)
    match command:
        case "restore":
            desk.restore()
            assert desk.operations.acted("restore", "switch") == [], "it is there already"
        case "list":
            assert any("site_before_2" in line for line in desk.listed())
        case "undo":
            restore.undo(desk.project, "local", confirm=lambda: False, say=desk.said.append)
        case "drop":
            restore.drop(desk.project, "local", "2", say=desk.said.append)
    assert desk.ends() == ["restore started", "restore done"]
    done = next(entry for entry in desk.operations.entries() if entry.event == "restore done")
    assert (done.image, done.data["kept"]) == (image("v1"), "site_before_2")
    assert desk.pinned == image("v1")


def test_one_that_was_killed_before_its_switch_has_changed_nothing_and_is_done_anew(desk: Desk) -> None:
    kill(desk, "before the switch")
    desk.listed()
    assert desk.ends() == ["restore started", "restore failed"]
    assert desk.pinned == image("v2")
    desk.restore()
    assert desk.ends()[2:] == ["restore started", "restore done"]
    assert desk.pinned == image("v1")


def test_what_fails_after_the_switch_is_not_told_as_if_nothing_had_changed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(pin, "pin", refuse)
        with pytest.raises(OSError, match="Read-only"):
            desk.restore()
    assert desk.ends() == ["restore started"]
    desk.restore()
    assert desk.ends() == ["restore started", "restore done"]
    assert desk.pinned == image("v1")


def test_a_kept_database_that_is_dropped_is_on_record(desk: Desk) -> None:
    desk.restore()
    restore.drop(desk.project, "local", "2", say=desk.said.append)
    last = desk.operations.entries()[-1]
    assert (last.event, last.image) == ("kept database dropped", image("v2"))
    assert (last.data["database"], last.data["responsible"]) == ("site_before_2", "Ada")
    assert desk.operations.beside() == []


def test_there_is_nothing_to_undo_before_a_restore(desk: Desk) -> None:
    with pytest.raises(RelevoError, match="has no database that was put aside"):
        restore.undo(desk.project, "local", confirm=None, say=desk.said.append)


def test_what_lies_beside_is_listed_with_the_commands_for_it(desk: Desk) -> None:
    assert desk.listed() == ["nothing is kept beside the database of stack local"]
    desk.restore()
    lines = "\n".join(desk.listed())
    assert "2  site_before_2, as it was before" in lines
    assert "relevo restore --drop 2 --stack local" in lines
    assert "relevo restore --undo --stack local" in lines


@pytest.mark.parametrize(
    ("words", "given", "dropped"),
    [
        (["--drop", "2"], "n\n", []),
        (["--drop", "2"], "y\n", ["2"]),
        (["--drop", "2", "--yes"], None, ["2"]),
        (["--drop", "", "--yes"], None, [""]),
    ],
)
def test_what_is_kept_is_given_up_only_by_who_agrees_and_never_taken_for_a_restore(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, words: list[str], given: str | None, dropped: list[str]
) -> None:
    found: list[str] = []
    monkeypatch.setattr(restore, "drop", lambda project, stack, id, *, say: found.append(id))
    done = CliRunner().invoke(cli.app, ["restore", *words], input=given, catch_exceptions=False)
    assert (done.exit_code, found) == (0, dropped)
    assert desk.operations.acted("restore", "switch") == []


@pytest.mark.parametrize("words", [["a-backup", "--undo"], ["--undo", "--drop", "2"], ["--list", "a-backup"]])
def test_only_one_thing_at_a_time_is_done_with_what_lies_beside(desk: Desk, words: list[str]) -> None:
    with pytest.raises(RelevoError, match="but one of them is accepted"):
        CliRunner().invoke(cli.app, ["restore", *words, "--yes"], catch_exceptions=False)
    assert desk.operations.acted("restore", "switch", "remove") == []
