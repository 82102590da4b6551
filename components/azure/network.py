"""The network of a stack: a subnet for each service that needs one, what may pass, and private names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_azure_native import network, privatedns

from components.azure.diagnostics import diagnostics
from components.azure.naming import Names
from components.azure.place import Place

Zone = Literal["vault", "blob", "registry", "cache"]
# "Azure Private Endpoint private DNS zone values". The cache's is that of Azure Managed Redis: the zones of
# Azure Cache for Redis and of its Enterprise tiers are others.
ZONES: dict[Zone, str] = {
    "vault": "privatelink.vaultcore.azure.net",
    "blob": "privatelink.blob.core.windows.net",
    "registry": "privatelink.azurecr.io",
    "cache": "privatelink.redis.azure.net",
}

# "Delegate a subnet to an Azure service". Microsoft.App/environments: environments with workload profiles.
DELEGATIONS = {
    "app": "Microsoft.Web/serverFarms",
    "jobs": "Microsoft.App/environments",
    "database": "Microsoft.DBforPostgreSQL/flexibleServers",
}

POSTGRES = "5432"
POSTGRES_PORTS = (POSTGRES, "6432")  # and its built-in PgBouncer
ENDPOINT_PORTS = ("443", "10000")  # vault, blob, registry; cache
OUTSIDE_PORTS = ("443", "587")  # HTTPS, and mail handed in for delivery


@dataclass(frozen=True)
class Flow:
    """What a security group lets pass; everything else is denied."""

    name: str
    direction: Literal["Inbound", "Outbound"]
    source: str
    destination: str
    ports: tuple[str, ...]
    protocol: Literal["Tcp", "*"] = "Tcp"


def prefixes(address_space: str) -> dict[str, str]:
    """Subnet → its range, in a space of /22 or larger: /24, /24, /26, /26 and a quarter to spare, or more."""
    space = ipaddress.IPv4Network(address_space)
    app, jobs, small, _spare = space.subnets(prefixlen_diff=2)
    database, endpoints, *_ = small.subnets(prefixlen_diff=2)
    return {"app": str(app), "jobs": str(jobs), "database": str(database), "endpoints": str(endpoints)}


def flows(prefix: Mapping[str, str]) -> dict[str, tuple[Flow, ...]]:
    """Subnet → what may pass.

    Sources: "Integrate your app with an Azure virtual network"; "Securing a custom VNET in Azure Container
    Apps with Network Security Groups"; "Network with private access for Azure Database for PostgreSQL" (5432
    and 6432 within the subnet, Storage for the archive of its log, Microsoft Entra ID).
    """

    def to_services(role: str) -> tuple[Flow, ...]:
        source = prefix[role]
        return (
            Flow("to-database", "Outbound", source, prefix["database"], POSTGRES_PORTS),
            Flow("to-endpoints", "Outbound", source, prefix["endpoints"], ENDPOINT_PORTS),
            Flow("to-outside", "Outbound", source, "Internet", OUTSIDE_PORTS),
        )

    def from_callers(destination: str, ports: tuple[str, ...]) -> tuple[Flow, ...]:
        return tuple(
            Flow(f"from-{role}", "Inbound", prefix[role], destination, ports) for role in ("app", "jobs")
        )

    jobs, database = prefix["jobs"], prefix["database"]
    return {
        "app": to_services("app"),
        "jobs": (
            *to_services("jobs"),
            Flow("to-itself", "Outbound", jobs, jobs, ("*",), "*"),
            Flow("to-dns", "Outbound", jobs, "168.63.129.16", ("53",), "*"),
            Flow("from-itself", "Inbound", jobs, jobs, ("*",), "*"),
            Flow("from-balancer", "Inbound", "AzureLoadBalancer", jobs, ("30000-32767",)),
        ),
        "database": (
            *from_callers(database, POSTGRES_PORTS),
            Flow("from-standby", "Inbound", database, database, POSTGRES_PORTS),
            Flow("to-standby", "Outbound", database, database, POSTGRES_PORTS),
            Flow("to-archive", "Outbound", database, "Storage", ("443",)),
            Flow("to-entra", "Outbound", database, "AzureActiveDirectory", ("443",)),
        ),
        "endpoints": from_callers(prefix["endpoints"], ENDPOINT_PORTS),
    }


def database_zone(names: Names) -> str:
    """Not `<server>.postgres.database.azure.com`, which Azure refuses ("Network with private access")"""
    return f"{names.workload}-{names.stack}.private.postgres.database.azure.com"


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """`address_space`: a private IPv4 range, /22 or larger. It cannot be changed without new subnets."""

    place: Place
    address_space: str
    workspace_id: pulumi.Input[str]


class Network(pulumi.ComponentResource):
    """A virtual network of its own, without peerings. What calls whom inside is a table, `flows`.

    Nothing here has a public address: the internet reaches the sites through Front Door only, and no NAT
    gateway is needed, since App Service and Container Apps bring their own way out.
    """

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Network", name, None, opts)
        self._args = args
        place = args.place
        prefix = prefixes(args.address_space)
        self._virtual_network = network.VirtualNetwork(
            f"{name}-vnet",
            virtual_network_name=place.names.of("vnet"),
            resource_group_name=place.resource_group,
            location=place.location,
            address_space=network.AddressSpaceArgs(address_prefixes=[args.address_space]),
            tags=place.tags,
            # The subnets are resources of their own; without this a change of the network would drop them.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["subnets"]),
        )
        diagnostics(self, f"{name}-vnet-diagnostics", self._virtual_network.id, args.workspace_id)

        subnets: dict[str, network.Subnet] = {}
        for role, passing in flows(prefix).items():
            # Azure takes one change of a network at a time, so each waits for the one before.
            before = list(subnets.values())[-1:]
            subnets[role] = self._subnet(role, prefix[role], self._security_group(role, passing), before)

        self.id = self._virtual_network.id
        self.app_subnet_id = subnets["app"].id
        self.jobs_subnet_id = subnets["jobs"].id
        self.database_subnet_id = subnets["database"].id
        self.endpoints_subnet_id = subnets["endpoints"].id
        self.database_zone_id = self._zone("database", database_zone(place.names))
        self._zone_ids = {kind: self._zone(kind, zone) for kind, zone in ZONES.items()}
        self.register_outputs(
            {
                "id": self.id,
                "app_subnet_id": self.app_subnet_id,
                "jobs_subnet_id": self.jobs_subnet_id,
                "database_subnet_id": self.database_subnet_id,
                "endpoints_subnet_id": self.endpoints_subnet_id,
                "database_zone_id": self.database_zone_id,
                "zone_ids": self._zone_ids,
            }
        )

    def zone(self, kind: Zone) -> pulumi.Output[str]:
        """The private DNS zone's id, once the network resolves names by it."""
        return self._zone_ids[kind]

    def _security_group(self, role: str, passing: tuple[Flow, ...]) -> network.NetworkSecurityGroup:
        place = self._args.place
        group = network.NetworkSecurityGroup(
            f"{self.pulumi_resource_name}-{role}-nsg",
            network_security_group_name=place.names.of("nsg", role),
            resource_group_name=place.resource_group,
            location=place.location,
            security_rules=[
                *(_allow(flow, 100 + 10 * index) for index, flow in enumerate(passing)),
                _deny("Inbound"),
                _deny("Outbound"),
            ],
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        diagnostics(
            self,
            f"{self.pulumi_resource_name}-{role}-nsg-diagnostics",
            group.id,
            self._args.workspace_id,
            metrics=(),
        )
        return group

    def _subnet(
        self, role: str, prefix: str, group: network.NetworkSecurityGroup, before: list[network.Subnet]
    ) -> network.Subnet:
        place = self._args.place
        service = DELEGATIONS.get(role)
        return network.Subnet(
            f"{self.pulumi_resource_name}-{role}",
            subnet_name=place.names.of("snet", role),
            resource_group_name=place.resource_group,
            virtual_network_name=self._virtual_network.name,
            address_prefix=prefix,
            network_security_group=network.NetworkSecurityGroupArgs(id=group.id),
            delegations=[network.DelegationArgs(name=role, service_name=service)] if service else [],
            # Otherwise a security group does not apply to private endpoints ("Manage network policies for
            # private endpoints").
            private_endpoint_network_policies=(
                None
                if service
                else network.VirtualNetworkPrivateEndpointNetworkPolicies.NETWORK_SECURITY_GROUP_ENABLED
            ),
            # A subnet without a way out by default; delegated ones are the service's to manage ("Default
            # outbound access in Azure").
            default_outbound_access=None if service else False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )

    def _zone(self, role: str, zone_name: str) -> pulumi.Output[str]:
        place = self._args.place
        zone = privatedns.PrivateZone(
            f"{self.pulumi_resource_name}-{role}-zone",
            private_zone_name=zone_name,
            resource_group_name=place.resource_group,
            location="global",
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        link = privatedns.VirtualNetworkLink(
            f"{self.pulumi_resource_name}-{role}-zone-link",
            virtual_network_link_name=place.names.of("vnet"),
            private_zone_name=zone.name,
            resource_group_name=place.resource_group,
            location="global",
            registration_enabled=False,
            virtual_network=privatedns.SubResourceArgs(id=self._virtual_network.id),
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Whoever uses the zone waits for the link as well: a server is refused a zone that is not linked.
        return pulumi.Output.all(zone.id, link.id).apply(lambda ids: ids[0])


def _allow(flow: Flow, priority: int) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=flow.name,
        priority=priority,
        direction=flow.direction,
        access=network.SecurityRuleAccess.ALLOW,
        protocol=flow.protocol,
        source_address_prefix=flow.source,
        source_port_range="*",
        destination_address_prefix=flow.destination,
        destination_port_ranges=list(flow.ports),
    )


def _deny(direction: Literal["Inbound", "Outbound"]) -> network.SecurityRuleArgs:
    """Before Azure's own rules, which let everything pass inside the network and out of it."""
    return network.SecurityRuleArgs(
        name=f"deny-{direction.lower()}",
        priority=4096,
        direction=direction,
        access=network.SecurityRuleAccess.DENY,
        protocol=network.SecurityRuleProtocol.ASTERISK,
        source_address_prefix="*",
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range="*",
    )
