"""Private endpoints, diagnostic settings and locks as the engine gets them."""

from __future__ import annotations

import pulumi
import pytest
from pulumi_azure_native import keyvault

from components.azure.diagnostics import diagnostics
from components.azure.guard import guarded, lock
from components.azure.private_endpoint import private_endpoint
from tests.unit.azure.stand_in import TAGS, StandInEngine, place


def _component() -> pulumi.ComponentResource:
    return pulumi.ComponentResource("relevo:test:Component", "vault")


def test_a_service_gets_an_address_in_the_subnet_and_a_name_in_private_dns(engine: StandInEngine) -> None:
    engine.build(
        lambda: private_endpoint(
            _component(), "vault-endpoint", place(), "subnet-id", "vault-id", "vault", "zone-id"
        )
    )

    endpoint, group = engine.made["vault-endpoint"], engine.made["vault-endpoint-dns"]
    assert endpoint.type == "azure-native:network:PrivateEndpoint"
    assert endpoint.parent == group.parent == "vault"
    assert endpoint.inputs == {
        "privateEndpointName": "pep-assets-prod-vault",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "subnet": {
            "id": "subnet-id",
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Enabled",
        },
        "customNetworkInterfaceName": "nic-assets-prod-vault",
        "privateLinkServiceConnections": [
            {"name": "vault", "privateLinkServiceId": "vault-id", "groupIds": ["vault"]}
        ],
        "tags": TAGS,
    }
    assert group.type == "azure-native:network:PrivateDnsZoneGroup"
    assert group.inputs == {
        "privateDnsZoneGroupName": "default",
        "privateEndpointName": "vault-endpoint-name",
        "resourceGroupName": "rg-assets-prod",
        "privateDnsZoneConfigs": [{"name": "vault", "privateDnsZoneId": "zone-id"}],
    }


def test_all_logs_and_metrics_go_to_the_workspace(engine: StandInEngine) -> None:
    engine.build(lambda: diagnostics(_component(), "vault-diagnostics", "vault-id", "workspace-id"))

    setting = engine.made["vault-diagnostics"]
    assert setting.type == "azure-native:monitor:DiagnosticSetting"
    assert setting.parent == "vault"
    assert setting.inputs == {
        "name": "relevo",
        "resourceUri": "vault-id",
        "workspaceId": "workspace-id",
        "logs": [{"categoryGroup": "allLogs", "enabled": True}],
        "metrics": [{"category": "AllMetrics", "enabled": True}],
    }


def test_a_setting_names_only_what_the_type_has(engine: StandInEngine) -> None:
    engine.build(lambda: diagnostics(_component(), "nsg", "nsg-id", "workspace-id", metrics=()))
    engine.build(
        lambda: diagnostics(
            _component(), "account", "st-id", "workspace-id", logs=False, metrics=("Transaction",)
        )
    )

    assert engine.made["nsg"].inputs["metrics"] == []
    assert engine.made["account"].inputs["logs"] == []
    assert engine.made["account"].inputs["metrics"] == [{"category": "Transaction", "enabled": True}]


@pytest.mark.parametrize("guard", [True, False])
def test_what_holds_data_is_kept_only_where_the_place_is_guarded(engine: StandInEngine, guard: bool) -> None:
    where = place(guard=guard)

    def program() -> None:
        component = _component()
        vault = keyvault.Vault(
            "vault-vault",
            properties=keyvault.VaultPropertiesArgs(
                sku=keyvault.SkuArgs(family="A", name=keyvault.SkuName.STANDARD), tenant_id=where.tenant
            ),
            resource_group_name=where.resource_group,
            opts=guarded(component, where),
        )
        lock(component, "vault-lock", where, vault, "Holds the stack's secrets.")

    engine.build(program)
    assert engine.made["vault-vault"].guarded is guard
    locks = {
        name: made.inputs for name, made in engine.of_type("authorization:ManagementLockByScope").items()
    }
    expected = {
        "scope": "vault-vault-id",
        "lockName": "relevo-keep",
        "level": "CanNotDelete",
        "notes": "Holds the stack's secrets.",
    }
    assert locks == ({"vault-lock": expected} if guard else {})
    assert not any(engine.made[name].guarded for name in locks), "an up without the guard removes them"
