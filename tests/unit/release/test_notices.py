"""Who is told what. The release is never the business of a receiver that does not work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.release import delivery, notices
from components.release.audiences import News
from components.release.chain import digest
from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.running import perform
from components.release.spec import Receiver, Spec
from components.release.tasks.notify import notify
from components.target import TargetError
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import SECRET, Answer, StandInOperations, serving, specification


def receiver(**one) -> Receiver:
    return Receiver(**{"console": False, "file": None, "url": None, "apprise_secret": None, **one})


def outcome(made: Context, news: News, release: Release) -> dict[str, str]:
    return notices.tell(made, news, release)["receivers"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSES", (0.01, 0.02))


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
    told = notices.text(made, "done", release)
    assert told.title == "Release of v2 succeeded"
    for part in (release.id, "It replaces v1.", "on stack local", "by Ada", "http://site.example"):
        assert part in told.paragraph
    assert "watch its log until " in told.paragraph
    assert "\n" not in told.paragraph


def test_a_way_back_says_how_long_it_took_and_the_head_of_the_record(operations: StandInOperations) -> None:
    released(operations, "v1")
    released(operations, "v2")
    made, release = opened(operations, "v1")
    for step in ("roll-instance-1", "smoke"):
        perform(made, step, lambda *_: {})
    made.write("release succeeded", release.id)
    told = notices.text(made, "rolled-back", made.current())
    assert told.title == "Rollback to v1 succeeded"
    assert " UTC in 0 s of 30 min, within the limit." in told.paragraph
    assert "v2 does not serve any more. v1 serves at " in told.paragraph
    assert f"Logbook head: {digest(operations.read_record().splitlines()[-1])}." in told.paragraph


def test_a_failure_says_where_why_what_serves_and_the_way_out(operations: StandInOperations) -> None:
    made, release = failed(operations)
    told = notices.text(made, "failed", release)
    assert told.title == "Release of v2 failed"
    for part in (release.id, "step check: no such column; correct it.", "pulumi up"):
        assert part in told.paragraph
    assert "go back to v1 with relevo rollback" in told.paragraph
    assert "\n" not in told.paragraph


@pytest.mark.parametrize("operates", [True, False])
def test_what_a_rewind_means_for_requests_is_told_to_everybody(
    operations: StandInOperations, operates: bool
) -> None:
    released(operations, "v1")
    made, release = opened(operations, "v1")

    def told(news: News) -> str:
        made.write("release failed" if news == "failed" else "release succeeded", release.id)
        return notices.text(made, news, made.current(), operates=operates).paragraph

    assert "reversed" not in told("failed")
    perform(made, "rewind", lambda *_: {"reversed": ["loans.0003", "loans.0004"]})
    until = "It reversed loans.0003, loans.0004: requests may fail until it serves on every instance."
    assert until in told("failed")
    since = "loans.0003, loans.0004: requests may have failed until it served on every instance."
    assert since in told("rolled-back")


def test_a_first_release_that_fails_has_no_way_back(operations: StandInOperations) -> None:
    made, release = failed(operations, after=None)
    body = notices.text(made, "failed", release).paragraph
    assert "Nothing serves yet" in body
    assert "rollback" not in body


def test_what_serves_is_told_for_each_instance_where_they_differ(operations: StandInOperations) -> None:
    first, _ = opened(operations, "v1")
    for name in first.spec.instances:
        perform(first, f"roll-{name}", lambda *_: {})
    first.write("release succeeded", first.current().id)
    made, release = failed(operations, after=None)
    assert "v1 serves on instance-1, instance-2." in notices.text(made, "failed", release).paragraph
    made.write("step done", release.id, step="roll-instance-1")
    assert "instance-1 serves v2, instance-2 serves v1." in notices.text(made, "failed", release).paragraph


def test_console(operations: StandInOperations, capsys) -> None:
    made, release = failed(operations, CONSOLE)
    capsys.readouterr()
    assert outcome(made, "failed", release) == {"1 (console)": "told"}
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert said[0].startswith("Release of v2 failed. Release ")


def test_a_file_gets_a_line_for_each(operations: StandInOperations, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "notices.jsonl"
    made, release = failed(operations, receiver(file=str(path)))
    for _ in range(2):
        assert outcome(made, "failed", release) == {"1 (file)": "told"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["release"] == release.id
    assert lines[0]["verdict"] == "failed"
    assert lines[0]["title"] == "Release of v2 failed"


def test_a_webhook_gets_it_as_json(operations: StandInOperations) -> None:
    with serving(lambda _: Answer()) as site:
        url = site.url.replace("http://", "json://") + "/hook"
        made, release = failed(operations, receiver(url=url))
        assert outcome(made, "failed", release) == {"1 (url)": "told"}
    assert site.paths == ["POST /hook"]
    assert site.asked[0].json["title"] == "Release of v2 failed"
    assert site.asked[0].json["type"] == "failure"
    assert release.id in site.asked[0].json["message"]


def test_a_success_is_no_failure_to_a_webhook(operations: StandInOperations) -> None:
    with serving(lambda _: Answer()) as site:
        url = site.url.replace("http://", "json://")
        made, release = released(operations, "v1", notify=(receiver(url=url),))
        notices.tell(made, "done", release)
    assert [asked.json["type"] for asked in site.asked] == ["info", "success"]


def test_a_url_may_be_a_secret_and_is_never_shown(operations, capsys) -> None:
    with serving(lambda _: Answer(status=500)) as site:
        operations.secrets["HOOK"] = site.url.replace("http://", "json://") + f"/{SECRET.replace(' ', '')}"
        made, release = failed(operations, receiver(apprise_secret="HOOK"))
        told = outcome(made, "failed", release)
    assert told["1 (secret url)"].startswith("not told: ")
    assert site.paths == [f"POST /{SECRET.replace(' ', '')}"] * 3
    said = capsys.readouterr()
    assert SECRET.replace(" ", "") not in said.out + said.err + json.dumps(told)


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
    told = outcome(made, "failed", release)
    assert told["2 (console)"] == "told"
    (name,) = told.keys() - {"2 (console)"}
    assert told[name].startswith("not told: ")
    assert f"receiver {name} was not told: " in capsys.readouterr().err


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
    assert last.data["event"] == "failed"
    assert last.data["tries"] == {"1 (console)": 1, "2 (secret url)": 0}


def heard(tmp_path: Path, name: str = "heard") -> list[str]:
    """The events of which a file receiver has been told."""
    path = tmp_path / name
    return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []


def test_that_a_release_has_started_is_told_once_and_not_on_what_identifies_it(
    operations: StandInOperations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What open-record prints triggers every step: a console receiver must not add to it."""
    for _ in range(2):  # the second is an up that was killed before the engine knew
        _, release = opened(operations, notify=(CONSOLE, receiver(file=str(tmp_path / "heard"))))
        assert capsys.readouterr().out == f"release {release.id}: nothing → v1, by Ada\n"
    assert heard(tmp_path) == ["started"]
    notified = [entry.data for entry in operations.entries() if entry.event == "notified"]
    assert notified == [{"event": "started", "receivers": {"2 (file)": "told"}, "tries": {"2 (file)": 1}}]


def test_a_release_starts_whether_or_not_anybody_can_be_told(operations: StandInOperations) -> None:
    _, release = opened(operations, notify=(receiver(url="json://127.0.0.1:1/"),))
    assert release.verdict == "open"
    assert operations.entries()[-1].data["receivers"]["1 (url)"].startswith("not told: ")


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ({}, ["started", "failed", "done", "started", "rolled-back"]),
        ({"audience": "operations"}, ["started", "failed", "done", "started", "rolled-back"]),
        ({"audience": "functional"}, ["done", "rolled-back"]),
        ({"audience": "stakeholders"}, ["failed", "rolled-back"]),
        ({"audience": "stakeholders", "events": ("done",)}, ["done"]),
    ],
)
def test_each_audience_hears_what_is_for_it(
    operations: StandInOperations, tmp_path: Path, asks: dict[str, Any], expected: list[str]
) -> None:
    """A release that fails, succeeds at the second try, and is gone back from."""
    released(operations, "v1")
    asking = (receiver(file=str(tmp_path / "heard"), **asks),)
    made, _ = opened(operations, "v2", notify=asking)

    def work(*_):
        raise StepFailed("no.")

    with pytest.raises(StepFailed):
        perform(made, "check", work)
    made.write("release succeeded", made.current().id)
    perform(made, "notify", notify)
    back, _ = opened(operations, "v1", notify=asking)
    back.write("release succeeded", back.current().id)
    perform(back, "notify", notify)
    assert heard(tmp_path) == expected


def test_who_does_not_operate_it_gets_no_command_and_no_error_line(operations: StandInOperations) -> None:
    made, release = failed(operations)
    body = notices.text(made, "failed", release, operates=False).paragraph
    assert "failed on " in body
    assert body.endswith("For questions, contact Ada.")
    for inside in ("no such column", "pulumi", "relevo "):
        assert inside not in body


def test_people_are_told_also_where_the_record_cannot_be_read(
    operations: StandInOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, release = failed(operations)

    def unreadable() -> bytes:
        raise TargetError("the record is out of reach; wait.")

    monkeypatch.setattr(operations, "read_record", unreadable)
    assert "What serves is not known" in notices.text(made, "failed", release).paragraph


def test_a_spec_of_before_there_were_audiences_is_read(operations: StandInOperations) -> None:
    """The state of a stack that an older Relevo released says nothing of them; a newer one may say more."""
    spec = specification("v1", notify=(CONSOLE, receiver(url="json://h/", events=("failed",), language="es")))
    assert Spec.from_json(spec.to_json()) == spec
    described = json.loads(spec.to_json())
    for one in described["notify"]:
        for name in ("audience", "events", "language"):
            del one[name]
    described["notify"][0]["volume"] = "loud"
    assert Spec.from_json(json.dumps(described)).notify == (CONSOLE, receiver(url="json://h/"))


def test_what_belongs_to_no_release_is_told_and_recorded(
    operations: StandInOperations, tmp_path: Path
) -> None:
    """A restore or a drill at a desk."""
    made, _ = released(operations, "v1", notify=(receiver(file=str(tmp_path / "heard")),))
    notices.tell_on_record(made, "restored", backup="b1")
    assert heard(tmp_path)[-1] == "restored"
    last = operations.entries()[-1]
    assert (last.event, last.release, last.data["receivers"]) == ("notified", None, {"1 (file)": "told"})


def test_what_is_found_after_a_later_release_names_the_version_before_the_one_that_serves(
    operations: StandInOperations,
) -> None:
    """v2 serves, v3 has failed since: to go back from v2 is to v1."""
    released(operations, "v1")
    made, watched = released(operations, "v2")
    later, broken = opened(operations, "v3")
    later.write("release failed", broken.id)
    told = notices.text(
        made, "watch-breached", watched, measure="errors-5xx", found="5 %", before="0 %"
    ).sentences[-1]
    assert told.endswith("go back to v1 with relevo rollback.")
