"""`relevo review`: what it prints, and by which exit status scripts know how the volumes are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.release.context import Context
from components.release.spec import Receiver, Review, Volume
from components.target import Counted
from relevo import cli, operating
from tests.unit.release.conftest import released
from tests.unit.release.stand_in import StandInOperations, context, image, manifest, specification

LOANS = Volume(name="loans", sql="SELECT 1", command=None, tolerance_percent=20)
CONSOLE = Receiver(console=True, file=None, url=None, apprise_secret=None)
DUE = Review(hours=1e-9, weeks=4, volumes=(LOANS,))


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandInOperations:
    """Of the stack in whose folder the command is given; there were a thousand loans at all times."""
    (tmp_path / "Pulumi.yaml").write_text("name: relevo\n")
    monkeypatch.chdir(tmp_path)
    target = StandInOperations({"secrets": {"SECRET_KEY": "x"}})
    target.manifests = {image("v1"): manifest("v1")}
    target.counting = lambda query: Counted(found=(1000,) * len(query.spans))
    return target


def asked(monkeypatch: pytest.MonkeyPatch, made: Context, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(operating, "context", lambda *_: made)
    done = CliRunner().invoke(cli.app, ["review", *arguments])
    return done.exit_code, done.stdout or str(done.exception)


def test_what_is_stable_exits_0_and_is_said_again_without_counting_again(operations, monkeypatch) -> None:
    made, _ = released(operations, "v1", review=DUE)
    for _ in range(2):
        status, said = asked(monkeypatch, made)
        assert status == 0
        assert "loans: 1000, stable: +0.0 % from the expected 1000, and " in said
        assert said.splitlines()[-1] == "review of v1: stable"
    assert len(operations.acted("measure")) == 1


def test_a_fall_exits_1_and_scripts_get_the_numbers(operations, monkeypatch) -> None:
    made, release = released(operations, "v1", review=DUE, notify=(CONSOLE,))
    operations.counting = lambda query: Counted(found=(700, *(1000,) * (len(query.spans) - 1)))
    status, said = asked(monkeypatch, made, "--json")
    found = json.loads(said)
    assert status == 1
    assert (found["release"], found["version"], found["verdict"]) == (release.id, "v1", "not stable")
    assert found["volumes"]["loans"]["change_percent"] == -30.0
    assert "review-bad" in made.current().told  # but not on stdout


def test_before_its_time_it_says_when_and_now_looks_all_the_same(operations, monkeypatch) -> None:
    made, _ = released(operations, "v1", review=replace(DUE, hours=24))
    status, said = asked(monkeypatch, made)
    assert (status, said[:23]) == (0, "the review of v1 is due")
    status, said = asked(monkeypatch, made, "--json")
    assert (status, json.loads(said)["verdict"]) == (0, None)
    assert operations.acted("measure") == []
    status, said = asked(monkeypatch, made, "--now")
    assert status == 0
    assert "review of v1: stable, so far; it is due at " in said


def test_without_volumes_or_a_good_release_it_says_what_to_do(operations, monkeypatch) -> None:
    made, _ = released(operations, "v1")
    assert asked(monkeypatch, made)[1].startswith(
        "relevo:review is missing from the last release of stack local"
    )
    nothing = context(StandInOperations({}), specification("v1", review=DUE))
    assert asked(monkeypatch, nothing)[1].startswith("no release of stack local has succeeded, but")


def test_for_ci_a_fall_is_a_fault_only_until_everybody_was_told(operations, monkeypatch) -> None:
    """Else a job that the clock starts is red for as long as the release is the newest."""
    operations.counting = lambda query: Counted(found=(700, *(1000,) * (len(query.spans) - 1)))
    silent, _ = released(operations, "v1", review=DUE)
    assert [asked(monkeypatch, silent, "--due")[0] for _ in range(2)] == [1, 0]  # nobody is to be told
    heard = replace(silent, spec=replace(silent.spec, notify=(CONSOLE,)))
    assert [asked(monkeypatch, heard, "--due")[0] for _ in range(2)] == [1, 0]
    assert asked(monkeypatch, heard)[0] == 1  # by hand it is as it was
    assert len(operations.acted("measure")) == 1


def test_for_ci_it_is_no_fault_that_there_is_nothing_to_review(operations, monkeypatch) -> None:
    made, _ = released(operations, "v1")
    assert asked(monkeypatch, made, "--due")[0] == 0
    nothing = context(StandInOperations({}), specification("v1", review=DUE))
    status, said = asked(monkeypatch, nothing, "--due")
    assert (status, said.partition(" local")[0]) == (0, "nothing is reviewed: no release of stack")
    monkeypatch.setattr(operating, "context", never_released)
    done = CliRunner().invoke(cli.app, ["review", "--due", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["verdict"]) == (0, None)


def never_released(*_: object) -> Context:
    raise operating.NeverReleased("stack local was never released.")


def test_for_ci_what_cannot_be_counted_stays_a_fault(operations, monkeypatch) -> None:
    made, _ = released(operations, "v1", review=DUE)
    operations.fail("measure")
    for _ in range(2):
        assert asked(monkeypatch, made, "--due")[0] == 1
    assert made.current().reviewed is None


def test_a_review_at_once_is_none_that_waits_until_it_is_due(operations, monkeypatch) -> None:
    made, _ = released(operations, "v1", review=DUE)
    assert asked(monkeypatch, made, "--due", "--now") == (
        1,
        "--due and --now are both given, but a review waits or does not; give one.",
    )
