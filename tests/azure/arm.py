"""How Azure's resource manager knows what azure-native makes: type, id, and the shape of a request's body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.azure.sdk import Chosen, Listed, Mapped, Nested, Type, resource


class UnknownToArm(Exception):
    """A resource type that has no row in the table; the text names it."""


@dataclass(frozen=True)
class ArmType:
    """`names`: an input for each level of the type, or "=name" where a level is always called so.

    `scope`: the input with the id of the resource that this one extends.
    """

    type: str
    names: tuple[str, ...]
    scope: str | None = None
    singleton: bool = False  # is there with its parent, so that to create it is an update

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of which the id is formed; another value is another resource."""
        named = [name for name in self.names if not name.startswith("=")]
        group = ["resourceGroupName"] if self.scope is None else [self.scope]
        return (*group, *named)


def _type(type_: str, *names: str, scope: str | None = None, singleton: bool = False) -> ArmType:
    return ArmType(type_, names, scope, singleton)


# "Azure resource reference - Bicep, ARM template & Terraform AzAPI reference", by resource provider.
TYPES: Mapping[str, ArmType] = {
    "app:ContainerApp": _type("Microsoft.App/containerApps", "containerAppName"),
    "app:Job": _type("Microsoft.App/jobs", "jobName"),
    "app:ManagedEnvironment": _type("Microsoft.App/managedEnvironments", "environmentName"),
    "app:ManagedEnvironmentsStorage": _type(
        "Microsoft.App/managedEnvironments/storages", "environmentName", "storageName"
    ),
    "applicationinsights:Component": _type("Microsoft.Insights/components", "resourceName"),
    "applicationinsights:WebTest": _type("Microsoft.Insights/webtests", "webTestName"),
    "applicationinsights:Workbook": _type("Microsoft.Insights/workbooks", "resourceName"),
    "authorization:ManagementLockByScope": _type("Microsoft.Authorization/locks", "lockName", scope="scope"),
    "authorization:RoleAssignment": _type(
        "Microsoft.Authorization/roleAssignments", "roleAssignmentName", scope="scope"
    ),
    "cdn:AFDCustomDomain": _type("Microsoft.Cdn/profiles/customDomains", "profileName", "customDomainName"),
    "cdn:AFDEndpoint": _type("Microsoft.Cdn/profiles/afdEndpoints", "profileName", "endpointName"),
    "cdn:AFDOrigin": _type(
        "Microsoft.Cdn/profiles/originGroups/origins", "profileName", "originGroupName", "originName"
    ),
    "cdn:AFDOriginGroup": _type("Microsoft.Cdn/profiles/originGroups", "profileName", "originGroupName"),
    "cdn:Profile": _type("Microsoft.Cdn/profiles", "profileName"),
    "cdn:Route": _type(
        "Microsoft.Cdn/profiles/afdEndpoints/routes", "profileName", "endpointName", "routeName"
    ),
    "cdn:Rule": _type("Microsoft.Cdn/profiles/ruleSets/rules", "profileName", "ruleSetName", "ruleName"),
    "cdn:RuleSet": _type("Microsoft.Cdn/profiles/ruleSets", "profileName", "ruleSetName"),
    "cdn:SecurityPolicy": _type(
        "Microsoft.Cdn/profiles/securityPolicies", "profileName", "securityPolicyName"
    ),
    "containerregistry:Registry": _type("Microsoft.ContainerRegistry/registries", "registryName"),
    "dbforpostgresql:AdministratorsMicrosoftEntra": _type(
        "Microsoft.DBforPostgreSQL/flexibleServers/administrators", "serverName", "objectId"
    ),
    "dbforpostgresql:Configuration": _type(
        "Microsoft.DBforPostgreSQL/flexibleServers/configurations",
        "serverName",
        "configurationName",
        singleton=True,
    ),
    "dbforpostgresql:Database": _type(
        "Microsoft.DBforPostgreSQL/flexibleServers/databases", "serverName", "databaseName"
    ),
    "dbforpostgresql:Server": _type("Microsoft.DBforPostgreSQL/flexibleServers", "serverName"),
    "frontdoor:Policy": _type("Microsoft.Network/frontdoorWebApplicationFirewallPolicies", "policyName"),
    "keyvault:Secret": _type("Microsoft.KeyVault/vaults/secrets", "vaultName", "secretName"),
    "keyvault:Vault": _type("Microsoft.KeyVault/vaults", "vaultName"),
    "managedidentity:FederatedIdentityCredential": _type(
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        "resourceName",
        "federatedIdentityCredentialResourceName",
    ),
    "managedidentity:UserAssignedIdentity": _type(
        "Microsoft.ManagedIdentity/userAssignedIdentities", "resourceName"
    ),
    "monitor:ActionGroup": _type("Microsoft.Insights/actionGroups", "actionGroupName"),
    "monitor:ActivityLogAlert": _type("Microsoft.Insights/activityLogAlerts", "activityLogAlertName"),
    "monitor:DiagnosticSetting": _type("Microsoft.Insights/diagnosticSettings", "name", scope="resourceUri"),
    "monitor:MetricAlert": _type("Microsoft.Insights/metricAlerts", "ruleName"),
    "monitor:ScheduledQueryRule": _type("Microsoft.Insights/scheduledQueryRules", "ruleName"),
    "network:NetworkSecurityGroup": _type(
        "Microsoft.Network/networkSecurityGroups", "networkSecurityGroupName"
    ),
    "network:PrivateDnsZoneGroup": _type(
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        "privateEndpointName",
        "privateDnsZoneGroupName",
    ),
    "network:PrivateEndpoint": _type("Microsoft.Network/privateEndpoints", "privateEndpointName"),
    "network:Subnet": _type("Microsoft.Network/virtualNetworks/subnets", "virtualNetworkName", "subnetName"),
    "network:VirtualNetwork": _type("Microsoft.Network/virtualNetworks", "virtualNetworkName"),
    "network:VirtualNetworkPeering": _type(
        "Microsoft.Network/virtualNetworks/virtualNetworkPeerings",
        "virtualNetworkName",
        "virtualNetworkPeeringName",
    ),
    "operationalinsights:Workspace": _type("Microsoft.OperationalInsights/workspaces", "workspaceName"),
    "privatedns:PrivateZone": _type("Microsoft.Network/privateDnsZones", "privateZoneName"),
    "privatedns:VirtualNetworkLink": _type(
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks", "privateZoneName", "virtualNetworkLinkName"
    ),
    "redisenterprise:AccessPolicyAssignment": _type(
        "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments",
        "clusterName",
        "databaseName",
        "accessPolicyAssignmentName",
    ),
    "redisenterprise:Database": _type(
        "Microsoft.Cache/redisEnterprise/databases", "clusterName", "databaseName"
    ),
    "redisenterprise:RedisEnterprise": _type("Microsoft.Cache/redisEnterprise", "clusterName"),
    "resources:ResourceGroup": _type("Microsoft.Resources/resourceGroups", "resourceGroupName"),
    "storage:BlobContainer": _type(
        "Microsoft.Storage/storageAccounts/blobServices/containers",
        "accountName",
        "=default",
        "containerName",
    ),
    "storage:BlobContainerImmutabilityPolicy": _type(
        "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies",
        "accountName",
        "=default",
        "containerName",
        "immutabilityPolicyName",
    ),
    "storage:BlobServiceProperties": _type(
        "Microsoft.Storage/storageAccounts/blobServices", "accountName", "blobServicesName", singleton=True
    ),
    "storage:ManagementPolicy": _type(
        "Microsoft.Storage/storageAccounts/managementPolicies", "accountName", "managementPolicyName"
    ),
    "storage:StorageAccount": _type("Microsoft.Storage/storageAccounts", "accountName"),
    "web:AppServicePlan": _type("Microsoft.Web/serverfarms", "name"),
    "web:WebApp": _type("Microsoft.Web/sites", "name"),
    "web:WebAppDiagnosticLogsConfiguration": _type(
        "Microsoft.Web/sites/config", "name", "=logs", singleton=True
    ),
    "web:WebAppFtpAllowed": _type(
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies", "name", "=ftp", singleton=True
    ),
    "web:WebAppScmAllowed": _type(
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies", "name", "=scm", singleton=True
    ),
}

# Beside `properties` in a body; all other inputs lie in it ("ARM template syntax": resources).
ENVELOPE = {
    "location",
    "tags",
    "sku",
    "kind",
    "identity",
    "zones",
    "extendedLocation",
    "plan",
    "managedBy",
    "etag",
}
INSIDE: Mapping[str, set[str]] = {"operationalinsights:Workspace": {"sku"}}
# Objects within a resource that have `properties` of their own, which the SDK leaves out.
NESTED = {
    "network": {
        "SecurityRuleArgs",
        "DelegationArgs",
        "PrivateLinkServiceConnectionArgs",
        "PrivateDnsZoneConfigArgs",
        "SubnetArgs",
    },
}
# Properties that the SDK calls otherwise than ARM ("x-ms-client-name" of its specification), by the type or
# the class of the SDK in which they lie. Microsoft's clients have both names, and the crosscheck compares.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "applicationinsights:Component": {
        "applicationType": "Application_Type",
        "disableIpMasking": "DisableIpMasking",
        "disableLocalAuth": "DisableLocalAuth",
        "flowType": "Flow_Type",
        "ingestionMode": "IngestionMode",
        "requestSource": "Request_Source",
        "retentionInDays": "RetentionInDays",
        "workspaceResourceId": "WorkspaceResourceId",
    },
    "containerregistry:IPRuleArgs": {"iPAddressOrRange": "value"},
    "keyvault:SecretAttributesArgs": {"expires": "exp", "notBefore": "nbf"},
    "monitor:MetricAlertSingleResourceMultipleMetricCriteriaArgs": {"odataType": "odata.type"},
    "storage:IPRuleArgs": {"iPAddressOrRange": "value"},
    "storage:StorageAccount": {
        "enableHttpsTrafficOnly": "supportsHttpsTrafficOnly",
        "networkRuleSet": "networkAcls",
    },
}
NESTED_ENVELOPE = {"name", "id", "type"}
LOG_SCRUBBING = {"state", "scrubbingRules"}


def kind(token: str) -> str:
    """ "azure-native:keyvault:Vault" → "keyvault:Vault"; raises `UnknownToArm` if it is not in the table."""
    found = token.partition(":")[2]
    if found not in TYPES:
        raise UnknownToArm(f"{token} has no row in tests/azure/arm.py; add its type and its names.")
    return found


def names(token: str, inputs: Mapping[str, Any]) -> list[str]:
    """A name for each level. Raises `KeyError` if one is not given."""
    levels = TYPES[kind(token)].names
    return [level.removeprefix("=") if level.startswith("=") else str(inputs[level]) for level in levels]


def resource_id(token: str, inputs: Mapping[str, Any], subscription: str) -> str:
    arm = TYPES[kind(token)]
    found = names(token, inputs)
    if kind(token) == "resources:ResourceGroup":
        return f"/subscriptions/{subscription}/resourceGroups/{found[0]}"
    provider, *levels = arm.type.split("/")
    path = "/".join(f"{level}/{name}" for level, name in zip(levels, found, strict=True))
    start = (
        inputs[arm.scope]
        if arm.scope
        else f"/subscriptions/{subscription}/resourceGroups/{inputs['resourceGroupName']}"
    )
    return f"{start}/providers/{provider}/{path}"


def parent_id(id_: str) -> str:
    """The id one level up: of the parent, or of what is extended, or of the resource group."""
    start, found, last = id_.rpartition("/providers/")
    if not found:
        return id_.rpartition("/resourceGroups/")[0]
    provider, *levels = last.split("/")
    if len(levels) <= 2:
        return start
    return f"{start}/providers/{'/'.join([provider, *levels[:-2]])}"


def body(token: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a PUT of these inputs sends, without what the address says."""
    of = kind(token)
    fields = resource(token).inputs
    addressed = {*TYPES[of].inputs}
    renamed = RENAMED.get(of, {})
    given = {
        renamed.get(key, key): _shaped(value, fields[key].type)
        for key, value in inputs.items()
        if key in fields and key not in addressed and value is not None
    }
    if of == "resources:ResourceGroup" or "properties" in fields:
        return given
    outside = ENVELOPE - INSIDE.get(of, set())
    return {
        **{key: value for key, value in given.items() if key in outside},
        "properties": {key: value for key, value in given.items() if key not in outside},
    }


def _shaped(value: Any, accepted: Type) -> Any:
    """A value as ARM spells it: identities as a map, `properties` where the SDK leaves them out."""
    if isinstance(accepted, Listed) and isinstance(value, list):
        return [_shaped(item, accepted.item) for item in value]
    if isinstance(accepted, Mapped) and isinstance(value, dict):
        return {key: _shaped(item, accepted.value) for key, item in value.items()}
    if isinstance(accepted, Chosen) and isinstance(value, dict):
        fitting = [one for one in accepted.among if isinstance(one, Nested) and _fits(value, one)]
        return _shaped(value, fitting[0]) if fitting else value
    if not isinstance(accepted, Nested) or not isinstance(value, dict):
        return value
    renamed = RENAMED.get(f"{accepted.module}:{accepted.name}", {})
    shaped = {
        renamed.get(key, key): _shaped(item, accepted.fields[key].type) if key in accepted.fields else item
        for key, item in value.items()
        if item is not None
    }
    if isinstance(shaped.get("userAssignedIdentities"), list):
        shaped["userAssignedIdentities"] = {id_: {} for id_ in shaped["userAssignedIdentities"]}
    if accepted.name in NESTED.get(accepted.module, ()):
        inner = {key: item for key, item in shaped.items() if key not in NESTED_ENVELOPE}
        return {**{key: item for key, item in shaped.items() if key in NESTED_ENVELOPE}, "properties": inner}
    if (accepted.module, accepted.name) == (
        "frontdoor",
        "PolicySettingsArgs",
    ) and shaped.keys() & LOG_SCRUBBING:
        inner = {key: item for key, item in shaped.items() if key in LOG_SCRUBBING}
        rest = {key: item for key, item in shaped.items() if key not in LOG_SCRUBBING}
        return {**rest, "logScrubbing": inner}
    return shaped


def _fits(value: Mapping[str, Any], one: Nested) -> bool:
    return value.keys() <= one.fields.keys() and all(
        field.constant in (None, value.get(name)) for name, field in one.fields.items()
    )


def references(value: Any) -> set[str]:
    """Every resource id within a value."""
    if isinstance(value, dict):
        return set().union(*(references(item) for item in (*value, *value.values())))
    if isinstance(value, list):
        return set().union(*map(references, value))
    pattern = r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/.+"
    return {value} if isinstance(value, str) and re.fullmatch(pattern, value) else set()
