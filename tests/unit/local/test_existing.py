"""Whether a stack can be kept in a PostgreSQL that was there before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.local.existing import Survey, examine, fault
from components.local.layout import Layout
from components.local.server import Server
from components.local.vault import Vault
from components.target import TargetError

SERVER = Server(host="db", port=5432, role="admin", secret="ADMIN", sslmode="prefer")
GOOD = Survey(
    version=18,
    standby=False,
    max_connections=100,
    makes_databases=True,
    makes_roles=True,
    owner=None,
    stranger=None,
    encrypted=False,
    tools=18,
    bundled=True,
)


@pytest.mark.parametrize(
    ("found", "user"),
    [
        ({}, "app"),
        ({"owner": "app"}, "app"),
        ({"version": 14, "tools": 14, "bundled": False}, "app"),
        ({"encrypted": True, "bundled": False}, "app"),
        ({"owner": "admin", "makes_roles": False}, "admin"),
    ],
    ids=["empty", "made before", "the oldest", "by TLS", "its own role"],
)
def test_a_server_that_can_be_used_has_no_fault(found: dict[str, Any], user: str) -> None:
    assert fault(replace(GOOD, **found), SERVER, name="app", user=user) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"version": 13}, "relevo:database.server is db:5432, which is PostgreSQL 13, but at least 14 is"),
        ({"standby": True}, "relevo:database.server is db:5432, which is a standby that takes no writes;"),
        (
            {"version": 19},
            "relevo:database.server is db:5432, which is PostgreSQL 19, but pg_dump is of version 18 and "
            "backups need the server's own; set relevo:database.binaries to the bin folder of a PostgreSQL "
            "19.",
        ),
        ({"version": 16}, "set relevo:database.binaries to the bin folder of a PostgreSQL 16."),
        (
            {"encrypted": True},
            "which is reached by TLS (sslmode=prefer), but the bundled pg_dump knows none; set "
            "relevo:database.binaries to the bin folder of a PostgreSQL 18 that does, or ask for "
            "sslmode=disable.",
        ),
        ({"stranger": "wrong password"}, "relevo:database.user is app, but db:5432 has a role of that name"),
        ({"owner": "other"}, "relevo:database.name is app, but that database on db:5432 belongs to other"),
        ({"makes_databases": False}, "but each backup is verified in one; ALTER ROLE admin CREATEDB."),
        ({"makes_roles": False}, "ALTER ROLE admin CREATEROLE, or set relevo:database.user to admin."),
    ],
)
def test_a_server_that_cannot_be_used_is_refused_in_one_line(found: dict[str, Any], expected: str) -> None:
    told = fault(replace(GOOD, **found), SERVER, name="app", user="app")
    assert told is not None
    assert expected in told
    assert "\n" not in told


def refusal(state: Path, server: Server = SERVER, **changes: str) -> str:
    with pytest.raises(TargetError) as caught:
        examine(server, state=state, binaries=None, **{"name": "app", "user": "app", **changes})
    return str(caught.value)


def test_a_server_is_not_asked_without_its_password(tmp_path: Path) -> None:
    assert "relevo secret set ADMIN" in refusal(tmp_path)


def test_a_server_that_does_not_answer_is_named_with_what_can_be_done(tmp_path: Path) -> None:
    Vault(Layout(tmp_path).secrets).write("ADMIN", "hunter2hunter2")
    told = refusal(tmp_path, replace(SERVER, host="127.0.0.1", port=1))
    assert told.startswith("relevo:database.server is 127.0.0.1:1, but it does not let admin in (connection")
    assert told.endswith("run relevo secret set ADMIN.")
    assert "hunter2" not in told


def test_reserved_names_are_refused_there_as_well(tmp_path: Path) -> None:
    assert refusal(tmp_path, name="postgres").startswith("relevo:database.name is postgres, which")


def test_rows_in_a_server_of_the_stacks_own_are_not_left_behind(tmp_path: Path) -> None:
    """Otherwise the site would come up empty, and the old server would stop under the running version."""
    (tmp_path / "database" / "data").mkdir(parents=True)
    (tmp_path / "database" / "data" / "PG_VERSION").write_text("18\n")
    assert f"has its rows in {tmp_path}/database/data; take them over" in refusal(tmp_path)
