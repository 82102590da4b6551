"""How large the database's disk has become: Azure enlarges a full one by itself, and makes none smaller."""

from __future__ import annotations

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import PUBLIC, Clients
from components.azure.naming import Names


def gigabytes(wanted: int, names: Names, *, subscription: str, resource_manager: str = PUBLIC) -> int:
    """The size to declare: the real one where that has outgrown the `wanted`.

    Any change of the server sends its size too, and a smaller one is refused ("Storage options in Azure
    Database for PostgreSQL"). Raises `TargetError` where it cannot be known.
    """
    server = names.of("psql")
    servers = Clients(subscription, resource_manager).postgres.servers
    with asking(f"see how large the disk of {server} is"):
        try:
            properties = servers.get(names.of("rg"), server).properties
        except ResourceNotFoundError:
            return wanted
    storage = properties.storage if properties is not None else None
    return max(wanted, (storage.storage_size_gb if storage is not None else None) or 0)
