"""The network of a stack: a subnet for each service that needs one, what may pass, and private names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
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

SECOND_APP = "second-app"  # the sites' subnet in the second region
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


def prefixes(address_space: str, second_space: str | None = None) -> dict[str, str]:
    """Subnet → its range, in a space of /22 or larger: /24, /24, /26, /26 and a quarter to spare, or more.

    The second space is divided in the same way, though only sites are there.
    """
    space = ipaddress.IPv4Network(address_space)
    app, jobs, small, _spare = space.subnets(prefixlen_diff=2)
    database, endpoints, *_ = small.subnets(prefixlen_diff=2)
    second = {} if second_space is None else {SECOND_APP: prefixes(second_space)["app"]}
    return {
        "app": str(app),
        "jobs": str(jobs),
        "database": str(database),
        "endpoints": str(endpoints),
        **second,
    }


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
            Flow(f"from-{role}", "Inbound", prefix[role], destination, ports)
            for role in ("app", "jobs", SECOND_APP)
            if role in prefix
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
        **({SECOND_APP: to_services(SECOND_APP)} if SECOND_APP in prefix else {}),
    }


def database_zone(names: Names) -> str:
    """Not `<server>.postgres.database.azure.com`, which Azure refuses ("Network with private access")"""
    return f"{names.workload}-{names.stack}.private.postgres.database.azure.com"


@dataclass(frozen=True, kw_only=True)
class Second:
    """The second region of the sites. `address_space`: a private range that does not overlap the first's."""

    location: str
    address_space: str


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """`address_space`: a private IPv4 range, /22 or larger. It cannot be changed without new subnets."""

    place: Place
    address_space: str
    workspace_id: pulumi.Input[str]
    second: Second | None = None


class Network(pulumi.ComponentResource):
    """A virtual network of its own. What calls whom inside is a table, `flows`.

    - Nothing here has a public address: the internet reaches the sites through Front Door only, and no NAT
      gateway is needed, since App Service and Container Apps bring their own way out.
    - A site joins a network of its own region only, so a second region has a second network, with nothing
      but sites. They come to the database, the cache, the vault and the registry, which stay in the first
      region, by a peering of the two.
    """

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Network", name, None, opts)
        self._args = args
        place, second = args.place, args.second
        prefix = prefixes(args.address_space, second.address_space if second else None)
        self._networks = {place.location: self._virtual_network("vnet", place.location, args.address_space)}
        if second:
            self._networks[second.location] = self._virtual_network(
                "second-vnet", second.location, second.address_space
            )

        subnets: dict[str, network.Subnet] = {}
        for role, passing in flows(prefix).items():
            # Azure takes one change of a network at a time, so each waits for the one before.
            before = list(subnets.values())[-1:]
            location = second.location if second and role == SECOND_APP else place.location
            group = self._security_group(role, location, passing)
            subnets[role] = self._subnet(role, location, prefix[role], group, before)

        self.id = self._networks[place.location].id
        self.jobs_subnet_id = subnets["jobs"].id
        self.database_subnet_id = subnets["database"].id
        self.endpoints_subnet_id = subnets["endpoints"].id
        self.database_zone_id, *links = self._zone("database", database_zone(place.names))
        self._zone_ids: dict[Zone, pulumi.Output[str]] = {}
        for kind, zone in ZONES.items():
            self._zone_ids[kind], *more = self._zone(kind, zone)
            links += more
        # Region → the subnet that its sites join.
        self.app_subnet_ids: dict[str, pulumi.Output[str]] = {place.location: subnets["app"].id}
        if second:
            self.app_subnet_ids[second.location] = _once(
                subnets[SECOND_APP].id, *links, *self._peer(second.location, list(subnets.values()))
            )
        self.register_outputs(
            {
                "id": self.id,
                "app_subnet_ids": self.app_subnet_ids,
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

    def _virtual_network(self, role: str, location: str, address_space: str) -> network.VirtualNetwork:
        place = self._args.place
        made = network.VirtualNetwork(
            f"{self.pulumi_resource_name}-{role}",
            virtual_network_name=place.names.of("vnet", *place.region(location)),
            resource_group_name=place.resource_group,
            location=location,
            address_space=network.AddressSpaceArgs(address_prefixes=[address_space]),
            tags=place.tags,
            # Subnets and peerings are resources of their own; without this a change of the network would drop
            # them.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["subnets", "virtualNetworkPeerings"]),
        )
        diagnostics(self, f"{self.pulumi_resource_name}-{role}-diagnostics", made.id, self._args.workspace_id)
        return made

    def _peer(self, second: str, before: Sequence[pulumi.Resource]) -> list[pulumi.Output[str]]:
        """Both ways, since either alone lets nothing pass ("Virtual network peering")."""
        place = self._args.place
        made: list[network.VirtualNetworkPeering] = []
        for role, near, far in (
            ("peering", place.location, second),
            ("second-peering", second, place.location),
        ):
            made.append(
                network.VirtualNetworkPeering(
                    f"{self.pulumi_resource_name}-{role}",
                    virtual_network_peering_name=place.names.of("peer", far),
                    resource_group_name=place.resource_group,
                    virtual_network_name=self._networks[near].name,
                    remote_virtual_network=network.SubResourceArgs(id=self._networks[far].id),
                    allow_virtual_network_access=True,
                    allow_forwarded_traffic=False,
                    allow_gateway_transit=False,
                    use_remote_gateways=False,
                    # It changes both networks, so nothing else may be changing either.
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[*before, *made]),
                )
            )
        return [peering.id for peering in made]

    def _security_group(
        self, role: str, location: str, passing: tuple[Flow, ...]
    ) -> network.NetworkSecurityGroup:
        place = self._args.place
        group = network.NetworkSecurityGroup(
            f"{self.pulumi_resource_name}-{role}-nsg",
            network_security_group_name=place.names.of("nsg", *self._parts(role, location)),
            resource_group_name=place.resource_group,
            location=location,
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
        self,
        role: str,
        location: str,
        prefix: str,
        group: network.NetworkSecurityGroup,
        before: list[network.Subnet],
    ) -> network.Subnet:
        place = self._args.place
        use, *_ = self._parts(role, location)
        service = DELEGATIONS.get(use)
        return network.Subnet(
            f"{self.pulumi_resource_name}-{role}",
            subnet_name=place.names.of("snet", *self._parts(role, location)),
            resource_group_name=place.resource_group,
            virtual_network_name=self._networks[location].name,
            address_prefix=prefix,
            network_security_group=network.NetworkSecurityGroupArgs(id=group.id),
            delegations=[network.DelegationArgs(name=use, service_name=service)] if service else [],
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

    def _parts(self, role: str, location: str) -> tuple[str, ...]:
        return role.removeprefix("second-"), *self._args.place.region(location)

    def _zone(self, role: str, zone_name: str) -> list[pulumi.Output[str]]:
        """The zone's id, once the first network resolves names by it, and the ids of further links."""
        place = self._args.place
        zone = privatedns.PrivateZone(
            f"{self.pulumi_resource_name}-{role}-zone",
            private_zone_name=zone_name,
            resource_group_name=place.resource_group,
            location="global",
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        first, *further = (
            privatedns.VirtualNetworkLink(
                f"{self.pulumi_resource_name}-{role}-zone-{prefix}link",
                virtual_network_link_name=place.names.of("vnet", *place.region(location)),
                private_zone_name=zone.name,
                resource_group_name=place.resource_group,
                location="global",
                registration_enabled=False,
                virtual_network=privatedns.SubResourceArgs(id=linked.id),
                tags=place.tags,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for prefix, (location, linked) in zip(("", "second-"), self._networks.items(), strict=False)
        )
        # Whoever uses the zone waits for the link as well: a server is refused a zone that is not linked.
        return [_once(zone.id, first.id), *(link.id for link in further)]


def _once(found: pulumi.Output[str], *made: pulumi.Output[str]) -> pulumi.Output[str]:
    """The same, for those who must wait until all of the others are made."""
    return pulumi.Output.all(found, *made).apply(lambda ids: ids[0])


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
