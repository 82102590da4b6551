"""The address of a service inside the network, and its name in private DNS."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import network

from components.azure.place import Place


def private_endpoint(
    parent: pulumi.Resource,
    name: str,
    place: Place,
    subnet_id: pulumi.Input[str],
    resource_id: pulumi.Input[str],
    group: str,
    zone_id: pulumi.Input[str],
) -> network.PrivateDnsZoneGroup:
    """Returns what must exist before the service can be reached by its usual name from inside.

    `group` is the service's sub-resource: vault, blob, registry, redisEnterprise ("Azure Private Endpoint
    private DNS zone values"). `name` is the Pulumi name; in Azure it is called by the group.
    """
    role = group.lower()
    endpoint = network.PrivateEndpoint(
        name,
        private_endpoint_name=place.names.of("pep", role),
        resource_group_name=place.resource_group,
        location=place.location,
        subnet=network.SubnetArgs(id=subnet_id),
        custom_network_interface_name=place.names.of("nic", role),
        private_link_service_connections=[
            network.PrivateLinkServiceConnectionArgs(
                name=role, private_link_service_id=resource_id, group_ids=[group]
            )
        ],
        tags=place.tags,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return network.PrivateDnsZoneGroup(
        f"{name}-dns",
        private_dns_zone_group_name="default",
        private_endpoint_name=endpoint.name,
        resource_group_name=place.resource_group,
        private_dns_zone_configs=[network.PrivateDnsZoneConfigArgs(name=role, private_dns_zone_id=zone_id)],
        opts=pulumi.ResourceOptions(parent=parent),
    )
