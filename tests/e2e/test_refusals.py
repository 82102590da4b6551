"""What must not be released is refused in one line, before anything has changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from components.local.layout import Layout
from components.local.postgres import connect
from components.local.server import Server
from components.local.vault import Vault
from tests.e2e.commits import git, initialise
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(
    new_project: Callable[..., Project], configuration: dict[str, Any], digests: dict[str, str]
) -> Project:
    """v2, released, with some rows. The tests go on from it, in their order, to v3 and v4."""
    project = new_project("refusals", configuration)
    project.release(digests["v2"])
    for code in ("r-1", "r-2", "r-3"):
        write(project, code, "of v2")
    return project


def query(project: Project, text: str, *values: Any, database: str = "app") -> list[tuple[Any, ...]]:
    layout = Layout(project.state.resolve())
    port = json.loads(layout.ports.read_text())["database"]
    with connect(Server(port=port), Vault(layout.secrets), database=database) as connection:
        cursor = connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []


def write(project: Project, code: str, name: str) -> None:
    query(
        project,
        "INSERT INTO assets_asset (code, name, category, smoke) VALUES (%s, %s, '', false) "
        "ON CONFLICT (code) DO UPDATE SET name = excluded.name",
        code,
        name,
    )


def written(project: Project, database: str = "app") -> dict[str, str]:
    """What these tests have written: code → name."""
    found = "SELECT code, name FROM assets_asset WHERE upper(code) LIKE 'R-%%'"
    return dict(query(project, found, database=database))


def databases(project: Project) -> set[str]:
    return {name for (name,) in query(project, "SELECT datname FROM pg_database")}


def with_variable(configuration: dict[str, Any], **variables: str | None) -> dict[str, Any]:
    environment = {**configuration["app"]["environment"], **variables}
    kept = {name: value for name, value in environment.items() if value is not None}
    return {**configuration["app"], "environment": kept}


HOSTILE: list[tuple[str, Any, str]] = [
    ("instances", 1, "relevo:instances is 1, but a rolling release needs at least 2; raise it."),
    ("instnaces", 2, "relevo:instnaces is not a key, but only"),
    ("smoke", "nowhere.yaml", "relevo:smoke is nowhere.yaml, but it cannot be read"),
    ("image", "latest", 'relevo:image is "latest", but a digest'),
    (
        "database",
        {"binaries": "/nowhere"},
        "relevo:database.binaries is /nowhere, but there is no initdb in it;",
    ),
]


@pytest.mark.parametrize(("key", "value", "expected"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_bad_configuration_changes_nothing(site: Project, key: str, value: Any, expected: str) -> None:
    text, record, state = site.configuration.read_text(), site.record(), site.exported
    site.set(key, value)
    try:
        output = site.up(status=None)
        assert expected in output
        assert "Traceback" not in output
    finally:
        site.configuration.write_text(text)
    assert site.record() == record
    assert site.exported == state
    assert set(site.versions().values()) == {"v2"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"DEBUG": "true"}, "DEBUG is on"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS has a wildcard"),
        ({"DATABASE_URL": "postgres://app@127.0.0.1:1/elsewhere"}, "'elsewhere'"),
        ({"REDIS_URL": None}, "REDIS_URL"),
    ],
    ids=["debug", "wildcard", "other database", "missing variable"],
)
def test_unsafe_settings_are_refused_by_preflight(
    site: Project, configuration: dict[str, Any], variables: dict[str, str | None], expected: str
) -> None:
    text = site.configuration.read_text()
    site.set("app", with_variable(configuration, **variables))
    try:
        output = site.up(status=1, preview=False)
    finally:
        site.configuration.write_text(text)
    assert expected in output
    failed = [entry for entry in site.record() if entry["event"] == "step failed"][-1]
    assert failed["step"] == "preflight"
    assert expected in failed["error"]
    assert set(site.versions().values()) == {"v2"}
    assert httpx.get(f"{site.url}/readyz/").status_code == 200


def test_a_migration_that_breaks_the_running_version_needs_to_be_accepted(
    site: Project, digests: dict[str, str]
) -> None:
    commit_pin(site, "Release v2", first=True)
    output = site.release(digests["v3"], status=1)
    assert "relevo:acceptIncompatible: v3" in output
    assert set(site.versions().values()) == {"v2"}

    site.set("acceptIncompatible", "v3")
    commit_pin(site, "Release v3")
    site.up(preview=False)
    assert set(site.versions().values()) == {"v3"}


def test_a_git_revert_of_the_pin_is_the_whole_rollback(site: Project, digests: dict[str, str]) -> None:
    """v2 cannot run on what v3 has renamed: v3 takes it back. Reverting the revert releases v3 again."""
    git(site.folder, "revert", "--no-edit", "HEAD", day=2)
    assert digests["v2"] in site.configuration.read_text()
    rewind = "REWIND: v3 reverses assets.0003_rename_location (migrate assets 0002_asset_location)"
    told = site.preview()
    assert f"schema: {rewind}, and requests may fail from then until" in told
    assert columns(site) >= {"site"}, "a preview changes nothing"

    assert f"schema knows the way back: {rewind}" in site.up(preview=False)
    assert set(site.versions().values()) == {"v2"}
    assert httpx.get(f"{site.url}/readyz/").status_code == 200
    assert columns(site) >= {"location"}
    assert set(written(site).values()) == {"of v2"}
    release = site.last_release()
    assert release is not None
    assert release.done["rewind"]["reversed"] == ["assets.0003_rename_location"]

    git(site.folder, "revert", "--no-edit", "HEAD", day=3)
    assert "schema: migrate applies assets.0003_rename_location (breaking)" in site.up()
    assert set(site.versions().values()) == {"v3"}
    site.unset("acceptIncompatible")


def test_a_rehearsal_leaves_the_stack_as_it_is_and_tells_how_long_going_back_takes(site: Project) -> None:
    """On a copy, with the stack's own two artefacts and its data."""
    record, running = site.record_as_it_is(), site.versions()
    said = site.run("relevo", "rehearse", "--stack", site.stack, timeout=600)

    table = said[said.rindex("release of v3 ") :]  # as its headings begin
    cells = {line.split()[-1]: line.split()[:-1] for line in table.splitlines()}
    assert cells.keys() >= {"preflight", "backup", "rewind", "migrate", "roll-instance-2", "smoke"}
    assert "of 30 min, within the limit" in table
    assert (site.record_as_it_is(), site.versions()) == (record, running)
    assert not (site.folder / ".relevo" / "rehearsal").exists()
    assert httpx.get(f"{site.url}/readyz/").status_code == 200


def commit_pin(site: Project, message: str, *, first: bool = False) -> None:
    """The stack's configuration alone, in a repository of its own."""
    if first:
        initialise(site.folder)
    git(site.folder, "add", site.configuration.name)
    git(site.folder, "commit", "--quiet", f"--message={message}")


def columns(site: Project) -> set[str]:
    rows = query(site, "SELECT column_name FROM information_schema.columns WHERE table_name = 'assets_asset'")
    return {name for (name,) in rows}


def test_two_releases_at_once_are_refused_by_the_engines_lock(site: Project, digests: dict[str, str]) -> None:
    site.pin(digests["v4"])
    first = site.start(*site.up_command(preview=False))
    try:
        before = len(site.record())
        while len(site.record()) == before:
            assert first.poll() is None
        second = site.up(status=None, preview=False)
    finally:
        output, _ = first.communicate(timeout=300)
    assert "locked" in second
    assert first.returncode == 0, output
    assert site.record()[-1]["event"] in ("step done", "notified")
    assert set(site.versions().values()) == {"v4"}


def test_a_rollback_over_a_migration_that_cannot_be_reversed_is_refused(
    site: Project, digests: dict[str, str]
) -> None:
    output = site.release(digests["v3"], status=1)
    assert "cannot be reversed" in output
    assert set(site.versions().values()) == {"v4"}


def test_a_restore_goes_back_over_it_and_can_be_undone(
    site: Project, configuration: dict[str, Any], digests: dict[str, str]
) -> None:
    """v3 was refused on the schema of v4, which has made all codes upper case."""
    before = dict.fromkeys(("r-1", "r-2", "r-3"), "of v2")
    photo = site.state / "media" / "photos" / "desk.jpg"
    photo.parent.mkdir()
    photo.write_text("since v4")
    write(site, "R-1", "since v4")
    write(site, "R-4", "since v4")
    query(site, "DELETE FROM assets_asset WHERE code = 'R-2'")
    after, known = written(site), databases(site)

    said = site.run("relevo", "restore", "--yes", "--stack", site.stack)
    assert re.search(r"public\.assets_asset +1 +2 +1\n", said), said
    assert re.search(r"media +1 +0 +0\n", said), said
    assert "migrations that go: assets.0004_upper_case_codes\n" in said
    assert written(site) == before
    assert not photo.exists()
    (kept,) = databases(site) - known
    assert written(site, kept) == after

    site.set("backup", {**configuration.get("backup", {}), "drill": True})
    site.up(preview=False)
    assert set(site.versions().values()) == {"v3"}
    assert httpx.get(f"{site.url}/readyz/").status_code == 200
    assert written(site) == before
    release = site.last_release()
    assert release is not None
    drill = release.done["drill"]
    assert (drill["backup"], drill["fault"]) == (release.done["backup"]["name"], None)
    assert drill["rows"] > len(before)
    assert f"and {digests['v3']} has nothing to migrate" in site.run("relevo", "drill", "--stack", site.stack)

    site.run("relevo", "restore", "--undo", "--yes", "--stack", site.stack)
    assert (written(site), photo.read_text()) == (after, "since v4")
    assert digests["v4"] in site.configuration.read_text()
    (restored,) = databases(site) - known
    site.run("relevo", "restore", "--drop", restored.rpartition("_")[2], "--yes", "--stack", site.stack)
    assert databases(site) == known
    assert not list(site.state.glob("media.*"))

    ends = ("restore done", "drill done", "kept database dropped")
    told = [entry for entry in site.record() if entry["event"] in ends]
    assert [entry["event"] for entry in told] == [*ends[:2], "drill done", "restore done", ends[2]]
    assert told[0]["data"]["kept"] == kept
    lost = {change["table"]: change for change in told[0]["data"]["lost"]}["public.assets_asset"]
    assert (lost["inserted"], lost["updated"], lost["deleted"]) == (1, 2, 1)
