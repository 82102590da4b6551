"""What the desk's commands say and do, without an engine: releases, status, rollback, logs, secrets, url."""

from __future__ import annotations

import errno
import json
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from components.local.vault import Vault
from components.release.chain import digest
from components.release.manifest import Manifest
from components.release.record import Entry, Event, Release
from relevo import cli, logs, pin, rehearsal, releases, rollback, situation
from relevo.errors import RelevoError
from relevo.project import Project
from relevo.situation import Program, Situation
from relevo.store import Stored
from tests.unit.release.logbooks import TRIGGER, Book, full
from tests.unit.release.stand_in import StandInOperations, context, specification

V1, V2, V3 = (f"app@sha256:{digit * 64}" for digit in "123")
CONFIGURATION = """\
config:
  relevo:target: local
  relevo:app:
    settings: a.settings
    wsgi: a.wsgi:application
    environment: {KEY: "{secret.SECRET_KEY}"}
"""


def release(image: str, verdict: Any = "succeeded", **changes: Any) -> Release:
    version = f"v{image[-1]}"
    values: dict[str, Any] = {
        "id": f"2026010{image[-1]}T000000Z-{version}",
        "version": version,
        "image": image,
        "trigger": "",
        "lock": "",
        "responsible": "somebody",
        "opened_at": f"2026-01-0{image[-1]}T00:00:00Z",
        "previous_image": None,
        "previous_version": None,
        "verdict": verdict,
    }
    return Release(**{**values, **changes})


def manifest(version: str) -> Manifest:
    return Manifest(
        version=version,
        revision="0" * 40,
        built_at=f"2026-01-0{version[-1]}T00:00:00Z",
        lock="sha256:0",
        python="3.11",
        migrations=(),
        heads={},
        pipeline=(),
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout with v1 and v2 in the store, v2 pinned, and a record of both having succeeded."""
    (tmp_path / "Pulumi.yaml").write_text("name: relevo\n")
    (tmp_path / "Pulumi.local.yaml").write_text(CONFIGURATION)
    project = Project(root=tmp_path)
    for image in (V1, V2):
        folder = project.store.folder(image)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(manifest(f"v{image[-1]}").to_json())
        (folder / "environment").write_text("env\n")
    pin.pin(project.configuration("local"), V2)
    write_record(project, (V1, "release succeeded"), (V2, "release succeeded"))
    monkeypatch.chdir(tmp_path)
    return project


def write_record(project: Project, *outcomes: tuple[str, Event]) -> None:
    record = project.state("local") / "logbook" / "releases.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    written = b""
    for image, outcome in outcomes:
        told = release(image)
        opened = ("version", "trigger", "lock", "responsible", "previous_image", "previous_version")
        for event, data in (
            ("release opened", {name: getattr(told, name) for name in opened}),
            (outcome, {}),
        ):
            entry = Entry(time=told.opened_at, event=event, release=told.id, image=image, data=data)  # pyright: ignore[reportArgumentType]
            written += entry.after(written).encode() + b"\n"
    record.write_bytes(written)


def run(*arguments: str, given: str | None = None) -> str:
    """stdout of a command that succeeds."""
    done = CliRunner().invoke(cli.app, arguments, input=given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


# -- releases ------------------------------------------------------------------------------------------
def test_releases_and_artefacts_are_one_list_the_newest_first() -> None:
    stored = [Stored(image=image, folder=Path(), manifest=manifest(f"v{image[-1]}")) for image in (V2, V3)]
    known = [release(V1), release(V2, "failed", error="migrate ended with 1")]
    found = releases.rows(known, stored, pinned=V2)
    assert [(row.version, row.verdict, row.in_store, row.pinned, row.serving) for row in found] == [
        ("v3", "built", True, False, False),
        ("v2", "failed", True, True, False),
        ("v1", "succeeded", False, False, True),
    ]
    assert releases.table(found) == [
        "v3  333333333333  2026-01-03T00:00:00  built",
        "v2  222222222222  2026-01-02T00:00:00  failed     pinned  migrate ended with 1",
        "v1  111111111111  2026-01-01T00:00:00  succeeded  serving, not in the store",
    ]


def test_an_image_that_was_released_twice_is_marked_once() -> None:
    known = [release(V1, id="a"), release(V2), release(V1, id="b", opened_at="2026-01-05T00:00:00Z")]
    found = releases.rows(known, [], pinned=V1)
    assert [(row.release, row.pinned, row.serving) for row in found] == [
        ("b", True, True),
        ("20260102T000000Z-v2", False, False),
        ("a", False, False),
    ]


def test_releases_as_json_are_for_scripts(project: Project) -> None:
    found = json.loads(run("releases", "--json"))
    assert [(row["version"], row["serving"], row["pinned"]) for row in found] == [
        ("v2", True, True),
        ("v1", False, False),
    ]


def test_a_rollback_can_reach_what_the_record_says(project: Project) -> None:
    assert releases.reachable(project.state("local") / "logbook" / "releases.jsonl") == {V1, V2}
    assert releases.reachable(project.state("local") / "nowhere") == set()


# -- rollback ------------------------------------------------------------------------------------------
@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the engine was asked; it does nothing here."""
    asked: list[tuple[str, ...]] = []
    for way in ("run", "follow"):
        monkeypatch.setattr(rollback.engine, way, lambda _, *arguments, **__: asked.append(arguments))
    monkeypatch.setattr(rollback.operating, "context", never_released)
    return asked


def never_released(*_: Any) -> Any:
    raise RelevoError("stack local was never released.")


def go_back(project: Project, confirm: Callable[[], bool] | None = None) -> None:
    rollback.rollback(project, "local", confirm=confirm, say=lambda _: None)


def test_a_rollback_pins_the_good_release_before_and_releases_it(
    project: Project, engine: list[tuple[str, ...]]
) -> None:
    go_back(project)
    assert pin.pinned(project.configuration("local")) == V1
    assert engine == [("up", "--stack", "local", "--yes")]


def test_the_release_knows_when_a_rollback_was_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, str] = {}
    monkeypatch.setattr(rollback.engine, "run", lambda *_, variables: told.update(variables))
    before = datetime.now(UTC)
    go_back(project)
    decided = datetime.fromisoformat(told["RELEVO_DECIDED_AT"])
    assert abs(decided - before) < timedelta(seconds=5)


def test_a_critical_rollback_counts_down_and_says_what_took_how_long(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in for the engine records what a release of v1 does: it takes a minute of the thirty."""
    ended = tmp_path / "ended"
    write_rollback(ended, decided=0, verified=60)
    record = project.state("local") / "logbook" / "releases.jsonl"
    stand_in = tmp_path / "pulumi"
    stand_in.write_text(f"#!/bin/sh\necho $RELEVO_DECIDED_AT: $@\ncat {ended} >> {record}\nexit $FAILS\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(rollback.engine, "program", lambda: str(stand_in))
    monkeypatch.setenv("FAILS", "0")
    said: list[str] = []
    rollback.rollback(project, "local", confirm=None, say=said.append, critical=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\[29:5\d left\] 20.*\+00:00: up --stack local --yes --skip-preview", line)
    assert said[-4:] == [
        "    40.00 s  roll-instance-1",
        "    20.00 s  between the steps",
        "    60.00 s  decision to last instance",
        "rollback to v1: 1 min of 30 min, within the limit",
    ]
    write_record(project, (V1, "release succeeded"), (V2, "release succeeded"))
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(RelevoError, match="pulumi up ended with 1"):
        rollback.rollback(project, "local", confirm=None, say=said.append, critical=True)


def test_status_and_releases_have_the_time_of_a_rollback(project: Project, tmp_path: Path) -> None:
    record = project.state("local") / "logbook" / "releases.jsonl"
    write_rollback(ended := tmp_path / "ended", decided=0, verified=1900)
    record.write_bytes(record.read_bytes() + ended.read_bytes())
    assert "v1" in run("releases").splitlines()[0]
    assert "rollback in 31 min 40 s" in run("releases").splitlines()[0]
    assert json.loads(run("releases", "--json"))[0]["back_seconds"] == 1900
    said = situation.describe(now(last=releases.of(project, "local")[-1]))
    assert "went back     31 min 40 s of 30 min, OVER the limit, since 2026-01-09T00:00:00+00:00" in said


def write_rollback(file: Path, *, decided: int, verified: int) -> None:
    """A release of v1 whose one instance was verified so many seconds after 9 January."""

    def at(seconds: int) -> str:
        return (datetime(2026, 1, 9, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()

    told = {"version": "v1", "trigger": "", "lock": "", "responsible": "Ada", "kind": "rollback"}
    told |= {"previous_image": V2, "previous_version": "v2", "decided_at": at(decided)}
    written = b""
    events: tuple[tuple[Event, str | None, float | None, dict[str, Any]], ...] = (
        ("release opened", None, None, told),
        ("step started", "roll-instance-1", None, {}),
        ("step done", "roll-instance-1", 40.0, {}),
        ("step started", "smoke", None, {}),
        ("release succeeded", None, None, {}),
    )
    for event, step, seconds, data in events:
        entry = Entry(
            time=at(verified), event=event, release="9", image=V1, step=step, seconds=seconds, data=data
        )
        written += entry.after(written).encode() + b"\n"
    file.write_bytes(written)


def test_a_rollback_without_a_way_is_on_record(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = StandInOperations({})
    monkeypatch.setattr(
        rollback.operating, "context", lambda *_: context(operations, specification(responsible=None))
    )
    write_record(project, (V2, "release succeeded"))
    with pytest.raises(RelevoError) as caught:
        go_back(project)
    (refused,) = operations.entries()
    assert (refused.event, refused.step, refused.error) == ("attempt refused", "rollback", str(caught.value))
    assert refused.data["responsible"]


# -- logbook -------------------------------------------------------------------------------------------
def test_the_logbook_says_what_happened_when_and_by_whom(project: Project) -> None:
    assert run("logbook").splitlines() == [
        "2026-01-01T00:00:00  release opened     v1  by somebody",
        "2026-01-01T00:00:00  release succeeded  v1",
        "2026-01-02T00:00:00  release opened     v2  by somebody",
        "2026-01-02T00:00:00  release succeeded  v2",
    ]
    entries = json.loads(run("logbook", "--json"))["entries"]
    assert [entry["event"] for entry in entries] == ["release opened", "release succeeded"] * 2
    assert all(len(entry["previous"]) == 64 for entry in entries)


def test_scripts_get_what_the_pages_show_by_status_and_logbook(project: Project) -> None:
    book = full()
    file = project.state("local") / "logbook" / "releases.jsonl"
    file.write_bytes(book.written)
    told = json.loads(run("logbook", "--json"))
    assert [(one["version"], one["verdict"]) for one in told["releases"]] == [
        ("v0", "succeeded"),
        ("v1", "succeeded"),
        ("v2", "succeeded"),
        ("v3", "failed"),
        ("v1", "succeeded"),
    ]
    assert told["releases"][2]["watch"]["verdict"] == "breached"
    assert told["releases"][2]["review"]["volumes"][0]["change_percent"] == -31.0
    assert told["beside"][0]["event"] == "attempt refused"
    assert told["chain"]["faults"] == []
    assert told["back"]["version"] == "v0"
    status = json.loads(run("status", "--json"))
    assert status["release"] == told["releases"][-1]
    assert (status["healthy"], status["health"]) == (False, "was never brought up")
    assert status["back"]["command"] == "relevo rollback --stack local"
    assert status["pinned"] == {"image": V2, "version": "v2"}


def test_the_logbook_says_what_watch_and_review_have_found(project: Project) -> None:
    (project.state("local") / "logbook" / "releases.jsonl").write_bytes(full().written)
    said = run("logbook")
    assert re.search(r"watch breached +v2  errors-5xx 4\.8 %, before 0\.1 %$", said, re.MULTILINE)
    assert re.search(r"watch done +v2  breached, It rose\.$", said, re.MULTILINE)
    assert re.search(r"review done +v2  not stable$", said, re.MULTILINE)


def test_the_logbook_has_what_each_step_found(project: Project) -> None:
    (project.state("local") / "logbook" / "releases.jsonl").write_bytes(full().written)
    said = run("logbook", "--steps").splitlines()
    begun = next(place for place, row in enumerate(said) if re.search(r"release opened +v3 ", row))
    told = said[begun:]
    for line in (
        f"    preview digest {TRIGGER}, approved",
        "    pending loans.0002_due",
        "    applied loans.0003_late",
        "    instance-1: log in on it  200  12 ms  as expected",
        "    smoke: assign a loan  500  31 ms  assign a loan: status is 500, but 201 is expected",
    ):
        assert line in told
    assert re.search(r"^    \d+T\d+Z-v2, taken at .*, verified, 11233 bytes$", "\n".join(said), re.MULTILINE)
    assert (
        "    loans: 70, not stable: -31.0 % from the expected 102, and 90 to 112 may come by chance" in said
    )


def test_status_says_who_released_and_how_to_go_back(project: Project) -> None:
    (project.state("local") / "logbook" / "releases.jsonl").write_bytes(full().written)
    said = run("status")
    assert re.search(r"^went out +2026-11-24T\d\d:\d\d:\d\d UTC, by Ada$", said, re.MULTILINE)
    assert re.search(r"^to go back +to v0: relevo rollback --stack local$", said, re.MULTILINE)


def test_the_pages_are_written_into_any_folder(project: Project, tmp_path: Path) -> None:
    first = run("logbook", "--html", str(tmp_path / "a" / "pages")).strip()
    assert first == str(tmp_path / "a" / "pages" / "index.html")
    (page,) = (tmp_path / "a" / "pages" / "es").glob("*-v2.html")
    assert "20260102T000000Z-v2" in page.read_text()
    (tmp_path / "file").touch()
    refused = CliRunner().invoke(cli.app, ["logbook", "--html", str(tmp_path / "file")])
    assert "cannot be written (File exists), but the pages go there; give" in str(refused.exception)


def test_status_says_where_the_pages_are_and_not_their_password(project: Project) -> None:
    with project.configuration("local").open("a") as file:
        file.write("  relevo:logbook: {secret: PAGES}\n  relevo:secrets: {SECRET_KEY: {}, PAGES: {}}\n")
    state = project.state("local")
    assert "logbook" not in run("status")  # it has no address yet
    Vault(state / "secrets").write("PAGES", "hidden away")
    (state / "ports.json").write_text('{"public": 9}')
    said = run("status")
    assert f"http://127.0.0.1:9/.relevo/logbook/ (password: cat {state}/secrets/PAGES)" in said
    assert "hidden away" not in said


def test_status_says_what_watch_and_review_have_found(project: Project) -> None:
    book = Book()
    release = book.succeed("v2")
    file = project.state("local") / "logbook" / "releases.jsonl"
    file.write_bytes(book.written)
    assert re.search(r"^watch +until 2026-11-24T15:\d\d", run("status"), re.MULTILINE)
    book.watch(release)
    book.review(release)
    file.write_bytes(book.written)
    said = run("status")
    assert re.search(r"^watch +breached: It rose\.; errors-5xx 4\.8 %, before 0\.1 %$", said, re.MULTILINE)
    assert re.search(r"^review +not stable; loans 70, expected 101\.5$", said, re.MULTILINE)


def test_a_logbook_is_verified_in_one_line_and_tampering_ends_with_1(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = project.state("local") / "logbook" / "releases.jsonl"
    head = digest(record.read_bytes().splitlines()[-1])
    span = "2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z"
    assert run("logbook", "verify", "--head", head) == f"ok: 4 entries, head {head}, {span}\n"
    record.write_bytes(record.read_bytes().replace(b"somebody", b"nobody", 1))
    state_has(monkeypatch, None)
    monkeypatch.setattr("sys.argv", ["relevo", "logbook", "verify"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert str(ended.value).startswith(
        "the logbook is not as it was written:\nline 2: it was written after the line "
    )
    with pytest.raises(RelevoError, match="an option is given before verify"):  # not the stack that is meant
        run("logbook", "--stack", "other", "verify")
    record.write_bytes(b"")
    assert run("logbook", "verify").splitlines() == [
        "the engine's state has no head, so a cut end would not show: pulumi stack output ended with 1.",
        "the logbook has no entry yet",
    ]
    with pytest.raises(RelevoError, match=f"no line has the known head {head}"):
        run("logbook", "verify", "--head", head)


def state_has(monkeypatch: pytest.MonkeyPatch, head: str | None) -> None:
    """The engine's state, as `pulumi stack output logbook` has it."""

    def output(_: Project, *arguments: str) -> str:
        assert arguments == ("stack", "output", "logbook", "--stack", "local")
        if head is None:
            raise RelevoError("pulumi stack output ended with 1.")
        return f"{head}\n"

    monkeypatch.setattr("relevo.engine.output", output)


def cut(written: bytes) -> bytes:
    return b"".join(written.splitlines(keepends=True)[:2])


def emptied(_: bytes) -> bytes:
    return b""


def forged(written: bytes) -> bytes:
    """Without a hash, and with another text: as an older Relevo could have written it."""
    entries = [json.loads(line.replace(b"somebody", b"nobody")) for line in written.splitlines()]
    bare = [{k: v for k, v in entry.items() if k not in ("previous", "seals")} for entry in entries]
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in bare)


@pytest.mark.parametrize("tamper", [cut, emptied, forged])
def test_a_record_that_fits_itself_is_found_out_by_the_head_in_the_engines_state(
    project: Project, monkeypatch: pytest.MonkeyPatch, tamper: Callable[[bytes], bytes]
) -> None:
    record = project.state("local") / "logbook" / "releases.jsonl"
    head = digest(record.read_bytes().splitlines()[-1])
    state_has(monkeypatch, head)
    assert run("logbook", "verify").startswith("ok: 4 entries")
    record.write_bytes(tamper(record.read_bytes()))
    with pytest.raises(RelevoError, match=f"no line has the known head {head}"):
        run("logbook", "verify")


# -- rehearsal -----------------------------------------------------------------------------------------
def test_a_rehearsal_reaches_nobody_and_no_other_place(tmp_path: Path) -> None:
    document = YAML(typ="safe").load(CONFIGURATION)
    document["encryptionsalt"] = "v1:…"
    document["config"] |= {
        "relevo:smoke": "smoke.yaml",
        "relevo:port": 8000,
        "relevo:stateDir": "/var/site",
        "relevo:notify": [{"url": "mailto://team"}],
        "relevo:pipeline": {"github": "a/b"},
        "relevo:onFailure": "rollback",
        "relevo:database": {"name": "site", "server": "postgresql://relevo@db:5432", "serverSecret": "DB"},
        "relevo:cache": {"port": 6379, "maxMemoryMb": 128},
        "other:secret": {"secure": "v1:…"},
    }
    app = document["config"]["relevo:app"]
    assert rehearsal.configuration(document, tmp_path, "v2") == {
        "config": {
            "relevo:target": "local",
            "relevo:app": app,
            "relevo:smoke": str(tmp_path / "smoke.yaml"),
            "relevo:database": {"name": "site"},
            "relevo:cache": {"maxMemoryMb": 128},
            "relevo:acceptIncompatible": "v2",
            "relevo:watch": {"minutes": 0},
        }
    }


@pytest.mark.parametrize("same_disk", [True, False])
def test_a_backup_is_rehearsed_with_also_from_another_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_disk: bool
) -> None:
    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not same_disk:
        monkeypatch.setattr("os.link", other_disk)
    (source := tmp_path / "dump").write_bytes(b"rows")
    rehearsal.link(str(source), str(target := tmp_path / "copy"))
    assert (target.read_bytes(), target.samefile(source)) == (b"rows", same_disk)


def test_what_cannot_be_rehearsed_is_said_in_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [found.image for found in rehearsal.pair(project, "local")] == [V1, V2]
    write_record(project, (V1, "release succeeded"), (V2, "release succeeded"), (V3, "release failed"))
    assert [found.image for found in rehearsal.pair(project, "local")] == [V1, V2], "what failed is not it"
    write_record(project, (V3, "release succeeded"), (V2, "release succeeded"))
    with pytest.raises(RelevoError, match=r"^v3 .* is not in the artefact store any more, but a rehearsal"):
        rehearsal.pair(project, "local")
    write_record(project, (V2, "release succeeded"))
    with pytest.raises(RelevoError, match=r"^stack local has no two good releases"):
        rehearsal.pair(project, "local")
    monkeypatch.chdir(Path(__file__).parents[3])
    with pytest.raises(RelevoError, match=r"^stack prod is of target azure, whose images do not run here"):
        rehearsal.pair(Project.here(), "prod")


def test_a_rollback_shows_a_preview_before_it_asks(project: Project, engine: list[tuple[str, ...]]) -> None:
    asked_after: list[int] = []

    def confirm() -> bool:
        asked_after.append(len(engine))
        return True

    go_back(project, confirm)
    assert asked_after == [1]
    assert [call[0] for call in engine] == ["preview", "up"]


@pytest.mark.parametrize(
    ("shown", "confirm", "approved"),
    [
        pytest.param(f"    info: preview digest: {'4f' * 32}", lambda: True, "4f" * 32, id="asked"),
        pytest.param("    it is made first", lambda: True, "", id="asked, of what nothing is known yet"),
        pytest.param(f"preview digest: {'4f' * 32}", None, "", id="not asked"),
    ],
)
def test_who_agrees_to_a_rollback_approves_the_preview_that_was_shown(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    shown: str,
    confirm: Callable[[], bool] | None,
    approved: str,
) -> None:
    """What the environment has is of the release that is gone back from."""
    stand_in = tmp_path / "pulumi"
    stand_in.write_text(
        f'#!/bin/sh\ncase $1 in preview) echo "{shown}";; *) echo "up: <$RELEVO_APPROVED_PREVIEW>";; esac\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(rollback.engine, "program", lambda: str(stand_in))
    monkeypatch.setenv("RELEVO_APPROVED_PREVIEW", "5e" * 32)
    go_back(project, confirm)
    assert capfd.readouterr().out.splitlines() == [*([shown] if confirm else []), f"up: <{approved}>"]


def test_a_record_that_cannot_be_read_does_not_hide_why_a_rollback_failed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(rollback.releases, "of", never_released)
        raise RelevoError("pulumi up ended with 1.")

    monkeypatch.setattr(rollback.engine, "follow", fails)
    with pytest.raises(RelevoError, match="pulumi up ended with 1"):
        rollback.rollback(project, "local", confirm=None, say=lambda _: None, critical=True)


def test_a_rollback_that_is_declined_changes_nothing(project: Project, engine: list[tuple[str, ...]]) -> None:
    before = project.configuration("local").read_bytes()
    go_back(project, lambda: False)
    assert project.configuration("local").read_bytes() == before
    assert [call[0] for call in engine] == ["preview"]


def test_after_a_failure_a_rollback_goes_to_what_was_good(
    project: Project, engine: list[tuple[str, ...]]
) -> None:
    write_record(project, (V1, "release succeeded"), (V2, "release failed"))
    go_back(project)
    assert pin.pinned(project.configuration("local")) == V1
    assert engine


def test_a_rollback_needs_an_earlier_good_release_that_is_still_there(
    project: Project, engine: list[tuple[str, ...]]
) -> None:
    before = project.configuration("local").read_bytes()
    write_record(project, (V2, "release succeeded"))
    with pytest.raises(RelevoError, match="no earlier good release"):
        go_back(project)
    write_record(project, (V3, "release succeeded"), (V2, "release succeeded"))
    with pytest.raises(RelevoError, match="not in the artefact store any more"):
        go_back(project)
    assert project.configuration("local").read_bytes() == before
    assert engine == []


# -- status --------------------------------------------------------------------------------------------
def now(**changes: Any) -> Situation:
    serving = Program(name="instance-1", running=True, detail="RUNNING", version="v2", image=V2)
    values: dict[str, Any] = {
        "stack": "local",
        "url": "http://127.0.0.1:8000",
        "health": "",
        "programs": (serving,),
        "last": release(V2),
        "can_go_back_to": release(V1),
        "pinned": V2,
        "pinned_version": "v2",
    }
    return Situation(**{**values, **changes})


STOPPED = Program(name="instance-1", running=False, detail="STOPPED")


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        ({}, "relevo logs", "relevo rollback"),
        ({"can_go_back_to": None}, "relevo logs", "relevo build"),
        ({"pinned": None}, "relevo build", "relevo pin"),
        ({"url": None, "programs": (), "last": None}, "pulumi preview", "pulumi up"),
        ({"programs": (STOPPED,)}, "relevo start", "relevo logs"),
        ({"last": release(V2, "failed")}, "relevo rollback", "relevo logs"),
        ({"pinned": V1}, "pulumi preview", "pulumi up"),
        ({"health": "does not answer"}, "relevo logs", "relevo rollback"),
        ({"half_restored": "the restore …"}, "relevo restore --stack", "relevo restore --list"),
    ],
)
def test_two_next_things_to_try_fit_the_situation(changes: dict[str, Any], first: str, second: str) -> None:
    found = situation.next_steps(now(**changes))
    assert found[0].startswith(first)
    assert found[1].startswith(second)


def test_status_says_that_a_review_is_overdue() -> None:
    said = "that of v2 (R2) was due on 2026-11-25 12:00 UTC and is not done"
    lines = situation.describe(now(review=said))
    assert f"review        {said}; do it with relevo review --stack local" in lines


def test_status_says_what_serves_and_what_failed() -> None:
    failed = release(V3, "failed", failed_step="migrate", error="it ended with 1")
    lines = situation.describe(now(last=failed, pinned=V3, pinned_version="v3"))
    assert lines[:4] == [
        "http://127.0.0.1:8000  healthy",
        "  instance-1  running  v2",
        "last release  v3 (20260103T000000Z-v3) failed in migrate: it ended with 1",
        f"pinned        v3 ({V3}), which is not what serves",
    ]


# -- logs ----------------------------------------------------------------------------------------------
def test_logs_are_followed_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("old\n")
    lines = logs.follow({"worker": log})
    with log.open("a") as file:
        file.write("first\nhal")
    assert next(lines) == ("worker", "first")
    with log.open("a") as file:
        file.write("f\n")
    assert next(lines) == ("worker", "half")
    log.replace(tmp_path / "worker.log.1")
    log.write_text("new\n")
    assert next(lines) == ("worker", "new")


def test_only_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("".join(f"{number}\n" for number in range(100_000)))
    assert logs.tail(log, 2) == ["99998", "99999"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("logs",), "no program has a log yet, but pulumi up starts them; run pulumi up."),
        (("logs", "web"), "no program has a log yet, but pulumi up starts them; run pulumi up."),
        (("show", "v9"), "v9 is not in the artefact store "),
        (("show", ""), '"" is not in the artefact store '),
    ],
)
def test_what_is_not_there_is_said_in_one_line(project: Project, words: tuple[str, ...], told: str) -> None:
    refused = CliRunner().invoke(cli.app, words).exception
    assert isinstance(refused, RelevoError)
    assert str(refused).startswith(told)
    assert "\n" not in str(refused)


def test_a_program_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(RelevoError, match="edge has no log, but only web; name one"):
        logs.choose({"web": tmp_path}, "edge")
    with pytest.raises(RelevoError, match=r'^"" has no log, but only web; name one'):
        logs.choose({"web": tmp_path}, "")


@pytest.mark.parametrize("command", ["url", "start", "purge"])
def test_a_stack_on_azure_is_not_mistaken_for_one_that_was_never_brought_up(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    done = CliRunner().invoke(cli.app, [command, "--stack", "prod"])
    assert isinstance(done.exception, RelevoError)
    assert str(done.exception).startswith(
        "stack prod is of target azure, but this command looks at what is on"
    )


# -- secrets and address -------------------------------------------------------------------------------
def test_a_secret_comes_from_stdin_and_is_never_shown(project: Project) -> None:
    output = run("secret", "set", "SECRET_KEY", given="hush hush\n")
    assert "hush" not in output
    stored = project.state("local") / "secrets" / "SECRET_KEY"
    assert stored.read_text() == "hush hush"
    assert stored.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("SECRET_KEI", "x", "did you mean SECRET_KEY"), ("SECRET_KEY", "\n", "is empty")],
)
def test_a_secret_that_cannot_be_meant_is_refused(project: Project, name: str, value: str, told: str) -> None:
    done = CliRunner().invoke(cli.app, ["secret", "set", name], input=value)
    assert isinstance(done.exception, RelevoError)
    assert told in str(done.exception)


def test_the_address_is_all_that_url_prints(project: Project) -> None:
    (project.state("local") / "ports.json").write_text('{"public": 8123}')
    assert run("url") == "http://127.0.0.1:8123\n"


def test_make_url_without_an_environment_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAKEFLAGS", raising=False)  # of the make that runs the tests
    monkeypatch.delenv("MAKELEVEL", raising=False)
    root = Path(cli.__file__).parents[1]
    done = subprocess.run(
        ["make", "url", "BIN=nowhere"], cwd=root, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("nowhere is missing, but the address is read with it; run make up.\n")


@pytest.mark.parametrize("group", [(), ("secret",)])
def test_the_help_has_a_whole_sentence_for_each_command(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, commands = run(*group, "--help").split("Commands:\n")
    sentences = [line.split(maxsplit=1)[1] for line in commands.splitlines() if line.strip()]
    assert sentences
    assert [said for said in sentences if not said.endswith(".") or said.endswith("...")] == []


def test_a_refusal_is_one_line_and_exit_status_1(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["relevo", "url"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == (
        "stack local has no address yet, but pulumi up gives it one; run pulumi up --stack local."
    )
    assert capsys.readouterr().out == ""
