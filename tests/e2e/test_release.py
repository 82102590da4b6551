"""The example backend released on real servers by a real `pulumi up`."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import httpx
import psycopg
import pytest

from components.local.layout import Layout
from components.local.postgres import connect
from components.local.server import Server
from components.local.vault import Vault
from components.release import record
from components.release.chain import digest
from components.release.context import TARGET
from tests.e2e.commits import git, initialise
from tests.e2e.load import FEW, Load
from tests.e2e.project import Project, up_in_step

pytestmark = pytest.mark.e2e

STEPS = (
    "open-record",
    "preflight",
    "backup",
    "check",
    "rewind",
    "migrate",
    "after-migrate-1",
    "collectstatic",
    "previous-version",
    "roll-instance-1",
    "roll-instance-2",
    "smoke",
    "close-record",
    "notify",
)
CATALOGUE = "/api/docs/"


def serving(project: Project) -> set[str]:
    """The versions that the public address answers with, over a few requests."""
    url = project.url
    return {httpx.get(f"{url}/healthz/").headers["X-Release"] for _ in range(8)}


def instances(project: Project) -> set[str]:
    return {name for name in project.versions() if name.startswith("instance-")}


def verdicts(project: Project) -> list[str]:
    return [entry["event"] for entry in project.record() if entry["event"].startswith("release")]


def database(project: Project) -> psycopg.Connection:
    """The application's, by the administrator of its server."""
    handed_over = json.loads(Layout(project.state).handed_over.read_text())
    facts = json.loads(handed_over[TARGET])["facts"]
    vault = Vault(Layout(project.state).secrets)
    return connect(Server.of(facts), vault, database=facts["database"]["name"])


def operations(preview: str) -> dict[str, str]:
    """Pulumi name → operation of every resource that a JSON preview would change."""
    steps = json.loads(preview)["steps"]
    return {step["urn"].split("::")[-1]: step["op"] for step in steps if step["op"] != "same"}


def test_the_first_up_serves_the_site(site: Project, digests: dict[str, str]) -> None:
    site.have(digests["v1"])
    url = site.url
    page = httpx.get(f"{url}/api/docs/")
    assert page.status_code == 200
    assert page.headers["X-Release"] == "v1"
    assert {httpx.get(f"{url}/healthz/").headers["X-Instance"] for _ in range(20)} == {
        "instance-1",
        "instance-2",
    }
    assert verdicts(site)[-1] == "release succeeded"


def test_an_unchanged_stack_does_nothing_at_all(site: Project, digests: dict[str, str]) -> None:
    site.have(digests["v1"])
    before = site.record()
    pids = {process.pid for process in site.processes()}
    output = site.up()
    assert "unchanged" in output
    assert not any(word in output for word in ("created", "updated", "replaced", "deleted"))
    assert site.record() == before
    assert {process.pid for process in site.processes()} == pids


def test_a_preview_of_a_new_pin_shows_exactly_the_steps_of_the_release(
    site: Project, digests: dict[str, str]
) -> None:
    site.have(digests["v1"])
    site.pin(digests["v2"])
    previewed = site.preview("--json")
    site.environment["RELEVO_APPROVED_PREVIEW"] = other = "0" * 64  # of what somebody else has approved
    refused = site.up(status=None, preview=False)
    del site.environment["RELEVO_APPROVED_PREVIEW"]
    site.pin(digests["v1"])
    assert set(operations(previewed)) - {"relevo-local"} == set(STEPS)
    (shown,) = re.findall("preview digest: ([0-9a-f]{64})", previewed)
    fault = f"RELEVO_APPROVED_PREVIEW is {other}, but this release is {shown}; have its preview approved"
    assert fault in refused
    assert site.record()[-1]["event"] == "attempt refused"
    assert serving(site) == {"v1"}


def test_release_and_rollback_fail_no_request_under_load(site: Project, digests: dict[str, str]) -> None:
    """v1 → v2 → v1, while 16 clients read; two further instances come with v2 and go with it.

    They come last and go first: while each of the two others is replaced, one alone serves. The limit is two
    seconds, and what the machine itself costs: the slowest answer to the same clients in the same minute
    without a release.
    """
    site.have(digests["v1"])
    with Load(site.url, CATALOGUE, seconds=5) as quiet:
        pass
    with Load(site.url, CATALOGUE) as load:
        site.set("instances", 4)
        site.release(digests["v2"], preview=True)
        assert serving(site) == {"v2"}
        assert instances(site) == {f"instance-{number}" for number in range(1, 5)}
        site.set("instances", 2)
        printed = site.run("relevo", "rollback", "--critical", "--stack", site.stack)
        assert serving(site) == {"v1"}
        assert instances(site) == {"instance-1", "instance-2"}
    assert re.search(r"^\[29:\d\d left\] ", printed, re.MULTILINE)
    assert re.search(r"^relevo: rollback to v1: .* of 30 min, within the limit$", printed, re.MULTILINE)
    assert load.measured.failures == 0, load.measured
    assert load.measured.requests > 500, load.measured
    assert load.measured.slowest < 2 + quiet.measured.slowest, (load.measured, quiet.measured)


def test_a_record_without_its_end_is_not_the_one_that_the_state_knows(
    site: Project, digests: dict[str, str]
) -> None:
    site.have(digests["v1"])
    head = site.run("pulumi", "stack", "output", "logbook", "--stack", site.stack).strip()
    verify = ("relevo", "logbook", "verify", "--stack", site.stack)
    assert site.run(*verify).startswith("ok: ")
    file = site.state / "logbook" / "releases.jsonl"
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = next(number for number, line in enumerate(lines) if digest(line.rstrip()) == head)
    file.write_bytes(b"".join(lines[:cut]))
    refused = site.run(*verify, status=1)
    file.write_bytes(whole)
    assert f"line {cut + 1}: no line has the known head {head}" in refused


def test_a_fall_of_a_volume_since_the_release_is_found(site: Project, digests: dict[str, str]) -> None:
    """Loans and audit entries as in each of the weeks before, but for 30 % of the loans since the release."""
    site.have(digests["v1"])
    release = site.last_release()
    assert release is not None
    assert release.closed_at is not None
    moment, week = timedelta(milliseconds=1), timedelta(weeks=1)
    before = datetime.fromisoformat(release.opened_at) - moment
    since = datetime.fromisoformat(release.closed_at) + moment
    usual = [before, *(at - week * number for at in (before, since) for number in range(1, 5))]
    with database(site) as connection:
        connection.execute(
            "INSERT INTO assets_asset (id, smoke, code, name, category) VALUES (-1, false, 'R', 'Drill', '')"
        )
        connection.execute(
            "INSERT INTO employees_employee (id, smoke, number, name, email, active) "
            "VALUES (-1, false, 'R', 'Ada', '', true)"
        )
        for at, loans in [(since, 280), *((at, 400) for at in usual)]:
            connection.execute(
                "INSERT INTO loans_loan (smoke, asset_id, employee_id, assigned_at, returned_at) "
                "SELECT false, -1, -1, %s, %s FROM generate_series(1, %s)",
                (at, at, loans),
            )
            connection.execute(
                "INSERT INTO audit_log "
                "(smoke, at, actor, action, subject_type, subject_id, detail, request_id) "
                "SELECT false, %s, 'ada', 'created', 'loan', -1, '{}', '' FROM generate_series(1, 400)",
                (at,),
            )
    said = site.run("relevo", "review", "--stack", "local", "--now", status=1)
    with database(site) as connection:
        connection.execute("DELETE FROM loans_loan WHERE asset_id = -1")
    assert said.splitlines()[-1].startswith(
        f"review of v1: not stable, so far; it is due at {release.closed_at[:2]}"
    )
    reviewed = site.record()[-1]
    assert (reviewed["event"], reviewed["data"]["early"]) == ("review done", True)
    loans, audit = (reviewed["data"]["volumes"][name] for name in ("loans", "audit entries"))
    assert (loans["verdict"], loans["found"], loans["change_percent"]) == ("not stable", 280, -30.0)
    assert (loans["before"], loans["weeks"]) == (400, [400] * 4)
    assert (audit["verdict"], audit["found"]) == ("stable", 400)
    assert "not stable, so far; due at 20" in site.run("relevo", "status", "--stack", "local")


def test_a_broken_release_stops_where_it_should_and_the_old_version_serves(
    site: Project, digests: dict[str, str]
) -> None:
    """Each on what the one before has left; then what served is released again."""
    site.have(digests["v1"])
    told = site.state / "notifications.log"
    for tag, step in (
        ("broken-check", "check"),
        ("broken-start", "roll-instance-1"),
        ("slow", "roll-instance-1"),
        ("broken-migration", "migrate"),
    ):
        if tag == "slow":
            site.set("limits", {"readySeconds": 15})  # it is never ready
        site.pin(digests[tag])
        with Load(site.url, CATALOGUE, clients=FEW) as load:
            output = site.up(status=1, preview=False)
            assert serving(site) == {"v1"}, tag
        site.unset("limits")
        assert load.measured.failures == 0, (tag, load.measured)
        failed = [entry for entry in site.record() if entry["event"] == "step failed"][-1]
        assert failed["step"] == step, tag
        assert failed["error"] in output
        assert verdicts(site)[-1] == "release failed"
        assert failed["error"] in json.loads(told.read_text().splitlines()[-1])["body"]
    site.release(digests["v1"])
    assert verdicts(site)[-1] == "release succeeded"
    assert serving(site) == {"v1"}


def test_a_broken_release_comes_back_by_itself_and_proposes_the_pin(
    site: Project, digests: dict[str, str]
) -> None:
    """In a git clone whose commit pins the broken release; the old version serves throughout."""
    site.have(digests["v1"])
    site.set("onFailure", "rollback")
    initialise(site.folder)
    site.pin(digests["broken-smoke"])
    git(site.folder, "add", site.configuration.name)
    git(site.folder, "commit", "--quiet", "--message", "Release broken-smoke")
    with Load(site.url, CATALOGUE, clients=FEW) as load:
        output = site.up(status=1, preview=False)
        assert serving(site) == {"v1"}
    site.unset("onFailure")
    assert load.measured.failures == 0, load.measured
    failed, back = record.releases(record.parse(site.record_as_it_is()))[-2:]
    assert (failed.version, failed.verdict) == ("broken-smoke", "failed")
    assert failed.failed_step == "roll-instance-1"
    assert (back.version, back.verdict, back.kind) == ("v1", "succeeded", "recovery")
    assert failed.error is not None
    assert "assign" in failed.error

    branch = f"relevo/rollback-local-{failed.id}"
    assert f"is committed on branch {branch}" in output
    proposed = git(site.folder, "diff", "--unified=0", "HEAD", branch)
    assert [line for line in proposed.splitlines() if line.startswith(("-  ", "+  "))] == [
        f"-  relevo:image: {digests['broken-smoke']}",
        f"+  relevo:image: {digests['v1']}",
    ]
    text = (site.folder / ".relevo" / f"{branch.replace('/', '-')}.md").read_text()
    assert text.startswith("Roll local back to v1: broken-smoke failed in roll-instance-1\n")
    assert failed.error in text
    assert "unchanged" in site.up()  # what is pinned is what serves


def test_a_schema_that_the_version_before_cannot_read_stops_before_an_instance_is_replaced(
    site: Project, digests: dict[str, str]
) -> None:
    """Django does not know what SQL does to the code that serves: a scratch instance of it is asked."""
    site.have(digests["v1"])
    site.pin(digests["breaks-reading"])
    with Load(site.url, CATALOGUE, clients=FEW) as load:
        with up_in_step(site, "previous-version") as up:  # what is left of a killed one must not last
            while "previous" not in site.versions():
                assert up.poll() is None
        output = site.up(status=1, preview=False)
        assert serving(site) == {"v1"}
    assert load.measured.failures == 0, load.measured
    failed = site.last_release()
    assert failed is not None
    assert failed.failed_step == "previous-version"
    assert failed.error is not None
    assert failed.error in output
    assert failed.error.startswith(
        'v1, which still serves, fails on the schema of breaks-reading ("the catalogue'
    )
    assert "relevo:acceptIncompatible: breaks-reading" in failed.error
    (finding,) = failed.done["preflight"]["lint"]
    assert [(lock["table"], lock["blocks"]) for lock in finding["locks"]] == [
        ("assets_asset", "reads and writes")
    ]
    assert "column assets_asset.category does not exist" in site.run(
        "relevo", "logs", "previous", "--stack", "local"
    )
    assert "previous" not in site.versions()
    assert not (site.state / "programs" / "previous.conf").exists()

    site.set("onFailure", "rollback")  # v1 serves as before, but not what its catalogue needs
    site.run("relevo", "recover", "--stack", "local")
    site.unset("onFailure")
    back = site.last_release()
    assert back is not None
    assert (back.version, back.verdict, back.kind) == ("v1", "succeeded", "recovery")
    assert back.done["rewind"]["reversed"] == ["assets.0002_rename_category_column"]

    site.pin(digests["breaks-reading"])
    site.set("acceptIncompatible", "breaks-reading")
    output = site.up(preview=False)
    site.unset("acceptIncompatible")
    assert "accepted by relevo:acceptIncompatible: v1, which still serves, fails" in output
    assert serving(site) == {"breaks-reading"}
    release = site.last_release()
    assert release is not None
    asked = release.done["previous-version"]["asked"]
    assert [(one["version"], one["fault"] is None) for one in asked] == [("v1", False)]
