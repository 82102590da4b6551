"""Whether names that are unique in all of Azure can be had.

A deleted vault keeps its name for as long as it can be recovered. An endpoint of Front Door needs no check,
as its host has a hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import PATIENCE, PUBLIC, Clients, credential
from components.azure.naming import Names
from components.target import TargetError

if TYPE_CHECKING:
    from azure.mgmt.keyvault import KeyVaultManagementClient


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A vault that was deleted and not yet purged, as the subscription's list has it."""

    location: str
    until: str  # when Azure purges it


def refuse_taken(
    names: Names, sites: Iterable[str], *, subscription: str, resource_manager: str = PUBLIC
) -> None:
    """Raises `TargetError` if one of them is not there and cannot be made. Changes nothing.

    `sites`: the web apps' names. Also if it cannot be known: who may not ask gets no preview.
    """
    clients = Clients(subscription, resource_manager)
    _refuse_taken_vault(names, subscription, resource_manager)
    _refuse(
        names,
        names.of("cr"),
        "container registry",
        clients.registries.registries.get,
        _free(
            clients.registries.registries.check_name_availability, "Microsoft.ContainerRegistry/registries"
        ),
    )
    _refuse(
        names,
        names.of("psql"),
        "PostgreSQL server",
        clients.postgres.servers.get,
        _free(clients.postgres.name_availability.check_globally, "Microsoft.DBforPostgreSQL/flexibleServers"),
    )
    _refuse(
        names,
        names.of("st"),
        "storage account",
        clients.storage.storage_accounts.get_properties,
        _free(clients.storage.storage_accounts.check_name_availability, "Microsoft.Storage/storageAccounts"),
    )
    for site in sites:
        _refuse(
            names,
            site,
            "web app",
            clients.web.web_apps.get,
            _free(clients.web.check_name_availability, "Microsoft.Web/sites"),
        )


def _free(check: Callable[[Any], Any], kind: str) -> Callable[[str], Any]:
    """Whether a name of the type can be had, as its client's check says it."""
    return lambda name: check({"name": name, "type": kind}).name_available


def _refuse(
    names: Names, name: str, what: str, get: Callable[[str, str], Any], check: Callable[[str], Any]
) -> None:
    with asking(f"see whether the name {name} is free"):
        try:
            get(names.of("rg"), name)
        except ResourceNotFoundError:
            taken = not check(name)
        else:
            return  # the stack's own
    if taken:
        raise TargetError(
            f"relevo:azure.name is {names.workload}, but {name} is the name of a {what} elsewhere in Azure; "
            "take another name."
        )


def _refuse_taken_vault(names: Names, subscription: str, resource_manager: str) -> None:
    vault, group = names.of("kv"), names.of("rg")
    client = _client(subscription, resource_manager)
    with asking(f"see whether the name {vault} is free"):
        try:
            client.vaults.get(group, vault)
        except ResourceNotFoundError:
            answer = client.vaults.check_name_availability(
                {"name": vault, "type": "Microsoft.KeyVault/vaults"}
            )
            if answer.name_available:
                return
            deleted = _deleted(client, vault)
        else:
            return  # the stack's own
    raise TargetError(fault(names, deleted))


def fault(names: Names, deleted: Deleted | None) -> str:
    vault = names.of("kv")
    if deleted is None:
        return (
            f"relevo:azure.name is {names.workload}, but {vault} is the name of a vault elsewhere in Azure; "
            "take another name."
        )
    return (
        f"relevo:azure.name is {names.workload}, but {vault} is a deleted vault in {deleted.location}, which "
        f"keeps the name until {deleted.until}; run az keyvault recover --name {vault} and pulumi import it, "
        "or take another name."
    )


def _deleted(client: KeyVaultManagementClient, vault: str) -> Deleted | None:
    for found in client.vaults.list_deleted():
        properties = found.properties
        if found.name == vault and properties is not None:
            until = properties.scheduled_purge_date
            return Deleted(
                location=properties.location or "", until=f"{until:%Y-%m-%d}" if until else "it is purged"
            )
    return None


def _client(subscription: str, resource_manager: str) -> KeyVaultManagementClient:
    from azure.mgmt.keyvault import KeyVaultManagementClient

    base = resource_manager.rstrip("/")
    arm: dict[str, Any] = {"base_url": base, "credential_scopes": [f"{base}/.default"], **PATIENCE}
    return KeyVaultManagementClient(credential(), subscription, **arm)
