"""What Azure changes of the database's server by itself: a full disk grows, a failover exchanges the zones.

Any change of the server sends these too. A smaller disk is refused ("Storage options in Azure Database for
PostgreSQL"), and zones exchanged back would be another failover. So they are read first, and declared as
they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import PUBLIC, Clients
from components.azure.naming import Names
from components.azure.words import word


@dataclass(frozen=True, kw_only=True)
class Found:
    """The server as Azure has it. `ha`: the mode of its high availability; zones None where it has none."""

    storage_gb: int
    ha: str
    zone: str | None
    standby: str | None


def found(names: Names, *, subscription: str, resource_manager: str = PUBLIC) -> Found | None:
    """None before the first `up`. Raises `TargetError` where it cannot be known."""
    server = names.of("psql")
    servers = Clients(subscription, resource_manager).postgres.servers
    with asking(f"see how large the disk of {server} is, and where it runs"):
        try:
            properties = servers.get(names.of("rg"), server).properties
        except ResourceNotFoundError:
            return None
    if properties is None:
        return None
    storage, availability = properties.storage, properties.high_availability
    return Found(
        storage_gb=(storage.storage_size_gb if storage else None) or 0,
        ha=word(availability.mode if availability else None),
        zone=properties.availability_zone or None,
        standby=(availability.standby_availability_zone if availability else None) or None,
    )
