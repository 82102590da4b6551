"""The database of the application: one of the stack's resources, guarded as what it holds."""

from __future__ import annotations

import base64
import json
from typing import Any

from components.azure.database_role import DatabaseRole, DatabaseRoleArgs
from tests.unit.azure.stand_in import StandInEngine, place

ID = (
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-assets-prod/providers/"
    "Microsoft.DBforPostgreSQL/flexibleServers/psql-assets-prod/databases/assets"
)


def built(**where: Any) -> StandInEngine:
    engine = StandInEngine()
    engine.build(
        lambda: DatabaseRole(
            "database-role",
            DatabaseRoleArgs(
                place=place(**where),
                database="assets",
                user="assets_app",
                password_versions={"a": "v7", "b": "v8"},
                image="cr/assets@sha256:0",
                facts={"b": 1, "a": 2},
            ),
        )
    )
    return engine


def test_its_id_is_the_database_in_arm() -> None:
    made = built().made["database-role-database"]
    assert made.type == "pulumi-python:dynamic/relevo:OwnedDatabase"
    inputs = {name: value for name, value in made.inputs.items() if name != "__provider"}
    assert json.loads(inputs.pop("facts")) == {"b": 1, "a": 2}
    assert inputs == {
        "database": ID,
        "user": "assets_app",
        "password_versions": {"a": "v7", "b": "v8"},
        "image": "cr/assets@sha256:0",
    }


def test_the_state_has_it_by_its_name_and_not_its_code() -> None:
    """Else each change of a line there would be a change of the resource."""
    provider = base64.b64decode(built().made["database-role-database"].inputs["__provider"])
    assert b"components.azure.database_role" in provider
    assert len(provider) < 150


def test_a_guarded_one_is_kept_and_the_backups_of_its_server_can_go() -> None:
    """A lock on the server would be inherited by the backups of each release, which rotate."""
    engine = built(guard=True)
    assert engine.made["database-role-database"].guarded
    (lock,) = engine.of_type("authorization:ManagementLockByScope").values()
    assert lock.inputs["scope"] == "database-role-database-id"
    assert engine.of_type("authorization:ManagementLockByScope").keys() == {"database-role-lock"}
    assert not built().of_type("authorization:ManagementLockByScope")
