"""Whether the vault's name can be had: a deleted vault keeps its name for as long as it can be recovered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import PATIENCE, PUBLIC, credential
from components.azure.naming import Names
from components.target import TargetError

if TYPE_CHECKING:
    from azure.mgmt.keyvault import KeyVaultManagementClient


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A vault that was deleted and not yet purged, as the subscription's list has it."""

    location: str
    until: str  # when Azure purges it


def refuse_taken(names: Names, *, subscription: str, resource_manager: str = PUBLIC) -> None:
    """Raises `TargetError` if the stack's vault is not there and cannot be made. Changes nothing.

    Also if that cannot be known: who may not ask gets no preview.
    """
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
