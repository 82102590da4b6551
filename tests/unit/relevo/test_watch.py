"""What `relevo watch` shows and returns, of a stack with an attendant and of one without."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.release import logbook
from components.release.spec import Receiver, Watch
from components.target import Raised
from relevo import cli, operating, recovery, watch
from relevo.errors import RelevoError
from relevo.project import Project
from tests.unit.release.conftest import VERSIONS, opened, released
from tests.unit.release.stand_in import StandInOperations, image, nothing_observed

DONE = {
    "verdict": "quiet",
    "why": "Nothing rose.",
    "requests": 70,
    "measures": {"errors-5xx": {"found": "0.1 %", "before": "0 %", "breached": False}},
    "curve": [[0, 50, 0, 0, 10], [30, 20, 0, 2, None]],
    "exceptions": [{"fingerprint": "f", "title": "ValueError in a.py, b", "count": 3, "before": 0}],
    "restarts": 0,
}


class Desk:
    """v2 was released over v1 a while ago; `seconds` pass with each look."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
        self.operations = StandInOperations({})
        self.operations.manifests = {image(known.version): known for known in VERSIONS}
        released(self.operations, "v1")
        self.context, _ = released(self.operations, "v2", watch=Watch(minutes=2, every_seconds=30))
        (folder / "Pulumi.yaml").write_text("name: relevo\n")
        self.recovered: list[str] = []
        self.passed = 0.0
        real = logbook.now
        self.settings = SimpleNamespace(target=target, on_failure="rollback", image=image("v2"))
        monkeypatch.chdir(folder)
        monkeypatch.setattr(Project, "settings", lambda *_: self.settings)
        monkeypatch.setattr(operating, "context", lambda *_: self.context)
        monkeypatch.setattr(watch, "now", lambda: real() + timedelta(seconds=self.passed))
        monkeypatch.setattr("time.sleep", self._sleep)
        monkeypatch.setattr(recovery, "recover", lambda *_, **__: self.recovered.append("back"))
        self.meanwhile: Callable[[], None] = lambda: None

    def _sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.meanwhile()

    @property
    def release(self) -> str:
        return self.context.current().id

    def run(self, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli.app, ["watch", *arguments], catch_exceptions=True)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.said = " ".join(done.stderr.split())
        return done.exit_code, done.stdout


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch, "local")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch, "azure")


def failing(since: Any, until: Any) -> Any:
    requests = round((until - since).total_seconds() * 10)
    raised = (Raised(fingerprint="f", title="ValueError in a.py, b", count=requests // 2),)
    latencies = (requests, *(0,) * 18)
    return nothing_observed(
        since,
        until,
        requests=requests,
        errors_5xx=requests // 2,
        latencies=latencies,
        exceptions=raised,
    )


def test_what_was_watched_is_shown_from_the_record(local: Desk) -> None:
    local.context.write("watch done", local.release, data=DONE)
    status, shown = local.run()
    assert status == 0
    for part in ("v2", "70 requests", "quiet", "Nothing rose.", "the rate of 5xx responses", "up to 50"):
        assert part in shown
    assert "ValueError in a.py, b" in shown
    status, shown = local.run("--json")
    assert json.loads(shown) == {"release": local.release, "version": "v2", **DONE}


def test_a_breach_is_exit_status_1(local: Desk) -> None:
    local.context.write("watch done", local.release, data={**DONE, "verdict": "breached"})
    assert local.run("--json")[0] == 1
    assert local.recovered == []  # the attendant's affair


def test_a_local_watch_is_the_attendants_and_only_shown(local: Desk) -> None:
    """Nothing is written by who looks on, in whatever state the record is."""
    local.operations.observing = failing

    def attendant() -> None:
        if local.passed > 60 and local.context.current().watched is None:
            local.context.write("watch done", local.release, data={**DONE, "verdict": "breached"})

    local.meanwhile = attendant
    written = len(local.operations.entries())
    status, shown = local.run()
    assert status == 1
    assert "of 02:00] v2: 0 requests" in shown
    assert "BREACHED: errors-5xx" in shown
    assert len(local.operations.entries()) == written + 1


def test_without_an_attendant_what_was_seen_is_the_result(local: Desk) -> None:
    local.operations.observing = failing
    found = json.loads(local.run("--json")[1])
    assert found["verdict"] == "breached"
    assert local.context.current().watched is None


def test_for_scripts_stdout_has_only_the_result(elsewhere: Desk) -> None:
    """Also where a receiver `console` is told, and the engine says how the stack comes back."""
    console = Receiver(console=True, file=None, url=None, apprise_secret=None)
    elsewhere.context = replace(elsewhere.context, spec=replace(elsewhere.context.spec, notify=(console,)))
    elsewhere.operations.observing = failing
    status, shown = elsewhere.run("--json")
    assert (status, json.loads(shown)["verdict"]) == (1, "breached")
    assert elsewhere.recovered == ["back"]
    assert "watch-breached" in elsewhere.context.current().told


def test_elsewhere_it_is_the_watch_itself_and_comes_back(elsewhere: Desk) -> None:
    elsewhere.operations.observing = failing
    status, _ = elsewhere.run()
    assert (status, elsewhere.recovered) == (1, ["back"])
    watched = elsewhere.context.current().watched
    assert watched is not None
    assert watched["verdict"] == "breached"


@pytest.mark.parametrize("goes_back", [True, False])
def test_a_job_that_was_killed_before_its_way_back_is_run_again(elsewhere: Desk, goes_back: bool) -> None:
    """But whoever looks at a breach that people have kept does not go back by that."""
    data = {**DONE, "verdict": "breached", "goes_back": goes_back}
    elsewhere.context.write("watch done", elsewhere.release, data=data)
    assert elsewhere.run()[0] == 1
    assert elsewhere.recovered == ["back"] * goes_back


def test_where_another_watch_was_faster_the_way_back_is_its_affair(elsewhere: Desk) -> None:
    def faster() -> None:
        if elsewhere.context.current().watched is None:
            elsewhere.context.write("watch done", elsewhere.release, data={**DONE, "verdict": "breached"})

    elsewhere.meanwhile = faster
    assert elsewhere.run()[0] == 1
    assert elsewhere.recovered == []


def test_what_could_not_be_seen_is_exit_status_1(elsewhere: Desk) -> None:
    elsewhere.context.write("watch done", elsewhere.release, data={**DONE, "verdict": "not measured"})
    assert elsewhere.run()[0] == 1


def test_a_stack_that_asks_for_no_watch_is_no_fault(elsewhere: Desk) -> None:
    """CI asks after each release."""
    spec = replace(elsewhere.context.spec, watch=None)
    elsewhere.context = replace(elsewhere.context, spec=spec)
    status, shown = elsewhere.run("--json")
    assert (status, json.loads(shown)["verdict"]) == (0, None)


def test_a_release_must_have_succeeded(elsewhere: Desk) -> None:
    elsewhere.operations = StandInOperations({})
    elsewhere.operations.manifests = {image(known.version): known for known in VERSIONS}
    elsewhere.context, _ = opened(elsewhere.operations, "v1", watch=Watch(minutes=2, every_seconds=30))
    with pytest.raises(RelevoError, match="has succeeded, but only one that serves is watched"):
        elsewhere.run()


def test_a_job_that_begins_when_the_next_release_is_under_way_is_no_fault(elsewhere: Desk) -> None:
    _, newer = opened(elsewhere.operations, "v3")
    assert elsewhere.run()[0] == 0
    assert f"release {newer.id} is under way, which is to take the place of v2" in elsewhere.said
    assert json.loads(elsewhere.run("--json")[1])["verdict"] is None


def test_in_a_terminal_it_is_drawn_while_it_lasts(elsewhere: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress, a sparkline, what is breached and the exceptions that weigh most."""
    monkeypatch.setattr(watch, "Console", partial(Console, force_terminal=True, width=100))
    elsewhere.operations.observing = failing
    shown = elsewhere.run()[1]
    drawn = shown[: shown.rindex("v2")]  # the last picture is of the record
    for part in ("━", " of 01:5", "█", "up to 50", "BREACHED", "ValueError in a.py, b"):
        assert part in drawn


def test_a_watch_that_the_next_release_has_cut_short_is_no_fault(elsewhere: Desk) -> None:
    elsewhere.context.write("watch started", elsewhere.release, data={"until": ""})
    context, newer = opened(elsewhere.operations, "v3")
    context.write("step started", newer.id, step="roll-instance-1")
    status, shown = elsewhere.run()
    assert (status, elsewhere.recovered) == (0, [])
    assert "cut short" in shown


def test_a_release_that_was_made_meanwhile_is_left_to_its_own_job(elsewhere: Desk) -> None:
    """This one has not its pin, by which it would be gone back from."""
    elsewhere.operations.observing = failing
    _, newer = released(elsewhere.operations, "v3")
    assert (elsewhere.run()[0], elsewhere.recovered) == (0, [])
    assert f"release {newer.id} of v3 serves by now" in elsewhere.said
    elsewhere.settings.image = image("v3")
    assert elsewhere.run()[0] == 1
    assert elsewhere.recovered == ["back"]


def test_a_release_after_which_another_failed_on_an_instance_is_not_watched(elsewhere: Desk) -> None:
    context, newer = opened(elsewhere.operations, "v3")
    context.write("step started", newer.id, step="roll-instance-1")
    context.write("step done", newer.id, step="roll-instance-1")
    context.write("release failed", newer.id)
    assert elsewhere.run()[0] == 0
    assert "v2 may not be all that serves" in elsewhere.said


def test_a_way_back_is_watched_and_not_gone_back_from(
    elsewhere: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same command, once more: the job has pinned it, one that is run again has not."""

    def back(*_: object, **__: object) -> None:
        released(elsewhere.operations, "v1")
        elsewhere.recovered.append("back")

    monkeypatch.setattr(recovery, "recover", back)
    elsewhere.operations.observing = failing
    assert elsewhere.run()[0] == 1
    worse, way_back = elsewhere.context.releases()[1:]
    assert (way_back.kind, way_back.watched) == ("rollback", None)
    for _ in range(2):
        assert elsewhere.run()[0] == 1
        watched = elsewhere.context.releases()[-1].watched
        assert watched is not None
        assert (watched["verdict"], watched["goes_back"]) == ("breached", False)
    assert elsewhere.recovered == ["back"]
    assert worse.watched is not None


def test_a_breach_is_not_gone_back_from_once_the_next_release_has_failed(elsewhere: Desk) -> None:
    data = {**DONE, "verdict": "breached", "goes_back": True}
    elsewhere.context.write("watch done", elsewhere.release, data=data)
    context, newer = opened(elsewhere.operations, "v3")
    context.write("release failed", newer.id)
    assert elsewhere.run()[0] == 1
    assert elsewhere.recovered == []


@pytest.mark.parametrize(("on_failure", "within", "told"), [("rollback", 57, True), ("stop", 57, False)])
def test_a_job_that_may_end_before_the_watch_says_so(
    elsewhere: Desk, on_failure: str, within: float, told: bool
) -> None:
    """Two minutes, twelve for what is known late, both once more after a way back of half an hour."""
    elsewhere.settings.on_failure = on_failure
    assert elsewhere.run("--within", str(within))[0] == 0
    assert ("a job may need 58 minutes, but this one ends after 57" in elsewhere.said) is told
    assert elsewhere.context.current().watched is not None


def test_a_curve_is_as_wide_as_a_terminal_has_room_for() -> None:
    assert watch._spark([0, 1, 2]) == "▁▅█"
    assert watch._spark([0, 0]) == "▁▁"
    assert len(watch._spark(range(120))) == watch.WIDTH
