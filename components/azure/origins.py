"""Which instances are in rotation, read before anything is declared: the roll decides it, not the stack.

Whatever an update of an origin is about, it sends `enabledState` too. Ignoring changes of it would send the
value that Pulumi sent last, and so take an instance out that a roll has put in since. So the truth is read
first, and declared as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import PUBLIC, Clients
from components.azure.naming import Names
from components.azure.words import word

ENABLED, DISABLED = "Enabled", "Disabled"
GROUP = "app"  # of the origins that the public is led to


@dataclass(frozen=True, kw_only=True)
class Found:
    """An origin as Azure has it."""

    host: str
    state: str


def found(names: Names, *, subscription: str, resource_manager: str = PUBLIC) -> dict[str, Found]:
    """Instance → its origin; none before the first `up`. Raises `TargetError` where that cannot be known."""
    profile = names.of("afd")
    service = Clients(subscription, resource_manager).front_door.afd_origins
    with asking(f"see which instances of {profile} are in rotation"):
        try:
            origins = list(service.list_by_origin_group(names.of("rg"), profile, GROUP))
        except ResourceNotFoundError:
            return {}
    return {
        origin.name or "": Found(
            host=origin.properties.host_name or "", state=word(origin.properties.enabled_state)
        )
        for origin in origins
        if origin.properties is not None
    }


def states(hosts: Mapping[str, str], known: Mapping[str, Found]) -> dict[str, str]:
    """Instance → the state to declare, for the wanted `hosts`. Pure.

    An instance that is new, or has moved to another site, is empty until a roll has reached it: it stays out.
    Where nobody would be left, all are in: nothing is released there, and Front Door refuses a route to a
    group without an enabled origin (Azure/bicep-types-az#1923).
    """
    kept = {
        name: known[name].state if name in known and known[name].host == host else DISABLED
        for name, host in hosts.items()
    }
    return kept if ENABLED in kept.values() else dict.fromkeys(hosts, ENABLED)
