"""What the stand-in plugin refuses, as Azure or its provider would: a preview on it is worth no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from tests.azure import sdk
from tests.azure.faults import faults
from tests.azure.stand_in import SUBSCRIPTION, TENANT, StandInAzure
from tests.azure.stand_in_plugin import StandInPlugin

Inputs = dict[str, Any]

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-assets-qa"
PLAN = f"{GROUP}/providers/Microsoft.Web/serverfarms/asp-assets-qa"
ROLES = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
WORKSPACE = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/log-assets-qa"
IN_GROUP = {"resourceGroupName": "rg-assets-qa", "location": "westeurope"}

GOOD: Mapping[str, Inputs] = {
    "resources:ResourceGroup": {"resourceGroupName": "rg-assets-qa", "location": "westeurope"},
    "keyvault:Vault": {
        **IN_GROUP,
        "vaultName": "kv-assets-qa",
        "properties": {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}},
    },
    "storage:StorageAccount": {
        **IN_GROUP,
        "accountName": "stassetsqa",
        "kind": "StorageV2",
        "sku": {"name": "Standard_ZRS"},
        "networkRuleSet": {"defaultAction": "Deny", "ipRules": [{"iPAddressOrRange": "203.0.113.7"}]},
    },
    "storage:BlobContainer": {
        "resourceGroupName": "rg-assets-qa",
        "accountName": "stassetsqa",
        "containerName": "backups",
    },
    "web:WebApp": {
        **IN_GROUP,
        "name": "app-assets-qa-1",
        "serverFarmId": PLAN,
        "kind": "app,linux,container",
        "reserved": True,
        "siteConfig": {"alwaysOn": True, "minTlsVersion": "1.2", "healthCheckPath": "/readyz/"},
    },
    "web:AppServicePlan": {
        **IN_GROUP,
        "name": "asp-assets-qa",
        "kind": "linux",
        "reserved": True,
        "sku": {"name": "P0v3", "capacity": 1},
    },
    "dbforpostgresql:Server": {
        **IN_GROUP,
        "serverName": "psql-assets-qa",
        "version": "17",
        "sku": {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"},
        "storage": {"storageSizeGB": 64},
        "availabilityZone": "1",
    },
    "monitor:DiagnosticSetting": {"name": "to-workspace", "resourceUri": PLAN, "workspaceId": WORKSPACE},
    "authorization:RoleAssignment": {
        "roleAssignmentName": "5e8ad9a4-1a10-4b46-9d1c-3d9f1c4f0a11",
        "scope": GROUP,
        "principalId": "5e8ad9a4-1a10-4b46-9d1c-3d9f1c4f0a12",
        "principalType": "ServicePrincipal",
        "roleDefinitionId": f"{ROLES}/7f951dda-4ed3-4680-a7ca-43fe172d538d",
    },
    "cdn:AFDOrigin": {
        "resourceGroupName": "rg-assets-qa",
        "profileName": "afd-assets-qa",
        "originGroupName": "app",
        "originName": "instance-1",
        "hostName": "app-assets-qa-1.azurewebsites.net",
        "originHostHeader": "app-assets-qa-1.azurewebsites.net",
    },
    "cdn:Rule": {
        "resourceGroupName": "rg-assets-qa",
        "profileName": "afd-assets-qa",
        "ruleSetName": "verify",
        "ruleName": "hide",
        "order": 1,
        "actions": [
            {
                "name": "ModifyRequestHeader",
                "parameters": {
                    "typeName": "DeliveryRuleHeaderActionParameters",
                    "headerAction": "Delete",
                    "headerName": "X-Relevo-Verify",
                },
            }
        ],
    },
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_azure_takes_has_no_fault(kind: str) -> None:
    assert faults(sdk.resource(f"azure-native:{kind}"), GOOD[kind]) == []


LEFT_OUT: Any = object()


@pytest.mark.parametrize(
    ("kind", "path", "value", "reason"),
    [
        # what the SDK's types say
        ("web:WebApp", "reserved", "true", "'true' is no bool"),
        ("web:WebApp", "siteConfig", ["alwaysOn"], "['alwaysOn'] is no SiteConfigArgs"),
        ("dbforpostgresql:Server", "storage.storageSizeGB", "64", "'64' is no int"),
        ("dbforpostgresql:Server", "storage.storageSizeGB", 64.5, "64.5 is no int"),
        ("storage:StorageAccount", "networkRuleSet.ipRules", "203.0.113.7", "'203.0.113.7' is no list"),
        ("keyvault:Vault", "tags", ["qa"], "['qa'] is no map"),
        (
            "keyvault:Vault",
            "enablePurgeProtection",
            True,
            "keyvault:Vault has no property enablePurgeProtection",
        ),
        (
            "web:WebApp",
            "siteConfig.linuxFXVersion",
            "DOCKER|a",
            "SiteConfigArgs has no property linuxFXVersion",
        ),
        ("keyvault:Vault", "properties", LEFT_OUT, "keyvault:Vault needs properties"),
        ("keyvault:Vault", "properties.sku.family", LEFT_OUT, "SkuArgs needs family"),
        ("storage:StorageAccount", "sku", None, "storage:StorageAccount needs sku"),
        # closed lists of values, which the SDK leaves open
        ("storage:StorageAccount", "kind", "StorageV9", "'StorageV9' is no Kind, but …"),
        ("storage:StorageAccount", "sku.name", "standard_zrs", "'standard_zrs' is no SkuName, but …"),
        ("dbforpostgresql:Server", "sku.tier", "Premium", "'Premium' is no SkuTier, but …"),
        ("web:WebApp", "siteConfig.minTlsVersion", "1.4", "'1.4' is no SupportedTlsVersions, but …"),
        ("cdn:Rule", "matchProcessingBehavior", "Halt", "'Halt' is no MatchProcessingBehavior, but …"),
        # what only ARM asks for
        ("dbforpostgresql:Server", "version", LEFT_OUT, "dbforpostgresql:Server needs version"),
        ("web:WebApp", "serverFarmId", LEFT_OUT, "web:WebApp needs serverFarmId"),
        ("cdn:AFDOrigin", "originHostHeader", LEFT_OUT, "cdn:AFDOrigin needs originHostHeader"),
        ("keyvault:Vault", "location", LEFT_OUT, "keyvault:Vault has no location"),
        # formats
        ("web:WebApp", "serverFarmId", "asp-assets-qa", "'asp-assets-qa' is no resource id"),
        ("monitor:DiagnosticSetting", "workspaceId", f"{GROUP}/log", "'/subscriptions/… is no resource id"),
        ("monitor:DiagnosticSetting", "resourceUri", PLAN[1:], "'subscriptions/… is no resource id"),
        ("authorization:RoleAssignment", "principalId", "app-identity", "'app-identity' is no UUID"),
        ("authorization:RoleAssignment", "roleDefinitionId", "AcrPull", "'AcrPull' is no resource id"),
        ("keyvault:Vault", "properties.tenantId", "contoso", "'contoso' is no UUID"),
        ("dbforpostgresql:Server", "availabilityZone", "4", "'4' is no zone"),
        ("keyvault:Vault", "location", "West Europe", "'West Europe' is no location"),
        ("resources:ResourceGroup", "location", "westEurope", "'westEurope' is no location"),
        # names
        ("keyvault:Vault", "vaultName", f"kv-{'a' * 22}", f"keyvault:Vault cannot be called 'kv-{'a' * 22}'"),
        ("keyvault:Vault", "vaultName", "kv--qa", "keyvault:Vault cannot be called 'kv--qa'"),
        ("storage:StorageAccount", "accountName", "st-qa", "storage:StorageAccount cannot be called 'st-qa'"),
        ("storage:BlobContainer", "containerName", "Media", "storage:BlobContainer cannot be called 'Media'"),
        ("web:WebApp", "name", f"{'a' * 61}", f"web:WebApp cannot be called '{'a' * 61}'"),
        ("cdn:Rule", "ruleName", "hide-it", "cdn:Rule cannot be called 'hide-it'"),
        (
            "resources:ResourceGroup",
            "resourceGroupName",
            "rg.",
            "resources:ResourceGroup cannot be called 'rg.'",
        ),
    ],
)
def test_a_wrong_input_is_named_with_what_is_wrong(kind: str, path: str, value: Any, reason: str) -> None:
    found = faults(sdk.resource(f"azure-native:{kind}"), changed(GOOD[kind], path, value))
    assert [where for where, _ in found] == [path]
    begin, _, end = reason.partition("…")
    assert found[0][1].startswith(begin)
    assert found[0][1].endswith(end)


def changed(value: Inputs, path: str, to: Any) -> Inputs:
    """A copy with what lies at the path replaced, or left out."""
    first, _, rest = path.partition(".")
    if rest:
        return {**value, first: changed(value[first], rest, to)}
    copy = {key: item for key, item in value.items() if key != first}
    return copy if to is LEFT_OUT else {**copy, first: to}


def test_a_type_that_azure_or_the_table_does_not_have_is_no_resource() -> None:
    for token in ("azure-native:web:WebSite", "azure-native:keyvault:vault", "aws:s3:Bucket"):
        with pytest.raises(sdk.UnknownType, match=f"{token} is no resource of pulumi-azure-native"):
            sdk.resource(token)


# -- what is refused only when it is made, changed or deleted, since it hangs on what is there -------


class Subscription:
    """A stand-in subscription with a group, asked as the engine asks."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.engine: Any = provider_pb2_grpc.ResourceProviderStub(channel)

    def create(self, kind: str, inputs: Inputs) -> str:
        request = provider_pb2.CreateRequest(urn=urn(kind), properties=struct(inputs))
        return self.engine.Create(request).id

    def update(self, kind: str, id_: str, old: Inputs, new: Inputs) -> None:
        self.engine.Update(
            provider_pb2.UpdateRequest(
                id=id_, urn=urn(kind), old_inputs=struct(old), olds=struct(old), news=struct(new)
            )
        )

    def delete(self, kind: str, id_: str) -> None:
        self.engine.Delete(provider_pb2.DeleteRequest(id=id_, urn=urn(kind)))

    def replaces(self, kind: str, old: Inputs, new: Inputs) -> list[str]:
        request = provider_pb2.DiffRequest(
            id="one", urn=urn(kind), old_inputs=struct(old), olds=struct(old), news=struct(new)
        )
        return list(self.engine.Diff(request).replaces)


def urn(kind: str) -> str:
    return f"urn:pulumi:qa::relevo::azure-native:{kind}::one"


def struct(inputs: Inputs) -> Struct:
    made = Struct()
    made.update(inputs)
    return made


@pytest.fixture
def subscription(tmp_path: Path) -> Iterator[Subscription]:
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    StandInPlugin(StandInAzure.make(tmp_path)).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        made = Subscription(channel)
        made.create("resources:ResourceGroup", GOOD["resources:ResourceGroup"])
        yield made
    server.stop(None)


def test_what_is_there_is_not_made_again_and_nothing_is_made_before_what_it_needs(
    subscription: Subscription,
) -> None:
    with pytest.raises(grpc.RpcError, match=f"LinkedResourceNotFound.*{PLAN}"):
        subscription.create("web:WebApp", GOOD["web:WebApp"])
    with pytest.raises(grpc.RpcError, match=r"ParentResourceNotFound.*storageAccounts/stassetsqa"):
        subscription.create("storage:BlobContainer", GOOD["storage:BlobContainer"])
    assert subscription.create("web:AppServicePlan", GOOD["web:AppServicePlan"]) == PLAN
    subscription.create("web:WebApp", GOOD["web:WebApp"])
    with pytest.raises(grpc.RpcError, match="cannot create already existing resource"):
        subscription.create("web:WebApp", GOOD["web:WebApp"])


def test_what_is_locked_is_not_deleted_and_what_is_gone_is_not_changed(subscription: Subscription) -> None:
    plan = subscription.create("web:AppServicePlan", GOOD["web:AppServicePlan"])
    lock = subscription.create(
        "authorization:ManagementLockByScope", {"scope": plan, "lockName": "keep", "level": "CanNotDelete"}
    )
    with pytest.raises(grpc.RpcError, match="ScopeLocked"):
        subscription.delete("web:AppServicePlan", plan)
    subscription.delete("authorization:ManagementLockByScope", lock)
    subscription.delete("web:AppServicePlan", plan)
    with pytest.raises(grpc.RpcError, match="ResourceNotFound"):
        subscription.update(
            "web:AppServicePlan", plan, GOOD["web:AppServicePlan"], GOOD["web:AppServicePlan"]
        )


@pytest.mark.parametrize(
    ("kind", "path", "value", "replaced"),
    [
        ("web:WebApp", "siteConfig.minTlsVersion", "1.3", []),
        ("web:WebApp", "name", "app-assets-qa-2", ["name"]),
        ("storage:StorageAccount", "location", "northeurope", ["location"]),
        ("storage:StorageAccount", "kind", "BlockBlobStorage", ["kind"]),
        ("storage:StorageAccount", "sku.name", "Standard_GZRS", []),
        ("authorization:RoleAssignment", "principalId", TENANT, ["principalId"]),
    ],
)
def test_what_azure_fixes_when_it_makes_a_resource_is_replaced(
    subscription: Subscription, kind: str, path: str, value: Any, replaced: list[str]
) -> None:
    assert subscription.replaces(kind, GOOD[kind], changed(GOOD[kind], path, value)) == replaced
