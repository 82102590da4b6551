"""Identities, and the roles that they are given."""

from __future__ import annotations

import uuid
from typing import get_args

import pulumi

from components.azure.identity import ROLES, Identity, IdentityArgs, Role, assignment_name, grant
from tests.unit.azure.stand_in import TAGS, StandInEngine, place


def test_an_identity_is_named_by_whose_it_is(engine: StandInEngine) -> None:
    engine.outputs["jobs-identity"] = {"clientId": "client-id", "principalId": "principal-id"}
    identity = engine.build(lambda: Identity("jobs", IdentityArgs(place=place(), role="jobs")))

    made = engine.made["jobs-identity"]
    assert made.type == "azure-native:managedidentity:UserAssignedIdentity"
    assert made.inputs == {
        "resourceName": "id-assets-prod-jobs",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "tags": TAGS,
    }
    assert engine.value(identity.id) == "jobs-identity-id"
    assert engine.value(identity.client_id) == "client-id"
    assert engine.value(identity.principal_id) == "principal-id"


def test_a_role_is_given_by_its_id_at_one_scope(engine: StandInEngine) -> None:
    def program() -> None:
        parent = pulumi.ComponentResource("relevo:test:Component", "registry")
        grant(
            parent,
            "registry-app-pulls",
            place(),
            principal="principal-id",
            role="AcrPull",
            scope="registry-id",
        )

    engine.build(program)
    granted = engine.made["registry-app-pulls"]
    assert granted.type == "azure-native:authorization:RoleAssignment"
    assert granted.parent == "registry"
    assert granted.inputs == {
        "roleAssignmentName": assignment_name(
            scope="registry-id", principal="principal-id", role=ROLES["AcrPull"]
        ),
        "scope": "registry-id",
        "principalId": "principal-id",
        "principalType": "ServicePrincipal",
        "roleDefinitionId": (
            "/subscriptions/11111111-1111-1111-1111-111111111111/providers/Microsoft.Authorization"
            "/roleDefinitions/7f951dda-4ed3-4680-a7ca-43fe172d538d"
        ),
    }


def test_the_same_grant_has_the_same_name_and_no_other_has_it() -> None:
    scope, principal, role = "/subscriptions/S/resourceGroups/g", "p", ROLES["AcrPull"]
    name = assignment_name(scope=scope, principal=principal, role=role)
    assert str(uuid.UUID(name)) == name
    assert name == assignment_name(scope=scope.lower(), principal=principal, role=role)
    others = {
        assignment_name(scope=f"{scope}/more", principal=principal, role=role),
        assignment_name(scope=scope, principal="q", role=role),
        assignment_name(scope=scope, principal=principal, role=ROLES["Key Vault Secrets User"]),
    }
    assert len(others | {name}) == 4


def test_every_role_has_an_id_of_its_own() -> None:
    assert set(ROLES) == set(get_args(Role))
    assert len({str(uuid.UUID(role)) for role in ROLES.values()}) == len(ROLES)
