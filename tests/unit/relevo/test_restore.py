"""A restore from a desk: what it tells, asks, does and pins."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.release.context import Context
from components.target import Change, Comparison
from relevo import cli, operating, pin, restore
from relevo.errors import RelevoError
from relevo.project import Project
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import StandInOperations, image, manifest, migration

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


def test_a_switch_that_fails_is_on_record_and_pins_nothing(desk: Desk) -> None:
    desk.operations.fail("switch", "postgres is connected to site.")
    with pytest.raises(Exception, match="postgres is connected"):
        desk.restore()
    assert desk.operations.entries()[-1].error == "postgres is connected to site."
    assert desk.pinned == image("v2")


def test_there_is_nothing_to_undo_before_a_restore(desk: Desk) -> None:
    with pytest.raises(RelevoError, match="has no database that was put aside"):
        restore.undo(desk.project, "local", confirm=None, say=desk.said.append)


def test_what_lies_beside_is_listed_with_the_commands_for_it(desk: Desk) -> None:
    assert restore.listed(desk.project, "local") == ["nothing is kept beside the database of stack local"]
    desk.restore()
    lines = "\n".join(restore.listed(desk.project, "local"))
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
    monkeypatch.setattr(restore, "drop", lambda project, stack, id: found.append(id))
    done = CliRunner().invoke(cli.app, ["restore", *words], input=given, catch_exceptions=False)
    assert (done.exit_code, found) == (0, dropped)
    assert desk.operations.acted("restore", "switch") == []


@pytest.mark.parametrize("words", [["a-backup", "--undo"], ["--undo", "--drop", "2"], ["--list", "a-backup"]])
def test_only_one_thing_at_a_time_is_done_with_what_lies_beside(desk: Desk, words: list[str]) -> None:
    with pytest.raises(RelevoError, match="but one of them is accepted"):
        CliRunner().invoke(cli.app, ["restore", *words, "--yes"], catch_exceptions=False)
    assert desk.operations.acted("restore", "switch", "remove") == []
