"""What must hold before anything is changed: each fault by its own line, and all of them at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from components.release.context import StepFailed, now
from components.release.manifest import Check
from components.release.tasks.preflight import preflight
from components.target import Backup
from tests.unit.release.conftest import INITIAL, opened, released
from tests.unit.release.stand_in import (
    DATABASE,
    GOOD_SETTINGS,
    StandInOperations,
    image,
    manifest,
    migration,
)

SCENARIO = 'steps: [{name: log in, request: {path: "/?p={secret.SMOKE_PASSWORD}"}}]'


def backup(hours: float = 1, *, verified: bool = True) -> Backup:
    taken_at = (now() - timedelta(hours=hours)).isoformat()
    return Backup(name="B1", taken_at=taken_at, verified=verified, location="/b", bytes=1)


def faults(operations: StandInOperations, version: str = "v2", **changes) -> str:
    """What preflight of the version says after v1 has been released; empty: nothing."""
    if not operations.applied:
        released(operations, "v1")
    made, release = opened(operations, version, **changes)
    before = operations.applied.copy()
    operations.calls.clear()
    said = ""
    try:
        preflight(made, release)
    except StepFailed as fault:
        said = str(fault)
    assert operations.acted("manage", "backup", "drain", "replace", "admit", "withdraw") == []
    assert operations.applied == before
    assert "\n" not in said
    return said


@pytest.fixture(autouse=True)
def recent_backup(operations: StandInOperations) -> None:
    operations.backups = [backup()]


def test_says_what_migrate_will_do(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    made, release = opened(operations, "v2")
    assert preflight(made, release) == {"pending": ["loans.0002_location"]}
    said = capsys.readouterr().out
    assert "migrate will apply loans.0002_location (additive)" in said
    assert "FAILED" not in said


def test_a_first_release_needs_no_backup(operations: StandInOperations) -> None:
    operations.backups.clear()
    made, release = opened(operations, "v1")
    assert preflight(made, release) == {"pending": ["loans.0001_initial"]}


def test_an_artefact_that_no_pipeline_has_seen(operations: StandInOperations) -> None:
    operations.manifests[image("v2")] = manifest("v2", INITIAL, pipeline=())
    assert "no run is recorded for revision 0123abc" in faults(operations)


def test_a_red_pipeline_names_what_is_red(operations: StandInOperations) -> None:
    checks = [Check(name="tests", passed=True), Check(name="lint", passed=False, detail="3 faults")]
    operations.manifests[image("v2")] = manifest("v2", INITIAL, pipeline=checks)
    said = faults(operations)
    assert "red at lint (3 faults)" in said
    assert "tests" not in said


def test_secrets_that_do_not_resolve_are_named(operations: StandInOperations) -> None:
    operations.missing = ["JWT_SIGNING_KEY", "SMOKE_PASSWORD"]
    said = faults(operations)
    assert "missing JWT_SIGNING_KEY, SMOKE_PASSWORD" in said
    assert "relevo secret set" in said
    assert operations.acted("django_facts") == [], "no process can start without them"


def test_a_scenario_that_uses_a_secret_which_is_not_declared(operations: StandInOperations) -> None:
    said = faults(operations, scenario=SCENARIO)
    assert "SMOKE_PASSWORD, not among relevo:secrets" in said
    assert faults(operations, scenario=SCENARIO, secrets=["SMOKE_PASSWORD"]) == ""


def test_a_scenario_that_is_none(operations: StandInOperations) -> None:
    assert "relevo:smoke" in faults(operations, scenario="steps: []")


def test_no_backup_although_something_has_run_here(operations: StandInOperations) -> None:
    operations.backups.clear()
    assert "there is none, but v1 has run here; take one with relevo backup" in faults(operations)


def test_a_backup_that_was_not_verified(operations: StandInOperations) -> None:
    operations.backups = [backup(verified=False)]
    assert "B1 was not verified" in faults(operations)


def test_a_backup_that_is_too_old(operations: StandInOperations) -> None:
    operations.backups = [backup(hours=25)]
    assert "older than relevo:backup.maxAgeHours" in faults(operations)
    operations.backups = [backup(hours=23)]
    assert faults(operations) == ""


def test_a_surplus_that_the_version_cannot_live_with(operations: StandInOperations) -> None:
    released(operations, "v1")
    released(operations, "v3", accept_incompatible="v3")
    said = faults(operations, "v2")
    assert "v2 does not know (loans.0003_rename)" in said
    assert "manage.py migrate loans 0002_location" in said


def test_a_surplus_that_only_adds_is_no_fault(operations: StandInOperations) -> None:
    released(operations, "v1")
    released(operations, "v2")
    assert faults(operations, "v1") == ""


def test_a_migration_that_breaks_what_runs(operations: StandInOperations) -> None:
    said = faults(operations, "v3")
    assert "loans.0003_rename" in said
    assert "relevo:acceptIncompatible: v3" in said
    assert faults(operations, "v3", accept_incompatible="v3") == ""


def test_sqlite_is_named(operations: StandInOperations) -> None:
    """Many projects fall back to it in silence, and then lose what users write."""
    sqlite = replace(GOOD_SETTINGS, engine="django.db.backends.sqlite3", name="/src/db.sqlite3", host="")
    operations.settings["web"] = sqlite
    said = faults(operations)
    assert "settings of web: the project uses SQLite (/src/db.sqlite3)" in said
    assert "relevo:app.environment" in said
    assert "settings of manage" not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "django.db.backends.mysql"}, "'django.db.backends.mysql', but PostgreSQL was given"),
        ({"engine": "django.db.backends.dummy"}, "'django.db.backends.dummy', but PostgreSQL was given"),
        ({"host": "elsewhere"}, "host 'elsewhere', but '127.0.0.1' was given"),
        ({"port": ""}, "port '5432', but '5433' was given"),
        ({"name": "postgres"}, "name 'postgres', but 'site' was given"),
        ({"secret_key_matches": False}, "SECRET_KEY is not the secret SECRET_KEY"),
        ({"debug": True}, "DEBUG is on"),
        ({"allowed_hosts": ()}, "ALLOWED_HOSTS is empty"),
        ({"allowed_hosts": ("site.example", "*")}, "ALLOWED_HOSTS has a wildcard"),
        ({"cors_allow_all": True}, "CORS allows every origin"),
        ({"cors_allowed_origins": ("*",)}, "CORS allows every origin"),
        ({"cors_allowed_origins": ()}, "CORS_ALLOWED_ORIGINS is empty"),
    ],
)
def test_each_fault_of_the_settings(operations: StandInOperations, changes, said: str) -> None:
    operations.settings["manage"] = replace(GOOD_SETTINGS, **changes)
    found = faults(operations)
    assert found.startswith("preflight found 1: settings of manage: ")
    assert said in found


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "django.contrib.gis.db.backends.postgis"},
        {"engine": "django_prometheus.db.backends.postgresql"},
        {"secret_key_matches": None},
        {"cors_allowed_origins": None},
        {"allowed_hosts": (".site.example",)},
    ],
)
def test_what_is_no_fault(operations: StandInOperations, changes) -> None:
    operations.settings["web"] = replace(GOOD_SETTINGS, **changes)
    assert faults(operations) == ""


def test_the_default_port_is_known_to_be_what_django_leaves_out(operations, monkeypatch) -> None:
    monkeypatch.setattr(operations, "database", lambda: replace(DATABASE, port=5432))
    operations.settings["manage"] = operations.settings["web"] = replace(GOOD_SETTINGS, port="")
    assert faults(operations) == ""


@pytest.mark.parametrize("process", ["manage", "web", "worker", "scheduler"])
def test_every_process_is_asked(operations: StandInOperations, process: str) -> None:
    operations.settings[process] = replace(GOOD_SETTINGS, debug=True)
    said = faults(operations, processes=("worker", "scheduler"))
    assert said.startswith(f"preflight found 1: settings of {process}: DEBUG is on")
    asked = [name for _, name in operations.acted("django_facts")]
    assert asked == ["manage", "web", "worker", "scheduler"]


def test_what_cannot_be_asked_is_a_fault(operations: StandInOperations) -> None:
    operations.fail("django_facts", "the settings cannot be loaded (no module named x); correct it.")
    said = faults(operations)
    assert said.startswith("preflight found 1: settings of manage, web: the settings cannot be loaded")


def test_what_several_processes_have_in_common_is_said_once(operations: StandInOperations, capsys) -> None:
    sqlite = replace(GOOD_SETTINGS, engine="django.db.backends.sqlite3")
    operations.settings = {"manage": sqlite, "web": sqlite, "worker": replace(GOOD_SETTINGS, debug=True)}
    said = faults(operations, processes=("worker", "scheduler"))
    assert said.startswith("preflight found 2: settings of manage, web: the project uses SQLite")
    assert "; settings of worker: DEBUG is on" in said
    assert "preflight ok: settings of scheduler: " in capsys.readouterr().out


def test_all_faults_are_told_at_once(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    released(operations, "v3", accept_incompatible="v3")
    known = operations.manifests[image("v2")].migrations
    changed = manifest("v2", *known, migration("loans.0005_more", "breaking"), pipeline=())
    operations.manifests[image("v2")] = changed
    operations.backups.clear()
    bad = replace(GOOD_SETTINGS, debug=True, secret_key_matches=False, engine="django.db.backends.sqlite3")
    operations.settings = {"manage": bad, "web": bad, "worker": bad}
    said = faults(operations, "v2", scenario="steps: []", processes=("worker",))
    assert said.startswith("preflight found 6: ")
    for part in (
        "pipeline is green: ",
        "smoke scenario: ",
        "last backup: ",
        "schema knows the way back: ",
        "migrations let the running version live: ",
        "settings of manage, web, worker: the project uses SQLite",
        ", and DEBUG is on",
        ", and settings.SECRET_KEY is not",
    ):
        assert part in said
    assert capsys.readouterr().out.count("FAILED") == 6
