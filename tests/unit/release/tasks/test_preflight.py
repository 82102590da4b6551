"""What must hold before anything is changed: each fault by its own line, and all of them at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from components.release.context import StepFailed
from components.release.logbook import now
from components.release.manifest import Check
from components.release.running import perform
from components.release.spec import Pipeline, Review, Volume
from components.release.tasks.manage import migrate
from components.release.tasks.preflight import preflight
from components.target import Backup, Completed, TargetError
from tests.unit.release import stand_in_github
from tests.unit.release.conftest import INITIAL, opened, released
from tests.unit.release.stand_in import (
    DATABASE,
    GOOD_SETTINGS,
    Answer,
    StandInOperations,
    StandInSite,
    image,
    manifest,
    migration,
)
from tests.unit.release.stand_in_github import REPOSITORY, REVISION, TOKEN, StandInGitHub

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
    changing = operations.acted("manage", "backup", "drain", "replace", "admit", "withdraw")
    assert [call for call in changing if not call[1].startswith("shell -c")] == []
    assert operations.applied == before
    assert "\n" not in said
    return said


@pytest.fixture(autouse=True)
def recent_backup(operations: StandInOperations) -> None:
    operations.backups = [backup()]


def test_says_what_migrate_will_do(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    made, release = opened(operations, "v2")
    assert preflight(made, release) == {
        "pending": ["loans.0002_location"],
        "schema": ["loans.0001_initial"],
        "lint": [],
    }
    said = capsys.readouterr().out
    assert "migrate will apply loans.0002_location (additive)" in said
    assert "FAILED" not in said


def test_an_overdue_review_is_said_and_refuses_nothing(operations: StandInOperations, capsys) -> None:
    volume = Volume(name="loans", sql="SELECT 1", command=None, tolerance_percent=20)
    operations.backups.append(backup())
    released(operations, "v1")
    for hours, said in ((24, False), (1e-9, True)):
        review = Review(hours=hours, weeks=4, volumes=(volume,))
        assert faults(operations, review=review) == ""
        assert ("preflight: review: that of v1 (" in capsys.readouterr().out) is said


def test_it_is_said_also_where_something_else_is_refused(operations: StandInOperations, capsys) -> None:
    volume = Volume(name="loans", sql="SELECT 1", command=None, tolerance_percent=20)
    released(operations, "v1")
    operations.manifests[image("v2")] = manifest("v2", INITIAL, pipeline=())
    assert faults(operations, review=Review(hours=1e-9, weeks=4, volumes=(volume,))) != ""
    assert "preflight: review: that of v1 (" in capsys.readouterr().out


def test_a_first_release_needs_no_backup(operations: StandInOperations) -> None:
    operations.backups.clear()
    made, release = opened(operations, "v1")
    assert preflight(made, release) == {"pending": ["loans.0001_initial"], "schema": [], "lint": []}


def test_an_artefact_that_no_pipeline_has_seen(operations: StandInOperations) -> None:
    operations.manifests[image("v2")] = manifest("v2", INITIAL, pipeline=())
    assert "no run is recorded for revision 0123abc" in faults(operations)


def test_a_red_pipeline_names_what_is_red(operations: StandInOperations) -> None:
    checks = [Check(name="tests", passed=True), Check(name="lint", passed=False, detail="3 faults")]
    operations.manifests[image("v2")] = manifest("v2", INITIAL, pipeline=checks)
    said = faults(operations)
    assert "red at lint (3 faults)" in said
    assert "tests" not in said


# -- CI ----------------------------------------------------------------------------------------------------
@pytest.fixture
def hub(operations: StandInOperations, monkeypatch) -> Iterator[tuple[StandInGitHub, StandInSite]]:
    """A GitHub that knows v2's revision, with nothing recorded by the build."""
    monkeypatch.setenv("CI_TOKEN", TOKEN)
    known = operations.manifests[image("v2")].migrations
    operations.manifests[image("v2")] = manifest("v2", *known, revision=REVISION, pipeline=())
    with stand_in_github.github(runs=[("tests", "completed", "success")]) as found:
        yield found


def ci(site: StandInSite, *checks: str, token: str = "CI_TOKEN") -> Pipeline:
    return Pipeline(github=REPOSITORY, checks=checks or ("tests",), all_but=(), token=token, api=site.url)


def test_a_revision_that_is_green_on_github_needs_no_recorded_run(operations, hub) -> None:
    _, site = hub
    assert faults(operations, pipeline=ci(site)) == ""
    assert len(site.asked) == 2


def test_a_revision_that_is_not_green_on_github_is_refused(operations, hub) -> None:
    made, site = hub
    made.runs = [("tests", "in_progress", None)]
    made.statuses = [("ci/scan", "failure")]
    assert faults(operations, pipeline=ci(site, "tests", "ci/scan", "e2e")) == (
        f"preflight found 1: pipeline is green: revision {REVISION[:12]} in {REPOSITORY}: red at ci/scan "
        f"(failure), still running tests (in_progress), has no check e2e; correct it, commit and build again."
    )


def test_a_recorded_run_that_is_red_counts_also_where_there_is_ci(operations, hub) -> None:
    _, site = hub
    red = [Check(name="makemigrations", passed=False, detail="2 changes")]
    operations.manifests[image("v2")] = replace(operations.manifests[image("v2")], pipeline=tuple(red))
    assert "red at makemigrations (2 changes)" in faults(operations, pipeline=ci(site))
    assert site.asked == []


def test_a_github_that_does_not_say_is_not_taken_for_green(operations, hub) -> None:
    made, site = hub
    made.instead = [Answer(status=403)]
    assert "may not read the checks of octo/loans (403)" in faults(operations, pipeline=ci(site))


def test_without_its_token_github_is_not_asked(operations, hub, monkeypatch) -> None:
    _, site = hub
    monkeypatch.delenv("CI_TOKEN")
    assert "CI_TOKEN is not set, but GitHub is asked with it" in faults(operations, pipeline=ci(site))
    assert site.asked == []


def test_the_token_may_be_a_secret_of_the_stack(operations, hub, monkeypatch) -> None:
    _, site = hub
    monkeypatch.setenv("CI_TOKEN", "another")
    operations.secrets["CI_TOKEN"] = TOKEN
    assert faults(operations, pipeline=ci(site), secrets=["CI_TOKEN"]) == ""


def test_what_was_released_before_goes_back_without_github(operations, hub) -> None:
    """It was green then; GitHub may be down, or may have archived the checks, just when a rollback is due."""
    _, site = hub
    released(operations, "v1")
    released(operations, "v2")
    assert faults(operations, "v2", pipeline=ci(site)) == ""
    assert site.asked == []


def test_a_release_that_failed_is_asked_for_again(operations, hub) -> None:
    made, site = hub
    released(operations, "v1")
    opened(operations, "v2")
    made.runs = []
    assert "has no check tests" in faults(operations, pipeline=ci(site))


def test_the_token_is_in_no_output_and_not_in_the_record(operations, hub, capsys) -> None:
    _, site = hub
    released(operations, "v1")
    made, _ = opened(operations, "v2", pipeline=ci(site))

    def tells_all(context, release):
        preflight(context, release)
        raise ValueError(f"Authorization: Bearer {os.environ['CI_TOKEN']}")

    with pytest.raises(StepFailed, match=r"Bearer \*{8}"):
        perform(made, "preflight", tells_all)
    said = capsys.readouterr()
    assert "Traceback" in said.err
    assert TOKEN not in said.out + said.err + operations.read_record().decode() + made.spec.to_json()


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
    released(operations, "v4", accept_incompatible="v4")
    said = faults(operations, "v2")
    assert "v2 does not know (loans.0004_drop), of which loans.0004_drop cannot be reversed" in said


def test_a_surplus_that_will_be_reversed_is_said_loudly(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    released(operations, "v3", accept_incompatible="v3")
    assert faults(operations, "v2") == ""
    said = capsys.readouterr().out
    assert (
        "schema knows the way back: REWIND: v3 reverses loans.0003_rename (migrate loans 0002_location), and "
        "requests may fail from then until the last instance is replaced"
    ) in said
    assert operations.acted("manage") == []


def test_a_surplus_that_only_adds_is_no_fault(operations: StandInOperations) -> None:
    released(operations, "v1")
    released(operations, "v2")
    assert faults(operations, "v1") == ""


def test_a_migration_that_breaks_what_runs(operations: StandInOperations) -> None:
    said = faults(operations, "v3")
    assert "loans.0003_rename" in said
    assert "relevo:acceptIncompatible: v3" in said
    assert faults(operations, "v3", accept_incompatible="v3") == ""


def test_what_breaks_nobody_is_accepted(operations: StandInOperations) -> None:
    """A first release that failed after its migrations leaves a schema on which nothing runs."""
    operations.backups.clear()
    made, _ = opened(operations, "v1")
    perform(made, "preflight", preflight)
    perform(made, "migrate", migrate)
    assert faults(operations, "v3") == ""


def test_what_somebody_else_has_migrated_may_run_somewhere(operations: StandInOperations) -> None:
    """A database that was there before this record: the version that made it may be in use."""
    operations.applied = {("loans", "0001_initial")}
    assert "break the version that still runs (loans.0003_rename)" in faults(operations, "v3")


def test_an_instance_that_got_the_failed_release_serves_it(operations: StandInOperations) -> None:
    made, _ = opened(operations, "v1")
    perform(made, "preflight", preflight)
    perform(made, "migrate", migrate)
    perform(made, "roll-instance-1", lambda *_: {})
    assert "break the version that still runs (loans.0003_rename)" in faults(operations, "v3")


@pytest.mark.parametrize(("silent", "said"), [("v3", "the registry does not answer"), ("v2", "")])
def test_what_cannot_be_read_now_is_no_reason_to_give_migrations_up(
    operations, silent: str, said: str
) -> None:
    """v3 alone knows what it did; what v2 did it knows as well. That an artefact is gone is another thing."""
    for version in ("v1", "v2", "v3"):
        released(operations, version)
    assert faults(operations, "v1") == ""

    def answer(asked: str) -> None:
        if asked == image(silent):
            raise TargetError("the registry does not answer.")

    operations.before["artefact"] = answer
    assert faults(operations, "v1") == (said and f"preflight found 1: schema can be read: {said}.")
    operations.before.clear()
    del operations.manifests[image(silent)]
    assert ("in no artefact that is kept" in faults(operations, "v1")) == bool(said)


def test_a_version_whose_app_was_renamed_since_would_begin_anew(operations: StandInOperations) -> None:
    """As a command before migrate does it; the new version fails, and v1 is to come back."""
    after = manifest("v7", migration("lending.0001_initial"))
    operations.manifests[image("v7")] = after
    operations.backups.clear()
    for version in ("v1", "v7"):
        made, _ = opened(operations, version)
        perform(made, "preflight", preflight)
        operations.applied = {
            ("lending" if version == "v7" else app, name) for app, name in operations.applied
        }
        perform(made, "migrate", migrate)
        operations.backup("before", kept=())
    assert "v1 ran here with loans.0001_initial, but these are lending.0001_initial" in faults(
        operations, "v1"
    )
    operations.applied = {("loans", "0001_initial")}
    assert faults(operations, "v1") == ""
    assert faults(operations, "v7") == ""


def test_a_database_that_does_not_answer_is_one_fault(operations: StandInOperations) -> None:
    released(operations, "v1")
    operations.missing = ["WEBHOOK"]
    operations.fail("applied_migrations", "the database does not answer; start it.")
    said = faults(operations)
    assert said.startswith("preflight found 2: secrets resolve: missing WEBHOOK")
    assert said.endswith("schema can be read: the database does not answer; start it.")


def test_the_schema_is_read_once_and_earlier_artefacts_only_for_a_way_back(operations) -> None:
    """Reading an artefact verifies every file of it."""
    released(operations, "v1")
    released(operations, "v2")
    assert faults(operations, "v3", accept_incompatible="v3") == ""
    assert len(operations.acted("applied_migrations")) == 1
    assert operations.acted("artefact") == [("artefact", image("v3"))]
    assert faults(operations, "v1") == ""
    asked = [name for _, name in operations.acted("artefact")]
    assert sorted(asked) == sorted([image("v1"), image("v2"), image("v3")])


def test_a_database_that_lacks_what_a_migration_needs_is_refused(operations: StandInOperations) -> None:
    operations.lacking = "places.0003_german needs ICU collations, but the server has none"
    assert "database has what the migrations need: places.0003_german needs ICU" in faults(operations)


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
    released(operations, "v4", accept_incompatible="v4")
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


def test_the_findings_about_pending_migrations_are_said_and_recorded(
    operations: StandInOperations, capsys
) -> None:
    released(operations, "v1")
    sql = ['ALTER TABLE "loans_loan" ADD COLUMN "location" varchar(80) NULL;']
    pending = {"migration": "loans.0002_location", "atomic": True, "sql": sql, "code": 0}
    operations.sql = {
        "pending": [pending],
        "relations": {"loans_loan": [1200, 163840, None]},
        "server": 170002,
    }
    made, release = opened(operations, "v2")
    (finding,) = preflight(made, release)["lint"]
    assert finding["migration"] == "loans.0002_location"
    assert finding["locks"][0]["blocks"] == "reads and writes"
    assert "ACCESS EXCLUSIVE on loans_loan (about 1,200 rows, 160 kB)" in capsys.readouterr().out


def test_what_cannot_be_linted_is_said_and_refuses_nothing(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    operations.completed["shell"] = Completed(status=1, output="no such command", seconds=0.0)
    made, release = opened(operations, "v2")
    assert preflight(made, release)["lint"] == []
    assert (
        "lint: not done, the SQL of the migrations cannot be read (no such command)"
        in capsys.readouterr().out
    )
