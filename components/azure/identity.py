"""Identities without a password, and what they may do: the least role at the narrowest scope."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_azure_native import authorization, managedidentity

from components.azure.place import Place

Role = Literal[
    "AcrPull",
    "Key Vault Secrets User",
    "Monitoring Metrics Publisher",
    "Storage Blob Data Contributor",
]
# Role definition ids, the same in every tenant ("Azure built-in roles").
ROLES: dict[Role, str] = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
}
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://relevo.dev/role-assignment")


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    """`role`: whose identity it is, "app" or "jobs"; a part of its name."""

    place: Place
    role: str


class Identity(pulumi.ComponentResource):
    """A user-assigned identity: it outlives the sites that use it, and has its roles before they start."""

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Identity", name, None, opts)
        place = args.place
        identity = managedidentity.UserAssignedIdentity(
            f"{name}-identity",
            resource_name_=place.names.of("id", args.role),
            resource_group_name=place.resource_group,
            location=place.location,
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.id = identity.id
        self.client_id = identity.client_id
        self.principal_id = identity.principal_id
        self.register_outputs({"id": self.id, "client_id": self.client_id, "principal_id": self.principal_id})


def grant(
    parent: pulumi.Resource,
    name: str,
    place: Place,
    *,
    principal: pulumi.Input[str],
    role: Role,
    scope: pulumi.Input[str],
) -> authorization.RoleAssignment:
    """Let `principal` (the object id of an identity) act as `role` on `scope` (a resource id) and below."""
    definition = ROLES[role]
    return authorization.RoleAssignment(
        name,
        role_assignment_name=pulumi.Output.all(scope, principal).apply(
            lambda known: assignment_name(scope=known[0], principal=known[1], role=definition)
        ),
        scope=scope,
        principal_id=principal,
        # Given, so that Azure does not look for a principal that may be too new to be found ("Add Azure role
        # assignments using Azure Resource Manager templates").
        principal_type=authorization.PrincipalType.SERVICE_PRINCIPAL,
        role_definition_id=(
            f"/subscriptions/{place.subscription}/providers/Microsoft.Authorization/roleDefinitions/{definition}"
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def assignment_name(*, scope: str, principal: str, role: str) -> str:
    """A UUID, the same for the same grant: an `up` that was killed finds its assignment again."""
    return str(uuid.uuid5(NAMESPACE, f"{scope.lower()}|{principal}|{role}"))
