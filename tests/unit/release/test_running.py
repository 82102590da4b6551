"""How every step runs: recorded, a failure ends the release, no secret gets out, repeating does no harm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.release import record
from components.release.context import SPEC, TARGET, Context, StepFailed
from components.release.record import Event
from components.release.running import Interrupted, masked, perform, run
from components.release.spec import Receiver
from components.target import TargetError
from tests.unit.release.conftest import VERSIONS, opened
from tests.unit.release.stand_in import (
    SECRET,
    StandInOperations,
    context,
    image,
    specification,
    target_json,
)

ROOT = Path(__file__).parents[3]
CONSOLE = Receiver(console=True, file=None, url=None, apprise_secret=None)


def events(operations: StandInOperations) -> list[tuple[Event, str | None]]:
    """What the record has of the steps after the opening of the release."""
    return [(entry.event, entry.step) for entry in operations.entries()[3:] if entry.event != "notified"]


def fails_with(fault: BaseException):
    def work(*_):
        raise fault

    return work


def test_a_step_is_recorded_with_its_time_and_its_data(operations: StandInOperations) -> None:
    made, release = opened(operations)
    assert perform(made, "backup", lambda *_: {"bytes": 7}) == {"bytes": 7}
    assert events(operations) == [("step started", "backup"), ("step done", "backup")]
    last = operations.entries()[-1]
    assert last.data == {"bytes": 7}
    assert last.seconds is not None
    assert last.release == release.id
    assert made.current().verdict == "open"


def test_one_step_of_a_stack_runs_at_a_time(operations: StandInOperations) -> None:
    made, _ = opened(operations)
    operations.calls.clear()
    perform(made, "backup", lambda *_: {})
    assert operations.calls[0] == ("exclusive",)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (StepFailed("image is red; correct it."), "image is red; correct it."),
        (TargetError("the disk\nis full; free some."), "the disk is full; free some."),
        (ZeroDivisionError("division\nby zero"), "ZeroDivisionError: division by zero"),
        (KeyError("gone"), "KeyError: 'gone'"),
        (KeyboardInterrupt("^C"), "KeyboardInterrupt: ^C"),
        (Interrupted("cancelled by SIGTERM; go on."), "cancelled by SIGTERM; go on."),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_any_failure_ends_the_release_with_one_line(
    operations: StandInOperations, fault: BaseException, said: str
) -> None:
    made, _ = opened(operations)
    with pytest.raises(StepFailed) as caught:
        perform(made, "check", fails_with(fault))
    assert str(caught.value) == said
    assert events(operations) == [
        ("step started", "check"),
        ("step failed", "check"),
        ("release failed", None),
    ]
    release = made.current()
    assert (release.verdict, release.failed_step, release.error) == ("failed", "check", said)


@pytest.mark.parametrize("foreseen", [True, False])
def test_only_an_unforeseen_fault_leaves_its_traceback(operations, capsys, foreseen: bool) -> None:
    """The record's one line is enough for what was foreseen; a fault of ours must be found."""
    made, _ = opened(operations, secrets=["SECRET_KEY"])
    capsys.readouterr()
    kind = TargetError if foreseen else RuntimeError
    with pytest.raises(StepFailed):
        perform(made, "check", fails_with(kind(f"no {SECRET}.")))
    said = capsys.readouterr()
    assert said.out == ""
    if foreseen:
        assert said.err == ""
    else:
        assert said.err.startswith("Traceback (most recent call last):")
        assert "in work" in said.err
        assert said.err.endswith("RuntimeError: no ********.\n")


def test_the_next_try_goes_on_in_the_same_release(operations: StandInOperations) -> None:
    made, release = opened(operations)
    with pytest.raises(StepFailed):
        perform(made, "check", fails_with(StepFailed("red.")))
    perform(made, "check", lambda *_: {})
    assert made.current().id == release.id
    assert made.current().verdict == "open"


def test_what_must_not_run_twice_does_not(operations: StandInOperations, capsys) -> None:
    made, _ = opened(operations)
    ran = []
    for _ in range(2):
        found = perform(made, "after-migrate-1", lambda *_: {"runs": ran.append(1) or len(ran)}, once=True)
        assert found == {"runs": 1}
    assert ran == [1]
    assert events(operations) == [("step started", "after-migrate-1"), ("step done", "after-migrate-1")]
    assert "already done" in capsys.readouterr().out


def test_what_failed_is_not_done_and_runs_again(operations: StandInOperations) -> None:
    made, _ = opened(operations)
    with pytest.raises(StepFailed):
        perform(made, "backup", fails_with(StepFailed("no disk.")), once=True)
    assert perform(made, "backup", lambda *_: {"bytes": 7}, once=True) == {"bytes": 7}


def test_the_next_release_runs_it_again(operations: StandInOperations) -> None:
    made, _ = opened(operations)
    perform(made, "backup", lambda *_: {"bytes": 1}, once=True)
    made, _ = opened(operations, "v2")
    assert perform(made, "backup", lambda *_: {"bytes": 2}, once=True) == {"bytes": 2}


@pytest.mark.parametrize("known", [[], ["v1"], ["v2", "v1"]])
def test_a_step_of_another_release_is_refused_and_recorded_as_nothing_else(
    operations: StandInOperations, known: list[str]
) -> None:
    for version in known:
        opened(operations, version)
    before = record.parse(operations.read_record())
    stale = context(operations, specification("v2"))
    with pytest.raises(StepFailed, match="run pulumi up"):
        perform(stale, "migrate", lambda *_: pytest.fail("it ran"))
    *after, refused = record.parse(operations.read_record())
    assert after == before
    assert (refused.event, refused.release, refused.step) == ("attempt refused", None, "migrate")


def test_receivers_are_told_of_a_failure(operations: StandInOperations, capsys) -> None:
    made, _ = opened(operations, notify=(CONSOLE,))
    with pytest.raises(StepFailed):
        perform(made, "migrate", fails_with(StepFailed("column missing; correct it.")))
    said = capsys.readouterr().out
    assert "Release of v1 failed" in said
    assert "failed in step migrate: column missing; correct it." in said


def test_a_receiver_that_fails_changes_nothing(operations: StandInOperations, tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    nowhere = Receiver(console=False, file=str(tmp_path / "occupied/notices"), url=None, apprise_secret=None)
    missing = Receiver(console=False, file=None, url=None, apprise_secret="GONE")
    made, _ = opened(operations, notify=(nowhere, missing, CONSOLE))
    with pytest.raises(StepFailed, match=r"^red\.$"):
        perform(made, "check", fails_with(StepFailed("red.")))
    assert made.current().error == "red."


# -- secrets -----------------------------------------------------------------------------------------------
AWKWARD = {
    "PLAIN": "correct horse",
    "LONGER": "correct horse battery",
    "QUOTED": 'a"b\\c/d',
    "SPANISH": 'contraseña"1',
    "KEY": "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n-----END KEY-----",
}


@pytest.fixture
def secretive(operations: StandInOperations) -> tuple[StandInOperations, Context]:
    operations.secrets = dict(AWKWARD)
    made, _ = opened(operations, secrets=AWKWARD)
    return operations, made


def leaks(text: str) -> list[str]:
    """Names of the secrets that are in the text, in any form."""
    return [
        name
        for name, value in AWKWARD.items()
        if any(
            form in text
            for form in (
                value,
                json.dumps(value)[1:-1],
                json.dumps(value, ensure_ascii=False)[1:-1],
                repr(value)[1:-1],
            )
        )
    ]


def test_what_a_project_prints_is_masked(secretive, capsys) -> None:
    _, made = secretive
    with masked(made.masking()):
        for value in AWKWARD.values():
            print("plain", value)
            print("escaped", json.dumps({"value": value}))
            print("unicode", json.dumps({"value": value}, ensure_ascii=False), file=sys.stderr)
            print("python", {"value": value})
    said = capsys.readouterr()
    assert leaks(said.out + said.err) == []
    assert "MIIEvQIBADANBgkq" not in said.out + said.err
    assert "plain ********\n" in said.out


def test_a_longer_secret_does_not_lose_its_end(secretive, capsys) -> None:
    """One secret begins with another: replacing the shorter first would leave the rest to read."""
    _, made = secretive
    with masked(made.masking()):
        print(AWKWARD["LONGER"])
    assert "battery" not in capsys.readouterr().out


def test_a_value_split_over_writes_is_masked(secretive, capsys) -> None:
    _, made = secretive
    with masked(made.masking()):
        for letter in f"is {SECRET} safe":
            sys.stdout.write(letter)
            sys.stdout.flush()
    assert capsys.readouterr().out == "is ******** safe"


def test_lines_arrive_while_the_step_runs(secretive, capsys) -> None:
    _, made = secretive
    with masked(made.masking()):
        print("migrating …", flush=True)
        assert capsys.readouterr().out == "migrating …\n"


def test_what_was_printed_before_a_fault_is_not_lost(secretive, capsys) -> None:
    _, made = secretive
    with contextlib.suppress(ZeroDivisionError), masked(made.masking()):
        sys.stdout.write("half a line")
        raise ZeroDivisionError
    assert capsys.readouterr().out == "half a line"


def test_an_error_is_masked_where_it_is_shown_and_where_it_is_kept(secretive) -> None:
    operations, made = secretive
    for value in AWKWARD.values():
        for form in (value, json.dumps(value), repr(value)):
            with pytest.raises(StepFailed) as caught:
                perform(made, "check", fails_with(StepFailed(f"cannot log in with {form}.")))
            assert leaks(str(caught.value)) == []
    assert leaks(operations.read_record().decode()) == []


def test_the_data_of_a_failed_step_is_masked(secretive) -> None:
    operations, made = secretive
    fault = StepFailed("no.", {"requests": [{"fault": f"it said {SECRET}"}]})
    with pytest.raises(StepFailed):
        perform(made, "smoke", fails_with(fault))
    assert leaks(operations.read_record().decode()) == []
    failed = next(entry for entry in operations.entries() if entry.event == "step failed")
    assert failed.data == {"requests": [{"fault": "it said ********"}]}


def test_the_data_of_a_step_is_masked(secretive) -> None:
    operations, made = secretive
    perform(made, "after-migrate-1", lambda *_: {"command": ["login", SECRET]})
    assert leaks(operations.read_record().decode()) == []


# -- as a process ------------------------------------------------------------------------------------------
STEP = """
import sys, time
from components.release.running import main

def work(context, release):
    print("at work with", context.operations.secret("SECRET_KEY"), flush=True)
    {work}
    return {{}}

sys.exit(main("check", work))
"""


def start(record: Path, work: str) -> subprocess.Popen[str]:
    spec = specification("v1", secrets=["SECRET_KEY"])
    target = target_json(
        {
            "record": str(record),
            "secrets": {"SECRET_KEY": SECRET},
            "manifests": {image("v1"): VERSIONS[0].to_json()},
        }
    )
    environment = {TARGET: target, SPEC: spec.to_json(), "PATH": "/usr/bin:/bin"}
    made = Context.load(target, spec.to_json())
    from components.release.tasks.open_record import open_record

    open_record(made)
    return subprocess.Popen(
        [sys.executable, "-c", STEP.format(work=work)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def recorded(record: Path) -> list[tuple[str, str | None, str | None]]:
    operations = StandInOperations({"record": str(record)})
    entries = [entry for entry in operations.entries()[3:] if entry.event != "notified"]
    return [(entry.event, entry.step, entry.error) for entry in entries]


def test_a_step_that_fails_exits_with_its_one_line(tmp_path: Path) -> None:
    with start(tmp_path / "record", f"raise ValueError('not {SECRET}')") as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out.splitlines() == ["at work with ********"]
    assert err.splitlines()[0] == "Traceback (most recent call last):"
    assert 'File "<string>", line 7, in work' in err
    assert err.splitlines()[-2:] == ["ValueError: not ********"] * 2, (
        "the traceback's last, and the step's own"
    )
    assert SECRET not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_that_is_ended_records_that_it_was_cancelled(tmp_path: Path, number) -> None:
    with start(tmp_path / "record", "time.sleep(30)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert process.returncode == 1
    error = f"cancelled by {number.name}; run pulumi up to go on."
    assert err.splitlines()[-1] == error
    assert recorded(tmp_path / "record") == [
        ("step started", "check", None),
        ("step failed", "check", error),
        ("release failed", None, None),
    ]


def test_a_cancelled_step_is_not_said_to_have_failed_by_its_command(tmp_path: Path) -> None:
    """A cancel reaches the whole process group, so the command of a step ends at the same moment."""
    work = "import subprocess; subprocess.run(['sleep', '60'], check=True)"
    with start(tmp_path / "record", work) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not psutil.Process(process.pid).children():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=20)
    assert recorded(tmp_path / "record")[1] == (
        "step failed",
        "check",
        "cancelled by SIGTERM; run pulumi up to go on.",
    )


def test_a_step_that_is_killed_leaves_the_release_open(tmp_path: Path) -> None:
    with start(tmp_path / "record", "time.sleep(30)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate(timeout=20)
    assert recorded(tmp_path / "record") == [("step started", "check", None)]


def test_a_fault_outside_of_any_step_is_masked_too(operations, capsys, monkeypatch) -> None:
    """The interpreter would print its traceback where nothing is masked."""
    made, _ = opened(operations, secrets=["SECRET_KEY"])
    monkeypatch.setattr(Context, "from_environment", lambda: made)

    def act(_: Context) -> None:
        raise RuntimeError(f"the record says {SECRET}")

    assert run(act) == 1
    said = capsys.readouterr()
    assert said.err.startswith("Traceback")
    assert said.err.endswith("RuntimeError: the record says ********\n")


def test_a_record_that_cannot_be_read_ends_the_step_in_one_line(operations, capsys, monkeypatch) -> None:
    made, _ = opened(operations)
    made.write("release opened", "2-v2", data={"version": "v2"})
    capsys.readouterr()  # that it cannot be drawn is said, too
    monkeypatch.setattr(Context, "from_environment", lambda: made)
    assert run(lambda context: perform(context, "check", lambda *_: {})) == 1
    said = capsys.readouterr().err
    assert said.startswith("the record's opening of release 2-v2 has no trigger, lock, responsible, ")
    assert len(said.splitlines()) == 1


def test_a_step_without_its_description_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "components.release.tasks.backup"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("RELEVO_TARGET and RELEVO_RELEASE missing")
    assert len(done.stderr.splitlines()) == 1
