"""The database and its role: a job that is run when the password or the place is another, and else never."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.azure.database_role import OwnedDatabaseProvider
from components.target import TargetError
from tests.azure.arm_stand_in import ArmStandIn, Command

ID = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.DBforPostgreSQL/flexibleServers/p/databases/assets"
)


@pytest.fixture
def inputs(facts: dict[str, Any], images: list[str]) -> dict[str, Any]:
    return {
        "database": ID,
        "user": "assets",
        "password_versions": {"a": "1", "b": "1"},
        "image": images[0],
        "facts": json.dumps(facts),
    }


def test_the_job_comes_as_the_administrator_and_gets_the_passwords_from_the_vault(
    facts: dict[str, Any], inputs: dict[str, Any], azure: ArmStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.commands = lambda words: Command(["assets belongs to assets"])
    made = OwnedDatabaseProvider().create(inputs)

    assert (made.id, made.outs) == (ID, inputs)
    (execution,) = azure.jobs["caj-manage"]
    assert execution.words == ["role"]
    assert execution.container.image == f"crassetstest.azurecr.io/{inputs['image']}"
    environment = execution.environment
    assert environment["PGUSER"] == "id-assets-test-jobs"
    assert environment["PGSSLMODE"] == "verify-full"
    assert environment["RELEVO_ROLE"] == "assets"
    for login in ("a", "b"):
        assert environment[f"RELEVO_PASSWORD_{login.upper()}"] == (
            f"@Microsoft.KeyVault(SecretUri={facts['vault']['uri']}/secrets/database-password-{login}/)"
        )
    assert "PGPASSWORD" not in environment
    assert not [value for value in environment.values() if "value-of-" in value]
    assert capsys.readouterr().out == ""  # which the engine reads


def test_what_somebody_has_changed_on_the_server_is_put_right_by_another_run(
    inputs: dict[str, Any], azure: ArmStandIn
) -> None:
    azure.commands = lambda words: Command(["done"])
    provider = OwnedDatabaseProvider()
    provider.create(inputs)
    provider.update(ID, inputs, inputs)
    assert len(azure.jobs["caj-manage"]) == 2


@pytest.mark.parametrize(
    ("changed", "again", "replaced"),
    [
        ({}, False, []),
        ({"image": "assets@sha256:1"}, False, []),
        ({"facts": "{}"}, False, []),
        ({"password_versions": {"a": "1", "b": "2"}}, True, []),
        ({"user": "other"}, True, []),
        ({"database": f"{ID}2"}, True, ["database"]),
    ],
    ids=str,
)
def test_only_another_password_role_or_database_is_a_reason(
    inputs: dict[str, Any], changed: dict[str, str], again: bool, replaced: list[str]
) -> None:
    found = OwnedDatabaseProvider().diff(ID, inputs, {**inputs, **changed})
    assert (found.changes, found.replaces) == (again, replaced)


def test_a_refusal_of_the_job_is_the_error(inputs: dict[str, Any], azure: ArmStandIn) -> None:
    azure.commands = lambda words: Command(["relevo:database.user is app, but taken; rename it."], status=1)
    with pytest.raises(TargetError, match=r"^assets has no database yet, .*: relevo:database\.user is app, "):
        OwnedDatabaseProvider().create(inputs)


def test_an_image_that_the_registry_has_not_is_told_before_a_job_is_started(
    inputs: dict[str, Any], azure: ArmStandIn
) -> None:
    with pytest.raises(TargetError, match="has no such artefact; build and push it"):
        OwnedDatabaseProvider().create({**inputs, "image": f"assets@sha256:{'0' * 64}"})
    assert azure.jobs["caj-manage"] == []
