"""What Azure's answers have that no request does: addresses, ids of principals, keys."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tests.azure import arm
from tests.azure.sdk import resource
from tests.azure.stand_in import CLIENT, OBJECT, SUBSCRIPTION, TENANT, StandInAzure

Inputs = Mapping[str, Any]
NAMESPACE = uuid.UUID("8a6d0f2e-3f2b-4a52-9c07-6d6f1f1c0a11")


class NotThere(Exception):
    """A function asked for what is not there; the text is ARM's."""


def invented(*parts: str) -> str:
    """A UUID, the same for the same parts."""
    return str(uuid.uuid5(NAMESPACE, "/".join(parts)))


def key(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def outputs(token: str, inputs: Inputs, id_: str) -> dict[str, Any]:
    """Beside the echo of the inputs."""
    of = arm.kind(token)
    known = resource(token)
    common = {
        "name": arm.names(token, inputs)[-1],
        "type": arm.TYPES[of].type,
        "azureApiVersion": known.api_version,
        "provisioningState": "Succeeded",
    }
    made = _OWN[of](inputs, id_) if of in _OWN else {}
    return {**{name: value for name, value in common.items() if name in known.outputs}, **made}


def assigned(identities: list[str]) -> dict[str, dict[str, str]]:
    """Id of an identity → what Azure says of it."""
    return {
        id_: {"clientId": invented(id_, "client"), "principalId": invented(id_, "principal")}
        for id_ in identities
    }


def _vault_secret(inputs: Inputs, id_: str) -> dict[str, Any]:
    uri = f"https://{inputs['vaultName']}.vault.azure.net/secrets/{inputs['secretName']}"
    version = key(id_, str((inputs.get("properties") or {}).get("value")))[:32]
    return {"properties": {"secretUri": uri, "secretUriWithVersion": f"{uri}/{version}"}}


def _endpoint(inputs: Inputs, id_: str) -> dict[str, Any]:
    # "<name>-<hash>.z01.azurefd.net": not to be known before ("Endpoints in Azure Front Door").
    return {"hostName": f"{inputs['endpointName']}-{key(id_)[:16]}.z01.azurefd.net"}


def _site(inputs: Inputs, id_: str) -> dict[str, Any]:
    return {
        "defaultHostName": f"{inputs['name']}.azurewebsites.net",
        "hostNames": [f"{inputs['name']}.azurewebsites.net"],
        "state": "Running",
        "customDomainVerificationId": key(SUBSCRIPTION).upper(),
        "outboundIpAddresses": "20.50.2.1,20.50.2.2",
    }


def _cluster(inputs: Inputs, id_: str) -> dict[str, Any]:
    return {
        "hostName": f"{inputs['clusterName']}.{inputs['location']}.redis.azure.net",
        "redundancyMode": "ZR",
        "resourceState": "Running",
    }


_OWN: Mapping[str, Callable[[Inputs, str], dict[str, Any]]] = {
    "app:ManagedEnvironment": lambda inputs, id_: {
        "defaultDomain": f"{key(id_)[:10]}.{inputs['location']}.azurecontainerapps.io",
        "staticIp": "10.40.2.4",
    },
    "app:ContainerApp": lambda inputs, id_: {"latestRevisionName": f"{inputs['containerAppName']}--0000001"},
    "applicationinsights:Component": lambda inputs, id_: {
        "appId": invented(id_, "app"),
        "instrumentationKey": invented(id_, "key"),
        "creationDate": "2026-01-01T00:00:00.0000000+00:00",
        "connectionString": f"InstrumentationKey={invented(id_, 'key')};"
        f"IngestionEndpoint=https://{inputs['location']}-5.in.applicationinsights.azure.com/",
    },
    "cdn:AFDCustomDomain": lambda inputs, id_: {
        "validationProperties": {
            "validationToken": key(id_)[:32],
            "expirationDate": "2026-12-31T00:00:00.0000000+00:00",
        },
        "domainValidationState": "Pending",
    },
    "cdn:AFDEndpoint": _endpoint,
    "cdn:Profile": lambda inputs, id_: {"frontDoorId": invented(id_), "resourceState": "Active"},
    "containerregistry:Registry": lambda inputs, id_: {"loginServer": f"{inputs['registryName']}.azurecr.io"},
    "dbforpostgresql:Server": lambda inputs, id_: {
        "fullyQualifiedDomainName": f"{inputs['serverName']}.postgres.database.azure.com",
        "state": "Ready",
    },
    "keyvault:Secret": _vault_secret,
    "keyvault:Vault": lambda inputs, id_: {
        "properties": {"vaultUri": f"https://{inputs['vaultName']}.vault.azure.net/"}
    },
    "managedidentity:UserAssignedIdentity": lambda inputs, id_: {
        "clientId": invented(id_, "client"),
        "principalId": invented(id_, "principal"),
        "tenantId": TENANT,
    },
    "operationalinsights:Workspace": lambda inputs, id_: {
        "customerId": invented(id_),
        "createdDate": "2026-01-01T00:00:00.0000000Z",
    },
    "redisenterprise:RedisEnterprise": _cluster,
    "redisenterprise:Database": lambda inputs, id_: {"resourceState": "Running"},
    "storage:StorageAccount": lambda inputs, id_: {
        "primaryLocation": inputs["location"],
        "primaryEndpoints": {"blob": f"https://{inputs['accountName']}.blob.core.windows.net/"},
    },
    "web:WebApp": _site,
    "web:AppServicePlan": lambda inputs, id_: {"status": "Ready", "numberOfSites": 0},
}


# -- functions -------------------------------------------------------------------------------------------


def call(function: str, arguments: Inputs, azure: StandInAzure, *, known: bool) -> dict[str, Any]:
    """What an invoke returns. `known`: a resource that is not there is answered as if it were.

    Raises `NotThere`, and `KeyError` for a function that no row has.
    """
    answer = _FUNCTIONS[function]
    return answer(arguments, azure, known)


def _login(_arguments: Inputs, _azure: StandInAzure, _known: bool) -> dict[str, Any]:
    return {"clientId": CLIENT, "objectId": OBJECT, "subscriptionId": SUBSCRIPTION, "tenantId": TENANT}


def _get_secret(arguments: Inputs, azure: StandInAzure, known: bool) -> dict[str, Any]:
    token = "azure-native:keyvault:Secret"
    id_ = arm.resource_id(token, arguments, SUBSCRIPTION)
    document = azure.get(id_)
    if document is None and not known:
        raise NotThere(
            f'Status=404 Code="SecretNotFound" Message="A secret with (name/id) {arguments["secretName"]} '
            'was not found in this key vault."'
        )
    # As ARM answers: never with the value.
    properties = (
        document["outputs"]["properties"] if document else _vault_secret(arguments, id_)["properties"]
    )
    shown = {name: properties[name] for name in ("secretUri", "secretUriWithVersion")}
    return {
        "id": id_,
        "name": arguments["secretName"],
        "type": arm.TYPES["keyvault:Secret"].type,
        "azureApiVersion": resource(token).api_version,
        "properties": shown,
    }


def _cache_keys(arguments: Inputs, azure: StandInAzure, known: bool) -> dict[str, Any]:
    id_ = arm.resource_id("azure-native:redisenterprise:Database", arguments, SUBSCRIPTION)
    if azure.get(id_) is None and not known:
        raise NotThere(f'Status=404 Code="ResourceNotFound" Message="{id_} was not found."')
    return {"primaryKey": key(id_, "primary"), "secondaryKey": key(id_, "secondary")}


_FUNCTIONS: Mapping[str, Callable[[Inputs, StandInAzure, bool], dict[str, Any]]] = {
    "azure-native:authorization:getClientConfig": _login,
    "azure-native:keyvault:getSecret": _get_secret,
    "azure-native:redisenterprise:listDatabaseKeys": _cache_keys,
}
