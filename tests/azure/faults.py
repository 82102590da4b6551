"""What is wrong with the inputs of a resource, by the SDK's types and by what ARM is known to refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from relevo.toolchain.command_plugin.wire import ASSET, SIGNATURE, UNKNOWN, step_into
from tests.azure.sdk import Chosen, Enumerated, Field, Listed, Mapped, Nested, Resource, Type

Fault = tuple[str, str]
"""Property path, and what is wrong there."""

ID = re.compile(
    r"/subscriptions/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/resourceGroups/[-\w.()]+)?"
    r"(/providers/[A-Za-z]+(\.[A-Za-z]+)+(/[A-Za-z]+/[^/]+)+)*"
)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
UUIDS = {"tenantId", "principalId", "objectId", "clientId", "acrUserManagedIdentityID"}
# Inputs that take an id of ARM and nothing else, whatever resource they belong to.
IDS = re.compile(
    r"(resourceUri|scopes\[\d+\]|workspaceId|(workspace|subnet|environment|profile|privateDnsZone|privateLinkService"
    r"|serverFarm|roleDefinition|actionGroup)(Arm)?(Resource)?Id|virtualNetworkSubnetId|keyVaultReferenceIdentity)$"
)
ZONES = {"", "1", "2", "3"}  # the SDK's default is "", by which Azure chooses
# ARM takes "West Europe" as well, but answers "westeurope", which would be a change at each refresh.
LOCATION = re.compile(r"[a-z]+[a-z0-9]*|Global")

# "Naming rules and restrictions for Azure resources": input with a name → what ARM accepts.
NAMES: Mapping[str, str] = {
    "keyvault:Vault.vaultName": r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
    "keyvault:Secret.secretName": r"[a-zA-Z0-9-]{1,127}",
    "storage:StorageAccount.accountName": r"[a-z0-9]{3,24}",
    "storage:BlobContainer.containerName": r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]",
    "containerregistry:Registry.registryName": r"[a-zA-Z0-9]{5,50}",
    "dbforpostgresql:Server.serverName": r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "web:WebApp.name": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,58}[a-zA-Z0-9]",
    "web:AppServicePlan.name": r"[a-zA-Z0-9-]{1,60}",
    "frontdoor:Policy.policyName": r"[a-zA-Z][a-zA-Z0-9]{0,127}",
    "cdn:Profile.profileName": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,258}[a-zA-Z0-9]",
    "cdn:AFDEndpoint.endpointName": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,44}[a-zA-Z0-9]",
    "cdn:AFDOrigin.originName": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,88}[a-zA-Z0-9]",
    "cdn:AFDOriginGroup.originGroupName": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,88}[a-zA-Z0-9]",
    "cdn:RuleSet.ruleSetName": r"[a-zA-Z][a-zA-Z0-9]{0,59}",
    "cdn:Rule.ruleName": r"[a-zA-Z][a-zA-Z0-9]{0,59}",
    "cdn:Route.routeName": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,88}[a-zA-Z0-9]",
    "cdn:SecurityPolicy.securityPolicyName": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,258}[a-zA-Z0-9]",
    "app:Job.jobName": r"[a-z](?!.*--)[a-z0-9-]{0,30}[a-z0-9]",
    "app:ContainerApp.containerAppName": r"[a-z](?!.*--)[a-z0-9-]{0,30}[a-z0-9]",
    "redisenterprise:RedisEnterprise.clusterName": r"[a-zA-Z0-9](?!.*--)[a-zA-Z0-9-]{1,58}[a-zA-Z0-9]",
    "operationalinsights:Workspace.workspaceName": r"[a-zA-Z0-9][a-zA-Z0-9-]{2,61}[a-zA-Z0-9]",
    "resources:ResourceGroup.resourceGroupName": r"[\w.()-]{0,89}[\w()-]",
}

# Required by ARM although the SDK takes them as optional: inputs that tell ARM what is made.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "dbforpostgresql:Server": ("sku", "storage", "version"),
    "web:WebApp": ("serverFarmId", "kind", "reserved"),
    "web:AppServicePlan": ("sku", "kind", "reserved"),
    "cdn:AFDOrigin": ("originHostHeader",),
    "cdn:Route": ("originGroup", "linkToDefaultDomain", "supportedProtocols", "patternsToMatch"),
    "frontdoor:Policy": ("sku",),
    "redisenterprise:Database": ("port",),
    "network:Subnet": ("addressPrefix",),
    "network:PrivateEndpoint": ("subnet", "privateLinkServiceConnections"),
    "monitor:DiagnosticSetting": ("workspaceId",),
    "app:Job": ("environmentId", "configuration", "template"),
    "app:ContainerApp": ("environmentId", "configuration", "template"),
}
# Regional types without a location of their own, by the resource group's or their parent's.
UNLOCATED = ("location",)


def faults(resource: Resource, inputs: Mapping[str, Any]) -> list[Fault]:
    """Every fault, in the order of the inputs."""
    kind = resource.token.partition(":")[2]
    found = [*_object(kind, "", inputs, resource.inputs)]
    for name in NEEDED.get(kind, ()):
        if inputs.get(name) is None:
            found.append((name, f"{kind} needs {name}"))
    if "location" in resource.inputs and "resourceGroupName" in inputs and inputs.get("location") is None:
        found += [("location", f"{kind} has no location")] if "tags" in resource.inputs else []
    for key, pattern in NAMES.items():
        named, _, name = key.partition(".")
        value = inputs.get(name)
        if named == kind and value not in (None, UNKNOWN) and not re.fullmatch(pattern, str(value)):
            found.append((name, f"{kind} cannot be called {value!r}"))
    return found


def _object(kind: str, path: str, value: Mapping[str, Any], fields: Mapping[str, Field]) -> Iterator[Fault]:
    for key, item in value.items():
        where = step_into(path, key) if path else key
        if key not in fields:
            yield where, f"{kind} has no property {key}"
        elif item is not None:
            yield from _value(where, item, fields[key].type)
            yield from _constant(where, item, fields[key].constant)
            yield from _formats(where, key, item)
    for key, field in fields.items():
        if field.required and value.get(key) is None:
            yield step_into(path, key) if path else key, f"{kind} needs {key}"


def _value(path: str, value: Any, accepted: Type) -> Iterator[Fault]:
    if value == UNKNOWN or accepted is object:
        return
    if isinstance(accepted, Listed):
        if not isinstance(value, list):
            yield path, f"{_shown(value)} is no list"
            return
        for index, item in enumerate(value):
            yield from _value(f"{path}[{index}]", item, accepted.item)
            yield from _formats(f"{path}[{index}]", f"{path.rpartition('.')[2]}[{index}]", item)
    elif isinstance(accepted, Mapped):
        if not isinstance(value, dict):
            yield path, f"{_shown(value)} is no map"
            return
        for key, item in value.items():
            yield from _value(step_into(path, key), item, accepted.value)
    elif isinstance(accepted, Chosen):
        each = [list(_value(path, value, one)) for one in accepted.among]
        yield from min(each, key=len)
    elif isinstance(accepted, Enumerated):
        if value not in accepted.values:
            known = ", ".join(map(str, accepted.values))
            yield path, f"{_shown(value)} is no {accepted.name}, but {known} are"
    elif isinstance(accepted, Nested):
        if not isinstance(value, dict) or value.get(SIGNATURE) == ASSET:
            yield path, f"{_shown(value)} is no {accepted.name}"
            return
        yield from _object(accepted.name, path, value, accepted.fields)
    elif not _is(value, accepted):
        yield path, f"{_shown(value)} is no {accepted.__name__}"


def _is(value: Any, accepted: type) -> bool:
    if accepted is bool or isinstance(value, bool):
        return accepted is bool and isinstance(value, bool)
    if accepted is int:
        return isinstance(value, int | float) and float(value).is_integer()  # numbers travel as floats
    return isinstance(value, int | float) if accepted is float else isinstance(value, accepted)


def _constant(path: str, value: Any, constant: Any) -> Iterator[Fault]:
    if constant is not None and value != constant:
        yield path, f"{_shown(value)} is not {constant!r}"


def _formats(path: str, key: str, value: Any) -> Iterator[Fault]:
    if not isinstance(value, str) or UNKNOWN in value:
        return
    if key in UUIDS and not UUID.fullmatch(value):
        yield path, f"{_shown(value)} is no UUID"
    is_id = value.startswith("/subscriptions/")
    if (is_id and not ID.fullmatch(value)) or (
        IDS.search(key) and not is_id and not value.startswith("/providers/")
    ):
        yield path, f"{_shown(value)} is no resource id"
    if re.match(r"(zones\[\d+\]|availabilityZone|standbyAvailabilityZone)$", key) and value not in ZONES:
        yield path, f"{_shown(value)} is no zone"
    if key == "location" and not LOCATION.fullmatch(value):
        yield path, f"{_shown(value)} is no location"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
