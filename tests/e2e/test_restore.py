"""A way back that Django does not have: a backup in place of the database, and back again."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from components.local.layout import Layout
from components.local.postgres import connect
from components.local.server import Server
from components.local.vault import Vault
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

PHOTO = "photos/desk.jpg"


def query(project: Project, text: str, *values: Any, database: str = "app") -> list[tuple[Any, ...]]:
    layout = Layout(project.state.resolve())
    port = json.loads(layout.ports.read_text())["database"]
    with connect(Server(port=port), Vault(layout.secrets), database=database) as connection:
        cursor = connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []


def assets(project: Project, database: str = "app") -> dict[str, str]:
    """Those that this test has written: code → name."""
    found = query(project, "SELECT code, name FROM assets_asset WHERE code LIKE 'R-%%'", database=database)
    return dict(found)


def write(project: Project, code: str, name: str) -> None:
    query(
        project,
        "INSERT INTO assets_asset (code, name, category, smoke) VALUES (%s, %s, '', false) "
        "ON CONFLICT (code) DO UPDATE SET name = excluded.name",
        code,
        name,
    )


def databases(project: Project) -> set[str]:
    return {name for (name,) in query(project, "SELECT datname FROM pg_database")}


def test_a_backup_takes_the_place_of_a_schema_that_cannot_be_reversed_and_gives_it_back(
    site: Project, digests: dict[str, str]
) -> None:
    site.have(digests["v1"])
    photo = site.state / "media" / PHOTO
    photo.parent.mkdir(exist_ok=True)
    photo.write_text("of v1")
    for code in ("R-1", "R-2", "R-3"):
        write(site, code, "of v1")
    before = assets(site)
    site.set("acceptIncompatible", "v4")
    site.release(digests["v4"])
    site.unset("acceptIncompatible")
    release = site.last_release()
    assert release is not None

    write(site, "R-1", "of v4")
    write(site, "R-4", "of v4")
    query(site, "DELETE FROM assets_asset WHERE code = 'R-2'")
    photo.write_text("of v4, and longer")
    after = assets(site)

    site.pin(digests["v1"])
    refusal = site.up(status=None, preview=False)
    assert f"restore the backup {release.id}" in refusal

    known = databases(site)
    said = site.run("relevo", "restore", "--yes", "--stack", site.stack)
    assert re.search(r"public\.assets_asset +1 +1 +1  and the values of site", said), said
    assert re.search(r"media +0 +1 +0", said), said
    assert "migrations that go: assets.0002_asset_location, assets.0003_rename_location, assets.0004" in said
    assert assets(site) == before
    assert photo.read_text() == "of v1"
    (kept,) = databases(site) - known
    assert assets(site, kept) == after

    site.up(preview=False)
    assert set(site.versions().values()) == {"v1"}
    assert httpx.get(f"{site.url}/readyz/").status_code == 200
    assert assets(site) == before

    site.run("relevo", "restore", "--undo", "--yes", "--stack", site.stack)
    assert (assets(site), photo.read_text()) == (after, "of v4, and longer")
    assert digests["v4"] in site.configuration.read_text()
    site.run("relevo", "restore", "--undo", "--yes", "--stack", site.stack)
    assert (assets(site), photo.read_text()) == (before, "of v1")
    assert digests["v1"] in site.configuration.read_text()

    (aside,) = databases(site) - known
    id = aside.rpartition("_")[2]
    assert id in site.run("relevo", "restore", "--list", "--stack", site.stack)
    site.run("relevo", "restore", "--drop", id, "--stack", site.stack)
    assert databases(site) == known
    assert not list(site.state.glob("media.*"))

    drilled = site.run("relevo", "drill", "--stack", site.stack)
    assert f"and {digests['v1']} has nothing to migrate" in drilled
    assert databases(site) == known
    told = [entry for entry in site.record() if entry["event"] in ("restore done", "drill done")]
    assert [entry["event"] for entry in told] == [*["restore done"] * 3, "drill done"]
    assert told[0]["data"]["backup"] == release.id
    assert told[0]["data"]["kept"] == kept
    lost = {change["table"]: change for change in told[0]["data"]["lost"]}["public.assets_asset"]
    assert (lost["inserted"], lost["updated"], lost["deleted"]) == (1, 1, 1)
