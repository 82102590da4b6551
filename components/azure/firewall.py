"""From where data planes may be reached besides the network: nowhere, or the runner's addresses."""

from __future__ import annotations

import ipaddress

from components.azure.place import Place


def public_access(place: Place) -> str:
    """`publicNetworkAccess` of vault, storage and registry, whose default action is Deny in both cases."""
    return "Enabled" if place.runner_addresses else "Disabled"


def ranges(place: Place) -> list[str]:
    """The runner's addresses as CIDR ranges, also a single one."""
    return [str(network) for network in _networks(place)]


def addresses(place: Place) -> list[str]:
    """The same for storage, where /31 and /32 must be bare addresses ("Azure Storage firewall rules")."""
    listed: list[str] = []
    for network in _networks(place):
        listed += map(str, network) if network.prefixlen >= 31 else [str(network)]
    return listed


def _networks(place: Place) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(address) for address in place.runner_addresses]
