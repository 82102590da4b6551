"""Compares a template with the models of Microsoft's own clients (azure-mgmt-*): names, types and values.

Of the API version that the template names, wherever a client has it.

`python -m tests.azure.crosscheck.models < template.json` prints a line for each fault. It runs in the
environment that run.py makes, so only the standard library and azure-mgmt are imported.
"""

from __future__ import annotations

import enum
import functools
import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

# Type → module and model of what a PUT sends.
MODELS: Mapping[str, tuple[str, str]] = {
    "Microsoft.App/containerApps": ("appcontainers", "ContainerApp"),
    "Microsoft.App/jobs": ("appcontainers", "Job"),
    "Microsoft.App/managedEnvironments": ("appcontainers", "ManagedEnvironment"),
    "Microsoft.Authorization/locks": ("resource.locks", "ManagementLockObject"),
    "Microsoft.Authorization/roleAssignments": (
        "authorization.v2022_04_01",
        "RoleAssignmentCreateParameters",
    ),
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
    "Microsoft.ContainerRegistry/registries": ("containerregistry.v2023_01_01_preview", "Registry"),
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
    "Microsoft.Insights/components": ("applicationinsights.v2020_02_02", "ApplicationInsightsComponent"),
    "Microsoft.Insights/diagnosticSettings": ("monitor", "DiagnosticSettingsResource"),
    "Microsoft.Insights/metricAlerts": ("monitor", "MetricAlertResource"),
    "Microsoft.Insights/scheduledQueryRules": ("monitor", "ScheduledQueryRuleResource"),
    "Microsoft.Insights/workbooks": ("applicationinsights.v2023_06_01", "Workbook"),
    "Microsoft.KeyVault/vaults": ("keyvault", "VaultCreateOrUpdateParameters"),
    "Microsoft.KeyVault/vaults/secrets": ("keyvault", "SecretCreateOrUpdateParameters"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi.v2023_01_31", "Identity"),
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
    "Microsoft.Storage/storageAccounts": ("storage.v2024_01_01", "StorageAccountCreateParameters"),
    "Microsoft.Storage/storageAccounts/blobServices": ("storage.v2024_01_01", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("storage.v2024_01_01", "BlobContainer"),
    "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies": (
        "storage.v2024_01_01",
        "ImmutabilityPolicy",
    ),
    "Microsoft.Storage/storageAccounts/managementPolicies": ("storage.v2024_01_01", "ManagementPolicy"),
    "Microsoft.Web/serverfarms": ("web", "AppServicePlan"),
    "Microsoft.Web/sites": ("web", "Site"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "web",
        "CsmPublishingCredentialsPoliciesEntity",
    ),
    "Microsoft.Web/sites/config": ("web", "SiteLogsConfig"),  # there is no other config of a site
}
WITHOUT: Mapping[str, str] = {
    "Microsoft.Cdn/profiles/ruleSets": "a PUT has no body",
    "Microsoft.Resources/resourceGroups": "a place and tags; clients have 2022-09-01 and 2024-07-01",
}
# Where no release of the client has the template's API version: the one before it, which cannot know what is
# too new. That a version is the same after all is a fault too.
DIFFERENT: Mapping[str, str] = {
    **{
        type_: "after 2024-02-01 comes a client of 2025-12-01"
        for type_ in MODELS
        if type_.startswith("Microsoft.Cdn/")
    },
    "Microsoft.Insights/actionGroups": "no client has a version after 2023-01-01",
    "Microsoft.Insights/scheduledQueryRules": "no client has a version after 2023-12-01",
    "Microsoft.Network/frontdoorWebApplicationFirewallPolicies": "no client has a version after 2025-10-01",
    "Microsoft.OperationalInsights/workspaces": "after 2022-10-01 comes a client of 2025-07-01",
}
# Where only a client's operations say their version, as many APIs are in it: module and maker of a request.
REQUESTS: Mapping[str, str] = {
    "Microsoft.Insights/actionGroups": "_action_groups_operations.build",
    "Microsoft.Insights/diagnosticSettings": "_diagnostic_settings_operations.build",
    "Microsoft.Insights/metricAlerts": "_metric_alerts_operations.build",
    "Microsoft.Insights/scheduledQueryRules": "_scheduled_query_rules_operations.build",
    "Microsoft.Network/networkSecurityGroups": "_operations.build_network_security_groups",
    "Microsoft.Network/privateEndpoints": "_operations.build_private_endpoints",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "_operations.build_private_dns_zone_groups",
    "Microsoft.Network/virtualNetworks": "_operations.build_virtual_networks",
    "Microsoft.Network/virtualNetworks/subnets": "_operations.build_subnets",
    "Microsoft.Network/virtualNetworks/virtualNetworkPeerings": "_operations.build_virtual_network_peerings",
    "Microsoft.OperationalInsights/workspaces": "_workspaces_operations.build",
}
# In the SDK's API version, but not in the client's; a domain has it (components/azure/edge.py).
NEWER = {("AFDDomainHttpsParameters", "cipherSuiteSetType")}
# Of a template, not of a body.
TEMPLATE = {"type", "apiVersion", "name", "scope", "resourceGroup", "dependsOn", "id", "metadata"}


def faults(template: Mapping[str, Any]) -> Iterator[str]:
    for resource in template["resources"]:
        type_ = resource["type"]
        where = f"{type_} {resource['name']}:"
        if type_ not in MODELS:
            if type_ not in WITHOUT:
                yield f"{where} type is in neither MODELS nor WITHOUT"
            continue
        module, name = MODELS[type_]
        if ((known := version(type_)) != resource["apiVersion"]) != (type_ in DIFFERENT):
            yield (
                f"{where} apiVersion is {resource['apiVersion']}, and the client's {known}; "
                "take another release of the client, or change DIFFERENT"
            )
        model = getattr(importlib.import_module(f"azure.mgmt.{module}.models"), name)
        body = {key: value for key, value in resource.items() if key not in TEMPLATE}
        for path, fault in _object(body, model):
            yield f"{where} {path.lstrip('.')} {fault}"


@functools.cache
def version(type_: str) -> str:
    """The API version of which the type's model is, as the client says it."""
    package, _, dated = MODELS[type_][0].partition(".v")
    if dated:
        return dated.replace("_", "-")
    if type_ in REQUESTS:
        module, _, function = REQUESTS[type_].partition(".")
        operations = importlib.import_module(f"azure.mgmt.{package}.operations.{module}")
        source = inspect.getsource(getattr(operations, f"{function}_create_or_update_request"))
        (only,) = {*re.findall(r'"(\d{4}-\d\d-\d\d(?:-preview)?)"', source)}
        return only
    configuration = importlib.import_module(f"azure.mgmt.{package}._configuration")
    (made,) = (value for name, value in vars(configuration).items() if name.endswith("ClientConfiguration"))
    return made(credential=object(), subscription_id="none").api_version


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
