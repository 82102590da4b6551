"""check, migrate, collectstatic and further commands: what is run, in which order, what a bad end says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from components.release import outlook, record, recorded_schema
from components.release.context import SPEC, TARGET, StepFailed
from components.release.logbook import now
from components.release.running import perform
from components.release.spec import Commands
from components.release.tasks import manage
from components.target import Completed
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import (
    SECRET,
    Killed,
    StandInOperations,
    context,
    image,
    specification,
    target_json,
)

COMMANDS = Commands(
    before_migrate=(("wait_for", "database"),),
    after_migrate=(("loaddata", "roles"), ("clearsessions",)),
    before_collectstatic=(),
    after_collectstatic=(("warm",),),
)
PENDING = {"pending": ["loans.0002_location", "loans.0003_rename"]}


def ran(operations: StandInOperations) -> list[str]:
    return [arguments for _, arguments in operations.acted("manage")]


@pytest.fixture
def as_process(operations: StandInOperations, monkeypatch):
    """Runs the task as the engine does, on the target of the test."""
    monkeypatch.setattr("components.release.context.load_operations", lambda *_: operations)
    made, _ = opened(operations, "v1", commands=COMMANDS, secrets=["SECRET_KEY"])
    monkeypatch.setenv(TARGET, target_json())
    monkeypatch.setenv(SPEC, made.spec.to_json())
    operations.calls.clear()
    return lambda *words: manage.run(words)


def test_check_fails_on_errors_only(operations: StandInOperations) -> None:
    made, release = opened(operations)
    manage.check(made, release)
    assert ran(operations) == ["check --deploy --fail-level ERROR"]


def test_migrate_shows_its_plan_first_and_records_what_it_applied(operations: StandInOperations) -> None:
    released(operations, "v1")
    made, release = opened(operations, "v2")
    assert manage.migrate(made, release) == {
        "applied": ["loans.0002_location"],
        "schema": ["loans.0001_initial", "loans.0002_location"],
    }
    assert ran(operations) == ["migrate --plan", "migrate --noinput"]
    assert operations.applied == {("loans", "0001_initial"), ("loans", "0002_location")}


def with_schema(operations: StandInOperations, version: str):
    """A release of it after v1, past its preflight."""
    released(operations, "v1")
    made, release = opened(operations, version, accept_incompatible=version)
    made.write("step done", release.id, step="preflight", data={**PENDING, "schema": ["loans.0001_initial"]})
    return made


@pytest.mark.parametrize("so_far", [["0002_location"], ["0002_location", "0003_rename"]])
def test_what_a_killed_migrate_has_applied_is_recorded_by_the_one_that_goes_on(operations, so_far) -> None:
    made = with_schema(operations, "v3")
    operations.kill_at("manage")
    with pytest.raises(Killed):
        perform(made, "migrate", manage.migrate)
    operations.start_again()
    operations.applied |= {("loans", name) for name in so_far}
    assert perform(made, "migrate", manage.migrate)["applied"] == PENDING["pending"]


def test_a_migrate_that_fails_midway_has_on_record_what_stays_so_a_preview_knows_the_way_back(
    operations,
) -> None:
    made = with_schema(operations, "v3")

    def fails(arguments: str) -> None:
        if arguments == "migrate --noinput":
            operations.applied.add(("loans", "0002_location"))
            operations.completed["migrate"] = Completed(status=1, output="no such column", seconds=1)

    operations.before["manage"] = fails
    with pytest.raises(StepFailed, match="no such column"):
        perform(made, "migrate", manage.migrate)
    failed = next(entry for entry in operations.entries() if entry.event == "step failed")
    assert failed.data == {
        "applied": ["loans.0002_location"],
        "schema": ["loans.0001_initial", "loans.0002_location"],
    }
    ahead = outlook.of(context(operations, specification("v1")))
    assert "schema: left applied, they only add: loans.0002_location" in str(ahead)


def test_a_migrate_that_fails_with_the_database_gone_says_why_and_leaves_the_schema_in_doubt(
    operations,
) -> None:
    made = with_schema(operations, "v3")

    def fails(arguments: str) -> None:
        if arguments == "migrate --noinput":
            operations.completed["migrate"] = Completed(status=1, output="server closed", seconds=1)
            operations.fail("applied_migrations")

    operations.before["manage"] = fails
    with pytest.raises(StepFailed, match="server closed"):
        perform(made, "migrate", manage.migrate)
    assert recorded_schema.applied(operations.entries()) is None


@pytest.mark.parametrize(
    ("hours", "applied_since", "another", "named"),
    [
        pytest.param(23, False, False, "first", id="it goes on soon"),
        pytest.param(25, False, True, "another", id="much later"),
        pytest.param(25, True, True, "first", id="much later, with a migration applied before it failed"),
    ],
)
def test_a_release_that_goes_on_much_later_takes_another_backup_before_it_migrates(
    operations: StandInOperations, hours: int, applied_since: bool, another: bool, named: str
) -> None:
    """A way back names the newest that has none of the migrations."""
    released(operations, "v1")
    made, release = opened(operations, "v3", accept_incompatible="v3")
    operations.backup("before", kept=())
    made.write("step done", release.id, step="preflight", data={**PENDING, "schema": ["loans.0001_initial"]})
    at = now() - timedelta(hours=hours)
    first = {"name": release.id, "verified": True, "taken_at": at.isoformat(timespec="seconds")}
    made.write("step done", release.id, step="backup", data=first)
    if applied_since:
        operations.applied.add(("loans", "0002_location"))
    operations.calls.clear()
    found = perform(made, "migrate", manage.migrate)
    assert [call[0] for call in operations.acted("backup", "manage")] == [
        *(["backup"] if another else []),
        "manage",
        "manage",
    ]
    taken = operations.backups[-1].name if another else None
    assert found.get("backup") == taken
    backup = record.backup_without(made.releases(), PENDING["pending"])
    assert backup == (taken if named == "another" else release.id)


def test_what_has_nothing_to_migrate_takes_no_other_backup(operations: StandInOperations) -> None:
    released(operations, "v1")
    made, release = opened(operations, "v1")
    old = {"name": release.id, "verified": True, "taken_at": "2020-01-01T00:00:00+00:00"}
    made.write("step done", release.id, step="backup", data=old)
    perform(made, "migrate", manage.migrate)
    assert operations.acted("backup") == []


@pytest.mark.parametrize(
    ("last", "remedy"),
    [
        ("django.db.utils.OperationalError: canceling statement due to lock timeout", "run pulumi up again"),
        ("psycopg.OperationalError: connection failed: Connection refused", "run pulumi up again"),
        ("django.db.utils.InterfaceError: the connection is closed", "run pulumi up again"),
        ("django.db.utils.ProgrammingError: column x does not exist", "correct it, build and pin anew"),
        ("loans.OperationalErrors: no", "correct it, build and pin anew"),
        (
            'django.db.utils.OperationalError: cannot ALTER TABLE "x" because it has pending trigger events',
            "correct it, build and pin anew",
        ),
    ],
)
def test_what_the_database_did_not_let_it_do_needs_no_other_artefact(
    operations: StandInOperations, last: str, remedy: str
) -> None:
    output = f"Traceback (most recent call last):\n  File …\n{last}\n"
    operations.completed["migrate"] = Completed(status=1, output=output, seconds=1)
    made, release = opened(operations)
    with pytest.raises(StepFailed) as caught:
        manage.migrate(made, release)
    assert f"({last}); {remedy}" in str(caught.value)


def test_nothing_to_migrate_is_said(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    made, release = opened(operations, "v1")
    assert manage.migrate(made, release) == {"applied": [], "schema": ["loans.0001_initial"]}
    assert "nothing to migrate" in capsys.readouterr().out


def test_collectstatic_asks_nobody(operations: StandInOperations) -> None:
    made, release = opened(operations)
    manage.collectstatic(made, release)
    assert ran(operations) == ["collectstatic --noinput --verbosity 1"]


@pytest.mark.parametrize(
    ("phase", "number", "command"),
    [
        ("before-migrate", 1, "wait_for database"),
        ("after-migrate", 1, "loaddata roles"),
        ("after-migrate", 2, "clearsessions"),
        ("after-collectstatic", 1, "warm"),
    ],
)
def test_a_further_command_is_found_by_phase_and_number(operations, phase, number, command) -> None:
    made, release = opened(operations, commands=COMMANDS)
    assert manage.command(made, release, phase, number) == {"command": command.split()}
    assert ran(operations) == [command]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("Applying …\nValueError: no\n\n", "exited 1 (ValueError: no)"),
        ("", "exited 1 (it printed nothing)"),
    ],
)
def test_a_bad_end_says_the_last_thing_that_was_printed(operations, output: str, said: str) -> None:
    operations.completed["migrate"] = Completed(status=1, output=output, seconds=1)
    made, release = opened(operations)
    with pytest.raises(StepFailed) as caught:
        manage.migrate(made, release)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_that_cannot_be_made_applies_nothing(operations: StandInOperations) -> None:
    operations.completed["migrate"] = Completed(status=1, output="conflict", seconds=1)
    made, release = opened(operations)
    with pytest.raises(StepFailed):
        manage.migrate(made, release)
    assert ran(operations) == ["migrate --plan"]


@pytest.mark.parametrize(
    ("words", "step", "command"),
    [
        (("check",), "check", "check --deploy --fail-level ERROR"),
        (("migrate",), "migrate", "migrate --noinput"),
        (("collectstatic",), "collectstatic", "collectstatic --noinput --verbosity 1"),
        (("after-migrate", "2"), "after-migrate-2", "clearsessions"),
    ],
)
def test_the_words_of_the_engine_name_the_step(as_process, operations, words, step, command) -> None:
    assert as_process(*words) == 0
    assert ran(operations)[-1] == command
    assert [entry.step for entry in operations.entries()[-2:]] == [step, step]


def test_a_further_command_is_not_run_twice_in_a_release_but_migrate_is(as_process, operations) -> None:
    for _ in range(2):
        assert as_process("after-migrate", "1") == 0
        assert as_process("migrate") == 0
    assert ran(operations).count("loaddata roles") == 1
    assert ran(operations).count("migrate --noinput") == 2


def test_a_failure_is_one_line_on_stderr_with_secrets_masked(as_process, operations, capsys) -> None:
    operations.completed["check"] = Completed(status=1, output=f"cannot use {SECRET}", seconds=1)
    assert as_process("check") == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "manage.py check --deploy --fail-level ERROR exited 1 (cannot use ********); "
        "correct it, build and pin anew."
    ]
    assert SECRET not in operations.read_record().decode()


def test_words_that_no_step_has_are_refused(as_process, operations, capsys) -> None:
    assert as_process() == 2
    assert as_process("migrate", "too", "much") == 2
    assert "python -m components.release.tasks.manage" in capsys.readouterr().err
    assert ran(operations) == []


def test_the_artefact_of_the_release_is_what_runs(operations, monkeypatch) -> None:
    made, release = opened(operations, "v2")
    used = []
    monkeypatch.setattr(
        operations,
        "manage",
        lambda image, arguments, *, release: (
            used.append((image, release)) or Completed(status=0, output="", seconds=0)
        ),
    )
    manage.check(made, release)
    assert used == [(image("v2"), release.id)]
