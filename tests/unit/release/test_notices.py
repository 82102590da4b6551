"""Who is told what. The release is never the business of a receiver that does not work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.release import notices
from components.release.chain import digest
from components.release.context import StepFailed
from components.release.running import perform
from components.release.spec import Receiver
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import SECRET, Answer, StandInOperations, serving, specification


def receiver(**one) -> Receiver:
    return Receiver(**{"console": False, "file": None, "url": None, "apprise_secret": None, **one})


CONSOLE = receiver(console=True)
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # in apprise


def failed(operations: StandInOperations, *receivers: Receiver, after: str | None = "v1"):
    """A release of v2 that has failed at check, after one of v1."""
    if after:
        released(operations, after)
    made, _ = opened(operations, "v2")

    def work(*_):
        raise StepFailed("no such column; correct it.")

    with pytest.raises(StepFailed):
        perform(made, "check", work)
    return replace(made, spec=specification("v2", notify=receivers)), made.current()


def test_a_success_says_what_who_where_and_what_comes_next(operations: StandInOperations) -> None:
    released(operations, "v1")
    made, release = released(operations, "v2")
    title, body = notices.text(made, release)
    assert title == "Release of v2 succeeded"
    for part in (release.id, "v2 (from v1)", "on stack local", "by Ada", "http://site.example"):
        assert part in body
    assert "watch its log until " in body
    assert "\n" not in body


def test_a_way_back_says_how_long_it_took_and_the_head_of_the_record(operations: StandInOperations) -> None:
    released(operations, "v1")
    released(operations, "v2")
    made, release = opened(operations, "v1")
    for step in ("roll-instance-1", "smoke"):
        perform(made, step, lambda *_: {})
    made.write("release succeeded", release.id)
    title, body = notices.text(made, made.current())
    assert title == "Rollback of v1 succeeded"
    assert " succeeded in 0 s of 30 min, within the limit; v1 serves at " in body
    assert f"Logbook head: {digest(operations.read_record().splitlines()[-1])}." in body


def test_a_failure_says_where_why_what_serves_and_the_way_out(operations: StandInOperations) -> None:
    made, release = failed(operations)
    title, body = notices.text(made, release)
    assert title == "Release of v2 failed"
    for part in (release.id, "v2 (from v1)", "step check: no such column; correct it.", "pulumi up"):
        assert part in body
    assert "go back to v1 with relevo rollback" in body
    assert "\n" not in body


def test_a_first_release_that_fails_has_no_way_back(operations: StandInOperations) -> None:
    _, body = notices.text(*failed(operations, after=None))
    assert "(from nothing)" in body
    assert "Nothing serves yet" in body
    assert "rollback" not in body


def test_what_serves_is_told_for_each_instance_where_they_differ(operations: StandInOperations) -> None:
    first, _ = opened(operations, "v1")
    for name in first.spec.instances:
        perform(first, f"roll-{name}", lambda *_: {})
    first.write("release succeeded", first.current().id)
    made, release = failed(operations, after=None)
    assert "v1 serves on instance-1, instance-2." in notices.text(made, release)[1]
    made.write("step done", release.id, step="roll-instance-1")
    assert "instance-1 serves v2, instance-2 serves v1." in notices.text(made, release)[1]


def test_console(operations: StandInOperations, capsys) -> None:
    made, release = failed(operations, CONSOLE)
    capsys.readouterr()
    assert notices.tell(made, release) == {"1 (console)": "told"}
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert said[0].startswith("Release of v2 failed. Release ")


def test_a_file_gets_a_line_for_each(operations: StandInOperations, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "notices.jsonl"
    made, release = failed(operations, receiver(file=str(path)))
    for _ in range(2):
        assert notices.tell(made, release) == {"1 (file)": "told"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["release"] == release.id
    assert lines[0]["verdict"] == "failed"
    assert lines[0]["title"] == "Release of v2 failed"


def test_a_webhook_gets_it_as_json(operations: StandInOperations) -> None:
    with serving(lambda _: Answer()) as site:
        url = site.url.replace("http://", "json://") + "/hook"
        made, release = failed(operations, receiver(url=url))
        assert notices.tell(made, release) == {"1 (url)": "told"}
    assert site.paths == ["POST /hook"]
    assert site.asked[0].json["title"] == "Release of v2 failed"
    assert site.asked[0].json["type"] == "failure"
    assert release.id in site.asked[0].json["message"]


def test_a_success_is_no_failure_to_a_webhook(operations: StandInOperations) -> None:
    with serving(lambda _: Answer()) as site:
        url = site.url.replace("http://", "json://")
        made, release = released(operations, "v1", notify=(receiver(url=url),))
        notices.tell(made, release)
    assert site.asked[0].json["type"] == "success"


def test_a_url_may_be_a_secret_and_is_never_shown(operations, capsys) -> None:
    with serving(lambda _: Answer(status=500)) as site:
        operations.secrets["HOOK"] = site.url.replace("http://", "json://") + f"/{SECRET.replace(' ', '')}"
        made, release = failed(operations, receiver(apprise_secret="HOOK"))
        outcome = notices.tell(made, release)
    assert outcome["1 (secret url)"].startswith("not told: ")
    assert site.paths == [f"POST /{SECRET.replace(' ', '')}"]
    said = capsys.readouterr()
    assert SECRET.replace(" ", "") not in said.out + said.err + json.dumps(outcome)


@pytest.mark.parametrize(
    "broken",
    [
        receiver(url="json://127.0.0.1:1/"),
        receiver(url="this is no URL"),
        receiver(file="/proc/nowhere/notices"),
        receiver(apprise_secret="GONE"),
    ],
    ids=["nobody listens", "no URL", "no folder", "no secret"],
)
def test_one_that_cannot_be_reached_keeps_nobody_else_from_knowing(operations, capsys, broken) -> None:
    made, release = failed(operations, broken, CONSOLE)
    outcome = notices.tell(made, release)
    assert outcome["2 (console)"] == "told"
    (name,) = outcome.keys() - {"2 (console)"}
    assert outcome[name].startswith("not told: ")
    assert f"receiver {name} was not reached" in capsys.readouterr().out


def test_whom_a_failure_was_told_is_recorded(operations: StandInOperations) -> None:
    made, _ = opened(operations, "v1", notify=(CONSOLE, receiver(apprise_secret="GONE")))

    def work(*_):
        raise StepFailed("no.")

    with pytest.raises(StepFailed):
        perform(made, "check", work)
    last = operations.entries()[-1]
    assert last.event == "notified"
    assert last.data["receivers"]["1 (console)"] == "told"
    assert last.data["receivers"]["2 (secret url)"].startswith("not told")
