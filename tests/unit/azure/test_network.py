"""The network: a subnet for each service, private names, and nothing passes that is not in the table."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from components.azure.network import Network, NetworkArgs, flows, prefixes
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

SPACE = "10.40.0.0/22"


pytestmark = pytest.mark.usefixtures("network")


@pytest.fixture(scope="module")
def engine() -> StandInEngine:
    return StandInEngine()


@pytest.fixture(scope="module")
def network(engine: StandInEngine) -> Network:
    args = NetworkArgs(place=place(), address_space=SPACE, workspace_id="workspace-id")
    return engine.build(lambda: Network("network", args))


def test_the_network_is_the_given_range_and_leaves_its_subnets_alone(engine: StandInEngine) -> None:
    made = engine.made["network-vnet"]
    assert made.type == "azure-native:network:VirtualNetwork"
    assert made.inputs == {
        "virtualNetworkName": "vnet-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "addressSpace": {"addressPrefixes": [SPACE]},
        "enableDdosProtection": False,
        "enableVmProtection": False,
        "tags": TAGS,
    }
    assert made.ignore_changes == ("subnets",)


@pytest.mark.parametrize(
    ("role", "prefix", "service", "policies"),
    [
        ("app", "10.40.0.0/24", "Microsoft.Web/serverFarms", "Disabled"),
        ("jobs", "10.40.1.0/24", "Microsoft.App/environments", "Disabled"),
        ("database", "10.40.2.0/26", "Microsoft.DBforPostgreSQL/flexibleServers", "Disabled"),
        ("endpoints", "10.40.2.64/26", None, "NetworkSecurityGroupEnabled"),
    ],
)
def test_each_service_has_its_subnet(
    engine: StandInEngine, role: str, prefix: str, service: str | None, policies: str
) -> None:
    subnet = engine.made[f"network-{role}"]
    assert subnet.type == "azure-native:network:Subnet"
    assert subnet.inputs == {
        "subnetName": f"snet-assets-prod-{role}",
        "resourceGroupName": "rg-assets-prod",
        "virtualNetworkName": "network-vnet-name",
        "addressPrefix": prefix,
        "networkSecurityGroup": {"id": f"network-{role}-nsg-id"},
        "delegations": [{"name": role, "serviceName": service}] if service else [],
        "privateEndpointNetworkPolicies": policies,
        "privateLinkServiceNetworkPolicies": "Enabled",
        **({} if service else {"defaultOutboundAccess": False}),
    }


def test_subnets_are_made_one_after_the_other(engine: StandInEngine) -> None:
    order = ["network-app", "network-jobs", "network-database", "network-endpoints"]
    for before, after in itertools.pairwise(order):
        assert before in engine.made[after].depends_on


def _passing(rules: list[dict[str, Any]], direction: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (rule["sourceAddressPrefix"], rule["destinationAddressPrefix"], tuple(rule["destinationPortRanges"]))
        for rule in rules
        if rule["direction"] == direction and rule["access"] == "Allow"
    ]


APP, JOBS, DATABASE, ENDPOINTS = "10.40.0.0/24", "10.40.1.0/24", "10.40.2.0/26", "10.40.2.64/26"
POSTGRES, SERVICES, OUTSIDE = ("5432", "6432"), ("443", "10000"), ("443", "587")


@pytest.mark.parametrize(
    ("role", "inbound", "outbound"),
    [
        ("app", [], [(APP, DATABASE, POSTGRES), (APP, ENDPOINTS, SERVICES), (APP, "Internet", OUTSIDE)]),
        (
            "jobs",
            [(JOBS, JOBS, ("*",)), ("AzureLoadBalancer", JOBS, ("30000-32767",))],
            [
                (JOBS, DATABASE, POSTGRES),
                (JOBS, ENDPOINTS, SERVICES),
                (JOBS, "Internet", OUTSIDE),
                (JOBS, JOBS, ("*",)),
                (JOBS, "168.63.129.16", ("53",)),
            ],
        ),
        (
            "database",
            [(APP, DATABASE, POSTGRES), (JOBS, DATABASE, POSTGRES), (DATABASE, DATABASE, POSTGRES)],
            [
                (DATABASE, DATABASE, POSTGRES),
                (DATABASE, "Storage", ("443",)),
                (DATABASE, "AzureActiveDirectory", ("443",)),
            ],
        ),
        ("endpoints", [(APP, ENDPOINTS, SERVICES), (JOBS, ENDPOINTS, SERVICES)], []),
    ],
)
def test_only_what_is_needed_passes(
    engine: StandInEngine, role: str, inbound: list[object], outbound: list[object]
) -> None:
    rules = engine.made[f"network-{role}-nsg"].inputs["securityRules"]
    assert _passing(rules, "Inbound") == inbound
    assert _passing(rules, "Outbound") == outbound


@pytest.mark.parametrize("role", ["app", "jobs", "database", "endpoints"])
def test_all_else_is_denied_in_both_directions(engine: StandInEngine, role: str) -> None:
    rules = engine.made[f"network-{role}-nsg"].inputs["securityRules"]
    denied = {rule["direction"]: rule for rule in rules if rule["access"] == "Deny"}
    assert denied.keys() == {"Inbound", "Outbound"}
    for rule in denied.values():
        assert rule["priority"] == 4096 == max(each["priority"] for each in rules)
        assert {rule[key] for key in ("protocol", "sourceAddressPrefix", "destinationAddressPrefix")} == {"*"}
    assert len({(rule["direction"], rule["priority"]) for rule in rules}) == len(rules)
    assert len({rule["name"] for rule in rules}) == len(rules)


@pytest.mark.parametrize(
    ("role", "zone"),
    [
        ("vault", "privatelink.vaultcore.azure.net"),
        ("blob", "privatelink.blob.core.windows.net"),
        ("registry", "privatelink.azurecr.io"),
        ("cache", "privatelink.redis.azure.net"),
        ("database", "assets-prod.private.postgres.database.azure.com"),
    ],
)
def test_each_private_zone_is_linked_to_the_network(engine: StandInEngine, role: str, zone: str) -> None:
    assert engine.made[f"network-{role}-zone"].inputs == {
        "privateZoneName": zone,
        "resourceGroupName": "rg-assets-prod",
        "location": "global",
        "tags": TAGS,
    }
    assert engine.made[f"network-{role}-zone-link"].inputs == {
        "virtualNetworkLinkName": "vnet-assets-prod",
        "privateZoneName": f"network-{role}-zone-name",
        "resourceGroupName": "rg-assets-prod",
        "location": "global",
        "registrationEnabled": False,
        "virtualNetwork": {"id": "network-vnet-id"},
        "tags": TAGS,
    }


def test_whoever_uses_a_zone_waits_for_its_link(engine: StandInEngine, network: Network) -> None:
    for zone in (network.database_zone_id, network.zone("vault")):
        waited_for = {resource.pulumi_resource_name for resource in engine.resources(zone)}
        assert any(name.endswith("-zone-link") for name in waited_for)
    assert engine.value(network.zone("cache")) == "network-cache-zone-id"


def test_what_is_logged_of_it(engine: StandInEngine) -> None:
    metrics = {
        name: bool(made.inputs["metrics"])
        for name, made in engine.of_type("monitor:DiagnosticSetting").items()
    }
    assert metrics == {
        "network-vnet-diagnostics": True,
        **{f"network-{role}-nsg-diagnostics": False for role in ("app", "jobs", "database", "endpoints")},
    }


def test_every_flow_has_the_subnets_of_a_larger_range() -> None:
    prefix = prefixes("10.0.0.0/16")
    assert prefix == {
        "app": "10.0.0.0/18",
        "jobs": "10.0.64.0/18",
        "database": "10.0.128.0/20",
        "endpoints": "10.0.144.0/20",
    }
    assert flows(prefix).keys() == prefix.keys()
