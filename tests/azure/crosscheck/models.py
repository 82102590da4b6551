"""Compares a template with the models of Microsoft's own clients (azure-mgmt-*): names, types and values.

`python -m tests.azure.crosscheck.models < template.json` prints a line for each fault. It runs in the
environment that run.py makes, so only the standard library and azure-mgmt are imported.
"""

from __future__ import annotations

import enum
import functools
import importlib
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

# Type → package and model of what a PUT sends. Those of types that are not here have no client in the
# environment, or one whose API has no body for them.
MODELS: Mapping[str, tuple[str, str]] = {
    "Microsoft.App/containerApps": ("appcontainers", "ContainerApp"),
    "Microsoft.App/jobs": ("appcontainers", "Job"),
    "Microsoft.App/managedEnvironments": ("appcontainers", "ManagedEnvironment"),
    "Microsoft.Authorization/roleAssignments": ("authorization", "RoleAssignmentCreateParameters"),
    "Microsoft.Cache/redisEnterprise": ("redisenterprise", "Cluster"),
    "Microsoft.Cache/redisEnterprise/databases": ("redisenterprise", "Database"),
    "Microsoft.Cdn/profiles": ("cdn", "Profile"),
    "Microsoft.Cdn/profiles/afdEndpoints": ("cdn", "AFDEndpoint"),
    "Microsoft.Cdn/profiles/afdEndpoints/routes": ("cdn", "Route"),
    "Microsoft.Cdn/profiles/customDomains": ("cdn", "AFDDomain"),
    "Microsoft.Cdn/profiles/originGroups": ("cdn", "AFDOriginGroup"),
    "Microsoft.Cdn/profiles/originGroups/origins": ("cdn", "AFDOrigin"),
    "Microsoft.Cdn/profiles/ruleSets/rules": ("cdn", "Rule"),
    "Microsoft.Cdn/profiles/securityPolicies": ("cdn", "SecurityPolicy"),
    "Microsoft.ContainerRegistry/registries": ("containerregistry", "Registry"),
    "Microsoft.DBforPostgreSQL/flexibleServers": ("postgresqlflexibleservers", "Server"),
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": (
        "postgresqlflexibleservers",
        "AdministratorMicrosoftEntraAdd",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations": (
        "postgresqlflexibleservers",
        "ConfigurationForUpdate",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": ("postgresqlflexibleservers", "Database"),
    "Microsoft.Insights/actionGroups": ("monitor", "ActionGroupResource"),
    "Microsoft.Insights/components": ("applicationinsights", "ApplicationInsightsComponent"),
    "Microsoft.Insights/metricAlerts": ("monitor", "MetricAlertResource"),
    "Microsoft.Insights/scheduledQueryRules": ("monitor", "ScheduledQueryRuleResource"),
    "Microsoft.KeyVault/vaults": ("keyvault", "VaultCreateOrUpdateParameters"),
    "Microsoft.KeyVault/vaults/secrets": ("keyvault", "SecretCreateOrUpdateParameters"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi", "Identity"),
    "Microsoft.Network/frontdoorWebApplicationFirewallPolicies": (
        "frontdoor",
        "WebApplicationFirewallPolicy",
    ),
    "Microsoft.Network/networkSecurityGroups": ("network", "NetworkSecurityGroup"),
    "Microsoft.Network/privateDnsZones": ("privatedns", "PrivateZone"),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": ("privatedns", "VirtualNetworkLink"),
    "Microsoft.Network/privateEndpoints": ("network", "PrivateEndpoint"),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": ("network", "PrivateDnsZoneGroup"),
    "Microsoft.Network/virtualNetworks": ("network", "VirtualNetwork"),
    "Microsoft.Network/virtualNetworks/subnets": ("network", "Subnet"),
    "Microsoft.Network/virtualNetworks/virtualNetworkPeerings": ("network", "VirtualNetworkPeering"),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics", "Workspace"),
    "Microsoft.Storage/storageAccounts": ("storage", "StorageAccountCreateParameters"),
    "Microsoft.Storage/storageAccounts/blobServices": ("storage", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("storage", "BlobContainer"),
    "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies": (
        "storage",
        "ImmutabilityPolicy",
    ),
    "Microsoft.Storage/storageAccounts/managementPolicies": ("storage", "ManagementPolicy"),
    "Microsoft.Web/serverfarms": ("web", "AppServicePlan"),
    "Microsoft.Web/sites": ("web", "Site"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "web",
        "CsmPublishingCredentialsPoliciesEntity",
    ),
}
# In the SDK's API version, a preview, but not in the client's; the SDK sends its default.
NEWER = {("WorkloadProfile", "enableFips")}
# Of a template, not of a body.
TEMPLATE = {"type", "apiVersion", "name", "scope", "resourceGroup", "dependsOn", "id", "metadata"}


def faults(template: Mapping[str, Any]) -> Iterator[str]:
    for resource in template["resources"]:
        if (found := MODELS.get(resource["type"])) is None:
            continue
        package, name = found
        model = getattr(importlib.import_module(f"azure.mgmt.{package}.models"), name)
        body = {key: value for key, value in resource.items() if key not in TEMPLATE}
        for path, fault in _object(body, model):
            yield f"{resource['type']} {resource['name']}: {path.lstrip('.')} {fault}"


def _object(value: Any, model: type) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        if not _expression(value):
            yield "", f"is {value!r}, but {model.__name__} is an object"
        return
    fields = _fields(_concrete(model, value))
    for key, item in value.items():
        if (model.__name__, key) in NEWER:
            continue
        if key not in fields:
            yield f".{key}", f"is no property of {model.__name__}"
        elif item is not None:
            for path, fault in _value(item, fields[key]):
                yield f".{key}{path}", fault


def _value(value: Any, accepted: Any) -> Iterator[tuple[str, str]]:
    origin = typing.get_origin(accepted)
    if accepted is Any or accepted is object or _expression(value):
        return
    if origin in (typing.Union, types.UnionType):
        among = [one for one in typing.get_args(accepted) if one is not type(None)]
        enums = [one for one in among if isinstance(one, type) and issubclass(one, enum.Enum)]
        among = enums or among  # an enum is open for the client, but not for the service
        yield from min(([*_value(value, one)] for one in among), key=len)
    elif isinstance(accepted, Tree):
        yield from _tree(value, accepted)
    elif origin is typing.Literal:
        constants = [getattr(one, "value", one) for one in typing.get_args(accepted)]
        if value not in constants:
            yield "", f"is {value!r}, but {constants} are accepted"
    elif origin in (list, tuple):
        if not isinstance(value, list):
            yield "", f"is {value!r}, but a list is accepted"
            return
        for index, item in enumerate(value):
            for path, fault in _value(item, typing.get_args(accepted)[0]):
                yield f"[{index}]{path}", fault
    elif origin is dict:
        for key, item in value.items():
            for path, fault in _value(item, typing.get_args(accepted)[1]):
                yield f".{key}{path}", fault
    elif isinstance(accepted, type) and issubclass(accepted, enum.Enum):
        known = [one.value for one in accepted]
        if value not in known:
            yield "", f"is {value!r}, but {', '.join(map(str, known))} are accepted"
    elif isinstance(accepted, type) and (hasattr(accepted, "_attribute_map") or _is_model(accepted)):
        yield from _object(value, accepted)
    elif accepted in _PLAIN and (
        not isinstance(value, _PLAIN[accepted]) or isinstance(value, bool) != (accepted is bool)
    ):
        yield "", f"is {value!r}, but {accepted.__name__} is accepted"


_PLAIN: dict[Any, Any] = {bool: bool, int: (int, float), float: (int, float), str: str}


def _expression(value: Any) -> bool:
    """An expression of the template language: its value is known when it is deployed."""
    return isinstance(value, str) and value.startswith("[") and value.endswith("]")


def _is_model(model: type) -> bool:
    return any(base.__module__.endswith("model_base") for base in model.__mro__[1:])


def _concrete(model: type, value: Mapping[str, Any]) -> type:
    """The subclass that a discriminating property names."""
    mapping = getattr(model, "__mapping__", None)
    if isinstance(mapping, dict) and not hasattr(model, "_attribute_map"):
        for item in value.values():
            if isinstance(item, str) and item in mapping:
                return _concrete(mapping[item], value) if mapping[item] is not model else model
    for attribute, names in getattr(model, "_subtype_map", {}).items():
        key = model._attribute_map[attribute]["key"].replace("\\.", ".")  # type: ignore[attr-defined]
        if value.get(key) in names:
            return _named(names[value[key]], model)
    return model


@functools.cache
def _fields(model: type) -> dict[str, Any]:
    """Name on the wire → type."""
    if hasattr(model, "_attribute_map"):
        return dict(_tree_of(model))
    model({})  # fills the table
    module = sys.modules[model.__module__]
    package = importlib.import_module(model.__module__.partition(".models")[0])
    names = {**vars(module), "_models": importlib.import_module(f"{package.__name__}.models")}
    names["_types"] = getattr(package, "_types", None)
    names["_unions"] = getattr(package, "_unions", None)
    hints: dict[str, Any] = {}
    for base in reversed(model.__mro__):
        if _is_model(base):
            for name, hint in vars(base).get("__annotations__", {}).items():
                hints[name] = eval(hint, names) if isinstance(hint, str) else _resolved(hint, names)
    table = model._attr_to_rest_field  # type: ignore[attr-defined]
    return {field._rest_name: hints.get(name, Any) for name, field in table.items()}


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    holder = types.new_class("_Holder")
    holder.__annotations__ = {"hint": hint}
    return typing.get_type_hints(holder, globalns=names)["hint"]


class Tree(dict[str, Any]):
    """The fields of a `properties` that an older client's model spreads over its attributes."""


def _tree(value: Any, tree: Tree) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if key not in tree:
            yield f".{key}", "is no property there"
            continue
        for path, fault in _value(item, tree[key]):
            yield f".{key}{path}", fault


def _tree_of(model: type) -> Tree:
    tree = Tree()
    for attribute in model._attribute_map.values():  # type: ignore[attr-defined]
        *parents, last = [
            part.replace("\0", ".") for part in attribute["key"].replace("\\.", "\0").split(".")
        ]
        inner: Tree = tree
        for parent in parents:
            inner = inner.setdefault(parent, Tree())
        inner[last] = _named(attribute["type"], model)
    return tree


def _named(name: str, model: type) -> Any:
    if name.startswith("["):
        return list[_named(name[1:-1], model)]  # type: ignore[misc]
    if name.startswith("{"):
        return dict[str, _named(name[1:-1], model)]  # type: ignore[misc]
    plain = {"str": str, "bool": bool, "int": int, "float": float, "long": int}
    if name in plain:
        return plain[name]
    models = importlib.import_module(model.__module__.rpartition(".")[0])
    return getattr(models, name, Any)


def main() -> None:
    for fault in faults(json.load(sys.stdin)):
        print(fault)


if __name__ == "__main__":
    main()
