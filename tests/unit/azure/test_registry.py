"""The registry: who comes is an identity, and what a record can go back to stays."""

from __future__ import annotations

from typing import Any

import pytest

from components.azure.registry import Registry, RegistryArgs
from tests.unit.azure.stand_in import TAGS, StandInEngine, place


def _registry(**changed: Any) -> Registry:
    return Registry(
        "registry",
        RegistryArgs(
            place=place(**changed),
            endpoints_subnet_id="subnet-id",
            zone_id="zone-id",
            workspace_id="workspace-id",
        ),
    )


@pytest.fixture(scope="module")
def usual() -> StandInEngine:
    engine = StandInEngine()
    engine.build(_registry)
    return engine


def test_it_is_premium_without_a_password_and_closed_to_the_internet(engine: StandInEngine) -> None:
    registry = engine.build(_registry)

    made = engine.made["registry-registry"]
    assert made.type == "azure-native:containerregistry:Registry"
    assert made.inputs == {
        "registryName": "crassetsprod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "sku": {"name": "Premium"},
        "adminUserEnabled": False,
        "anonymousPullEnabled": False,
        "dataEndpointEnabled": True,
        "publicNetworkAccess": "Disabled",
        "networkRuleBypassOptions": "AzureServices",
        "networkRuleSet": {"defaultAction": "Deny", "ipRules": []},
        "zoneRedundancy": "Enabled",
        "policies": {
            "retentionPolicy": {"status": "enabled", "days": 30},
            "quarantinePolicy": {"status": "disabled"},
            "trustPolicy": {"status": "disabled", "type": "Notary"},
            "exportPolicy": {"status": "enabled"},
        },
        "tags": TAGS,
    }
    assert registry.login_server == "crassetsprod.azurecr.io"
    assert engine.value(registry.id) == "registry-registry-id"


def test_it_is_reached_from_inside_and_logged(usual: StandInEngine) -> None:
    assert usual.made["registry-endpoint"].inputs["privateLinkServiceConnections"] == [
        {"name": "registry", "privateLinkServiceId": "registry-registry-id", "groupIds": ["registry"]}
    ]
    assert usual.made["registry-diagnostics"].inputs["resourceUri"] == "registry-registry-id"


def test_the_runner_alone_may_come_from_outside(engine: StandInEngine) -> None:
    engine.build(lambda: _registry(runner_addresses=("203.0.113.7/32", "198.51.100.0/24")))

    inputs = engine.made["registry-registry"].inputs
    assert inputs["publicNetworkAccess"] == "Enabled"
    assert inputs["networkRuleSet"] == {
        "defaultAction": "Deny",
        "ipRules": [
            {"action": "Allow", "iPAddressOrRange": "203.0.113.7"},
            {"action": "Allow", "iPAddressOrRange": "198.51.100.0/24"},
        ],
    }


@pytest.mark.parametrize(
    ("guard", "addresses", "export"),
    [
        (True, (), "disabled"),
        (True, ("203.0.113.7/32",), "enabled"),  # Azure refuses the other with public access
        (False, (), "enabled"),
    ],
)
def test_artefacts_leave_only_where_they_are_promoted_from(
    engine: StandInEngine, guard: bool, addresses: tuple[str, ...], export: str
) -> None:
    engine.build(lambda: _registry(guard=guard, runner_addresses=addresses))

    made = engine.made["registry-registry"]
    assert made.inputs["policies"]["exportPolicy"] == {"status": export}
    assert made.guarded is guard
    assert ("registry-lock" in engine.made) is guard


def test_a_region_without_zones_gets_none(engine: StandInEngine) -> None:
    engine.build(lambda: _registry(zones=()))
    assert engine.made["registry-registry"].inputs["zoneRedundancy"] == "Disabled"
