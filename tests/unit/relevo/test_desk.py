"""What the desk's commands say and do, without an engine: releases, status, rollback, logs, secrets, url."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.release.manifest import Manifest
from components.release.record import Entry, Event, Release
from relevo import cli, logs, pin, releases, rollback, situation
from relevo.errors import RelevoError
from relevo.project import Project
from relevo.situation import Program, Situation
from relevo.store import Stored

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
    monkeypatch.setattr(rollback.engine, "run", lambda _, *arguments, **__: asked.append(arguments))
    return asked


def go_back(project: Project, confirm: Callable[[], bool] | None = None) -> None:
    rollback.rollback(project, "local", confirm=confirm, say=lambda _: None)


def test_a_rollback_pins_the_good_release_before_and_releases_it(
    project: Project, engine: list[tuple[str, ...]]
) -> None:
    go_back(project)
    assert pin.pinned(project.configuration("local")) == V1
    assert engine == [("up", "--stack", "local", "--yes")]


def test_a_rollback_shows_a_preview_before_it_asks(project: Project, engine: list[tuple[str, ...]]) -> None:
    asked_after: list[int] = []

    def confirm() -> bool:
        asked_after.append(len(engine))
        return True

    go_back(project, confirm)
    assert asked_after == [1]
    assert [call[0] for call in engine] == ["preview", "up"]


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
    ],
)
def test_two_next_things_to_try_fit_the_situation(changes: dict[str, Any], first: str, second: str) -> None:
    found = situation.next_steps(now(**changes))
    assert found[0].startswith(first)
    assert found[1].startswith(second)


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


@pytest.mark.parametrize("command", ["status", "logs", "url", "start", "backup", "purge"])
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
