"""Each resource type's API version, as this SDK has it: one that moved is looked at before it is used.

In v3 of azure-native a type has one API version, which the SDK's exact pin in requirements.txt holds. The
table makes a new pin show what it moves.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest

SOURCES = sorted((Path(__file__).parents[3] / "components/azure").glob("*.py"))

VERSIONS = {
    "app.ContainerApp": "2025-02-02-preview",
    "app.Job": "2025-02-02-preview",
    "app.ManagedEnvironment": "2025-02-02-preview",
    "applicationinsights.Component": "2020-02-02",
    "applicationinsights.WebTest": "2022-06-15",
    "applicationinsights.Workbook": "2023-06-01",
    "authorization.ManagementLockByScope": "2020-05-01",
    "authorization.RoleAssignment": "2022-04-01",
    "cdn.AFDCustomDomain": "2025-06-01",
    "cdn.AFDEndpoint": "2025-06-01",
    "cdn.AFDOrigin": "2025-06-01",
    "cdn.AFDOriginGroup": "2025-06-01",
    "cdn.Policy": "2025-06-01",
    "cdn.Profile": "2025-06-01",
    "cdn.Route": "2025-06-01",
    "cdn.Rule": "2025-06-01",
    "cdn.RuleSet": "2025-06-01",
    "cdn.SecurityPolicy": "2025-06-01",
    "containerregistry.Registry": "2023-01-01-preview",
    "dbforpostgresql.AdministratorsMicrosoftEntra": "2025-08-01",
    "dbforpostgresql.Configuration": "2025-08-01",
    "dbforpostgresql.Database": "2025-08-01",
    "dbforpostgresql.Server": "2025-08-01",
    "frontdoor.Policy": "2025-11-01",
    "keyvault.Secret": "2024-11-01",
    "keyvault.Vault": "2024-11-01",
    "managedidentity.UserAssignedIdentity": "2023-01-31",
    "monitor.ActionGroup": "2024-10-01-preview",
    "monitor.ActivityLogAlert": "2020-10-01",
    "monitor.DiagnosticSetting": "2021-05-01-preview",
    "monitor.MetricAlert": "2018-03-01",
    "monitor.ScheduledQueryRule": "2025-01-01-preview",
    "network.NetworkSecurityGroup": "2024-05-01",
    "network.PrivateDnsZoneGroup": "2024-05-01",
    "network.PrivateEndpoint": "2024-05-01",
    "network.Subnet": "2024-05-01",
    "network.VirtualNetwork": "2024-05-01",
    "network.VirtualNetworkPeering": "2024-05-01",
    "operationalinsights.Workspace": "2023-09-01",
    "privatedns.PrivateZone": "2024-06-01",
    "privatedns.VirtualNetworkLink": "2024-06-01",
    "redisenterprise.Database": "2025-07-01",
    "redisenterprise.RedisEnterprise": "2025-07-01",
    "resources.ResourceGroup": "2024-03-01",
    "storage.BlobContainer": "2024-01-01",
    "storage.BlobContainerImmutabilityPolicy": "2024-01-01",
    "storage.BlobServiceProperties": "2024-01-01",
    "storage.ManagementPolicy": "2024-01-01",
    "storage.StorageAccount": "2024-01-01",
    "web.AppServicePlan": "2025-05-01",
    "web.WebApp": "2025-05-01",
    "web.WebAppDiagnosticLogsConfiguration": "2025-05-01",
    "web.WebAppFtpAllowed": "2025-05-01",
    "web.WebAppScmAllowed": "2025-05-01",
}

# Those whose default in this SDK is a preview, and why it is taken; another would need a generated SDK.
LONG_STANDING = "only properties that stable versions have as well are used"
PREVIEWS = {
    "app.ContainerApp": LONG_STANDING,
    "app.Job": LONG_STANDING,
    "app.ManagedEnvironment": LONG_STANDING,
    "containerregistry.Registry": LONG_STANDING,
    "monitor.ActionGroup": LONG_STANDING,
    "monitor.DiagnosticSetting": "category groups such as allLogs are in no stable version",
    "monitor.ScheduledQueryRule": LONG_STANDING,
}


def used() -> Iterator[str]:
    """Every resource type that a component names, as "module.Type"."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        modules = {
            alias.asname or alias.name: alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "pulumi_azure_native"
            for alias in node.names
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in modules
            ):
                module = modules[node.value.id]
                found = getattr(importlib.import_module(f"pulumi_azure_native.{module}"), node.attr)
                if isinstance(found, type) and issubclass(found, pulumi.CustomResource):
                    yield f"{module}.{node.attr}"


USED = sorted(set(used()))


def version(type_: str) -> str:
    """As the SDK's own documentation of the type says it."""
    module, _, name = type_.partition(".")
    resource = getattr(importlib.import_module(f"pulumi_azure_native.{module}"), name)
    source = Path(sys.modules[resource.__module__].__file__ or "").read_text()
    (found,) = set(re.findall(r"Uses Azure REST API version ([0-9a-z-]+)\.", source))
    return found


@pytest.mark.parametrize("type_", USED)
def test_a_moved_api_version_is_noticed(type_: str) -> None:
    assert type_ in VERSIONS, f"{type_} is used but not in the table; look at {version(type_)} and add it."
    assert version(type_) == VERSIONS[type_]


def test_a_preview_is_taken_only_with_a_reason() -> None:
    assert {type_ for type_ in VERSIONS if VERSIONS[type_].endswith("-preview")} == PREVIEWS.keys()


def test_the_sources_were_found() -> None:
    assert {"keyvault.Vault", "network.VirtualNetwork", "dbforpostgresql.Server"} <= set(USED)
