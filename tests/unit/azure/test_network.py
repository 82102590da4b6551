"""The network: a subnet for each service, private names, and nothing passes that is not in the table."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from components.azure.network import Network, NetworkArgs, Second, flows, prefixes
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

SPACE = "10.40.0.0/22"
SECOND = Second(location="northeurope", address_space="10.40.4.0/22")
ROLES = ("app", "jobs", "database", "endpoints")
ZONES = ("vault", "blob", "registry", "cache", "database")

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
    assert made.ignore_changes == ("subnets", "virtualNetworkPeerings")


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


Passing = tuple[str, str, tuple[str, ...], str]


def _passing(rules: list[dict[str, Any]], direction: str) -> list[Passing]:
    """Source, destination, its ports and the protocol; what all have in common is asserted."""
    allowing = [rule for rule in rules if rule["access"] == "Allow"]
    assert [rule["priority"] for rule in allowing] == [100 + 10 * index for index in range(len(allowing))]
    assert {rule["sourcePortRange"] for rule in rules} == {"*"}
    return [
        (
            rule["sourceAddressPrefix"],
            rule["destinationAddressPrefix"],
            tuple(rule["destinationPortRanges"]),
            rule["protocol"],
        )
        for rule in allowing
        if rule["direction"] == direction
    ]


APP, JOBS, DATABASE, ENDPOINTS = "10.40.0.0/24", "10.40.1.0/24", "10.40.2.0/26", "10.40.2.64/26"
POSTGRES, SERVICES, OUTSIDE = ("5432", "6432"), ("443", "10000"), ("443", "587")


@pytest.mark.parametrize(
    ("role", "inbound", "outbound"),
    [
        (
            "app",
            [],
            [
                (APP, DATABASE, POSTGRES, "Tcp"),
                (APP, ENDPOINTS, SERVICES, "Tcp"),
                (APP, "Internet", OUTSIDE, "Tcp"),
            ],
        ),
        (
            "jobs",
            [(JOBS, JOBS, ("*",), "*"), ("AzureLoadBalancer", JOBS, ("30000-32767",), "Tcp")],
            [
                (JOBS, DATABASE, POSTGRES, "Tcp"),
                (JOBS, ENDPOINTS, SERVICES, "Tcp"),
                (JOBS, "Internet", OUTSIDE, "Tcp"),
                (JOBS, JOBS, ("*",), "*"),
                (JOBS, "168.63.129.16", ("53",), "*"),
            ],
        ),
        (
            "database",
            [
                (APP, DATABASE, POSTGRES, "Tcp"),
                (JOBS, DATABASE, POSTGRES, "Tcp"),
                (DATABASE, DATABASE, POSTGRES, "Tcp"),
            ],
            [
                (DATABASE, DATABASE, POSTGRES, "Tcp"),
                (DATABASE, "Storage", ("443",), "Tcp"),
                (DATABASE, "AzureActiveDirectory", ("443",), "Tcp"),
            ],
        ),
        ("endpoints", [(APP, ENDPOINTS, SERVICES, "Tcp"), (JOBS, ENDPOINTS, SERVICES, "Tcp")], []),
    ],
)
def test_only_what_is_needed_passes(
    engine: StandInEngine, role: str, inbound: list[Passing], outbound: list[Passing]
) -> None:
    group = engine.made[f"network-{role}-nsg"].inputs
    rules = group["securityRules"]
    assert group == {
        "networkSecurityGroupName": f"nsg-assets-prod-{role}",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "securityRules": rules,
        "tags": TAGS,
    }
    assert _passing(rules, "Inbound") == inbound
    assert _passing(rules, "Outbound") == outbound


@pytest.mark.parametrize("role", ROLES)
def test_all_else_is_denied_in_both_directions(engine: StandInEngine, role: str) -> None:
    rules = engine.made[f"network-{role}-nsg"].inputs["securityRules"]
    denied = {rule["direction"]: rule for rule in rules if rule["access"] == "Deny"}
    assert denied.keys() == {"Inbound", "Outbound"}
    for rule in denied.values():
        assert rule == {
            "name": f"deny-{rule['direction'].lower()}",
            "priority": 4096,
            "direction": rule["direction"],
            "access": "Deny",
            "protocol": "*",
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": "*",
        }
        assert max(each["priority"] for each in rules) == 4096
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
        **{f"network-{role}-nsg-diagnostics": False for role in ROLES},
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


@pytest.fixture(scope="module")
def wide() -> StandInEngine:
    return StandInEngine()


@pytest.fixture(scope="module")
def two_regions(wide: StandInEngine) -> Network:
    args = NetworkArgs(place=place(), address_space=SPACE, workspace_id="workspace-id", second=SECOND)
    return wide.build(lambda: Network("network", args))


@pytest.mark.usefixtures("two_regions")
def test_a_second_region_changes_nothing_of_the_first_but_whom_its_services_let_in(
    engine: StandInEngine, wide: StandInEngine
) -> None:
    changed = {name for name, made in engine.made.items() if wide.made[name].inputs != made.inputs}
    assert changed == {"network-database-nsg", "network-endpoints-nsg"}


@pytest.mark.usefixtures("two_regions")
def test_the_second_network_is_in_its_region_with_the_sites_alone(
    engine: StandInEngine, wide: StandInEngine
) -> None:
    added = {name: made for name, made in wide.made.items() if name not in engine.made}
    assert added.keys() == {
        "network-second-vnet",
        "network-second-vnet-diagnostics",
        "network-second-app-nsg",
        "network-second-app-nsg-diagnostics",
        "network-second-app",
        "network-peering",
        "network-second-peering",
        *(f"network-{zone}-zone-second-link" for zone in ZONES),
    }
    second = wide.made["network-second-vnet"].inputs
    assert second["virtualNetworkName"] == "vnet-assets-prod-northeurope"
    group = wide.made["network-second-app-nsg"].inputs
    assert group["networkSecurityGroupName"] == "nsg-assets-prod-app-northeurope"
    assert second["location"] == group["location"] == "northeurope"
    assert second["addressSpace"] == {"addressPrefixes": ["10.40.4.0/22"]}
    assert wide.made["network-second-app"].inputs == {
        "subnetName": "snet-assets-prod-app-northeurope",
        "resourceGroupName": "rg-assets-prod",
        "virtualNetworkName": "network-second-vnet-name",
        "addressPrefix": "10.40.4.0/24",
        "networkSecurityGroup": {"id": "network-second-app-nsg-id"},
        "delegations": [{"name": "app", "serviceName": "Microsoft.Web/serverFarms"}],
        "privateEndpointNetworkPolicies": "Disabled",
        "privateLinkServiceNetworkPolicies": "Enabled",
    }


@pytest.mark.usefixtures("two_regions")
def test_sites_of_the_second_region_reach_what_those_of_the_first_do(wide: StandInEngine) -> None:
    second = "10.40.4.0/24"
    outbound = wide.made["network-second-app-nsg"].inputs["securityRules"]
    assert _passing(outbound, "Outbound") == [
        (second, DATABASE, POSTGRES, "Tcp"),
        (second, ENDPOINTS, SERVICES, "Tcp"),
        (second, "Internet", OUTSIDE, "Tcp"),
    ]
    assert _passing(outbound, "Inbound") == []
    for role, destination, ports in (("database", DATABASE, POSTGRES), ("endpoints", ENDPOINTS, SERVICES)):
        rules = wide.made[f"network-{role}-nsg"].inputs["securityRules"]
        assert (second, destination, ports, "Tcp") in _passing(rules, "Inbound")
        assert len({(rule["direction"], rule["priority"]) for rule in rules}) == len(rules)


@pytest.mark.usefixtures("two_regions")
@pytest.mark.parametrize(
    ("name", "near", "far", "leads_to"),
    [
        ("network-peering", "network-vnet", "network-second-vnet", "northeurope"),
        ("network-second-peering", "network-second-vnet", "network-vnet", "westeurope"),
    ],
)
def test_the_networks_are_peered_both_ways(
    wide: StandInEngine, name: str, near: str, far: str, leads_to: str
) -> None:
    peering = wide.made[name]
    assert peering.type == "azure-native:network:VirtualNetworkPeering"
    assert peering.inputs == {
        "virtualNetworkPeeringName": f"peer-assets-prod-{leads_to}",
        "resourceGroupName": "rg-assets-prod",
        "virtualNetworkName": f"{near}-name",
        "remoteVirtualNetwork": {"id": f"{far}-id"},
        "allowVirtualNetworkAccess": True,
        "allowForwardedTraffic": False,
        "allowGatewayTransit": False,
        "useRemoteGateways": False,
    }
    assert {"network-endpoints", "network-second-app"} <= peering.depends_on


@pytest.mark.usefixtures("two_regions")
def test_one_peering_waits_for_the_other_since_each_changes_both_networks(wide: StandInEngine) -> None:
    assert "network-peering" in wide.made["network-second-peering"].depends_on


@pytest.mark.usefixtures("two_regions")
@pytest.mark.parametrize("role", ZONES)
def test_each_private_zone_is_linked_to_the_second_network_too(wide: StandInEngine, role: str) -> None:
    assert wide.made[f"network-{role}-zone-second-link"].inputs == {
        "virtualNetworkLinkName": "vnet-assets-prod-northeurope",
        "privateZoneName": f"network-{role}-zone-name",
        "resourceGroupName": "rg-assets-prod",
        "location": "global",
        "registrationEnabled": False,
        "virtualNetwork": {"id": "network-second-vnet-id"},
        "tags": TAGS,
    }


def test_sites_of_the_second_region_wait_until_they_reach_the_first(
    wide: StandInEngine, two_regions: Network
) -> None:
    assert list(two_regions.app_subnet_ids) == ["westeurope", "northeurope"]
    second = two_regions.app_subnet_ids["northeurope"]
    assert wide.value(second) == "network-second-app-id"
    waited_for = {resource.pulumi_resource_name for resource in wide.resources(second)}
    assert waited_for >= {
        "network-peering",
        "network-second-peering",
        *(f"network-{zone}-zone-second-link" for zone in ZONES),
    }
