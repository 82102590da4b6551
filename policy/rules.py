"""What a careful Azure team asks of each resource and of a stack as a whole: pure functions over inputs.

Names of types and properties are those of azure-native (camelCase). Each rule yields one line a fault, with
the remedy. What a preview does not know yet is asked again by the `up`, which knows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Properties = Mapping[str, Any]
Check = Callable[[Properties], Iterable[str]]

VAULT = "azure-native:keyvault:Vault"
VAULT_SECRET = "azure-native:keyvault:Secret"
STORAGE = "azure-native:storage:StorageAccount"
CONTAINER = "azure-native:storage:BlobContainer"
BLOBS = "azure-native:storage:BlobServiceProperties"
REGISTRY = "azure-native:containerregistry:Registry"
CACHE = "azure-native:redisenterprise:RedisEnterprise"
CACHE_DATABASE = "azure-native:redisenterprise:Database"
SERVER = "azure-native:dbforpostgresql:Server"
SERVER_PARAMETER = "azure-native:dbforpostgresql:Configuration"
SERVER_DATABASE = "pulumi-python:dynamic/relevo:OwnedDatabase"  # which a job makes
SITE = "azure-native:web:WebApp"
SITE_FTP = "azure-native:web:WebAppFtpAllowed"
SITE_SCM = "azure-native:web:WebAppScmAllowed"
JOB = "azure-native:app:Job"
CONTAINER_APP = "azure-native:app:ContainerApp"
ENVIRONMENT = "azure-native:app:ManagedEnvironment"
PROFILE = "azure-native:cdn:Profile"
ROUTE = "azure-native:cdn:Route"
DOMAIN = "azure-native:cdn:AFDCustomDomain"
ORIGIN = "azure-native:cdn:AFDOrigin"
DIAGNOSTICS = "azure-native:monitor:DiagnosticSetting"
COMMAND = "command:local:Command"  # a step of the release

DATA = (SERVER, SERVER_DATABASE, VAULT, STORAGE, CONTAINER, REGISTRY)
DIAGNOSED = (VAULT, STORAGE, REGISTRY, CACHE_DATABASE, SERVER, SITE, CONTAINER_APP, PROFILE, ENVIRONMENT)
TAGGED = (VAULT, STORAGE, REGISTRY, CACHE, SERVER, SITE, JOB, CONTAINER_APP, ENVIRONMENT, PROFILE)
TAGS = ("workload", "stack")

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
SECRET_NAME = re.compile(
    r"(SECRET|PASSWORD|PASSWD|TOKEN|(^|_)KEY|CREDENTIAL|CONNECTION_?STRING)(S|_BASE|_FALLBACKS?|_?V?\d+)?$",
    re.I,
)
CREDENTIAL_URL = re.compile(r"\w+://[^/\s:@]*:[^/\s@]+@")
HARMLESS = re.compile(r"\s*|[\d.]+|true|false|yes|no|on|off", re.I)  # whatever its name
REFERENCE = "@Microsoft.KeyVault("
# Microsoft's own, which jobs and container apps name until the release gives each start its image.
PLACEHOLDER = "mcr.microsoft.com/k8se/quickstart"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule of single resources: what each type of them is asked."""

    name: str
    description: str
    checks: Mapping[str, Check]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource of a stack, as far as rules of the whole ask.

    `observes`: of a diagnostic setting, the URNs of what its `resourceUri` is made of, which also a preview
    knows.
    """

    type: str
    urn: str
    properties: Properties
    protected: bool
    observes: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class StackRule:
    """A rule of the whole: yields a line and the resource that it is about, None for the stack."""

    name: str
    description: str
    check: Callable[[Iterable[Resource]], Iterable[tuple[str, str | None]]]


# -- no public data plane --------------------------------------------------------------------------------


def private(acls: str) -> Check:
    """Closed, or open to named addresses only; `acls` is the property with the rules."""

    def check(properties: Properties) -> Iterator[str]:
        access = properties.get("publicNetworkAccess")
        action = (properties.get(acls) or {}).get("defaultAction")
        if str(access).lower() != "disabled" and action != "Deny":
            yield (
                f"publicNetworkAccess is {access} and {acls}.defaultAction is {action}, but Disabled, or "
                f"Deny beside named addresses, is accepted; close it."
            )

    return check


def closed(properties: Properties) -> Iterator[str]:
    access = properties.get("publicNetworkAccess")
    if access != "Disabled":
        yield f"publicNetworkAccess is {access}, but Disabled is accepted; close it."


def inside_the_network(properties: Properties) -> Iterator[str]:
    found = properties.get("network") or {}
    # A preview of a new stack does not know the subnet, and ends a rule that asks for it.
    if found.get("publicNetworkAccess") != "Disabled" or not found.get("delegatedSubnetResourceId"):
        yield "network has public access or no delegated subnet, but a private one is accepted; give it one."


def no_anonymous_blobs(properties: Properties) -> Iterator[str]:
    yield from private("networkRuleSet")(properties)
    yield from expects(properties, allowBlobPublicAccess=False)


def no_anonymous_container(properties: Properties) -> Iterator[str]:
    if properties.get("publicAccess") not in (None, "None"):
        yield f"publicAccess is {properties['publicAccess']}, but None is accepted; close it."


def only_front_door(properties: Properties) -> Iterator[str]:
    site = properties.get("siteConfig") or {}
    if site.get("ipSecurityRestrictionsDefaultAction") != "Deny":
        yield "ipSecurityRestrictionsDefaultAction is not Deny, but only Front Door may ask a site; set it."
    for rule in site.get("ipSecurityRestrictions") or ():
        if rule.get("action") == "Deny":
            continue
        headers = {name.lower() for name in rule.get("headers") or {}}
        if rule.get("ipAddress") != "AzureFrontDoor.Backend" or "x-azure-fdid" not in headers:
            yield (
                f"rule {rule.get('name')} allows {rule.get('ipAddress')}, but AzureFrontDoor.Backend with "
                f"this profile's X-Azure-FDID is accepted; restrict it."
            )


# -- encryption on the way -------------------------------------------------------------------------------


def expects(properties: Properties, **wanted: Any) -> Iterator[str]:
    for name, value in wanted.items():
        if properties.get(name) != value:
            yield f"{name} is {properties.get(name)}, but {value} is accepted; set it."


def tls_of_storage(properties: Properties) -> Iterator[str]:
    yield from expects(properties, enableHttpsTrafficOnly=True)
    yield from newest_tls(properties, "minimumTlsVersion", ("TLS1_2", "TLS1_3"))


def tls_of_site(properties: Properties) -> Iterator[str]:
    yield from expects(properties, httpsOnly=True)
    yield from newest_tls(properties.get("siteConfig") or {}, "minTlsVersion", ("1.2", "1.3"))


def tls_of_domain(properties: Properties) -> Iterator[str]:
    yield from newest_tls(properties.get("tlsSettings") or {}, "minimumTlsVersion", ("TLS12", "TLS13"))


def tls_of_route(properties: Properties) -> Iterator[str]:
    """A route that takes no http has nothing to redirect, and Azure refuses to be told so."""
    if "Http" in (properties.get("supportedProtocols") or ("Http",)):
        yield from expects(properties, httpsRedirect="Enabled")


def newest_tls(properties: Properties, name: str, accepted: tuple[str, ...]) -> Iterator[str]:
    if properties.get(name) not in accepted:
        yield f"{name} is {properties.get(name)}, but {' or '.join(accepted)} is accepted; raise it."


def tls_of_database(properties: Properties) -> Iterator[str]:
    name, value = properties.get("configurationName"), str(properties.get("value")).lower()
    if name == "require_secure_transport" and value != "on":
        yield f"require_secure_transport is {value}, but on is accepted; set it."


# -- identities instead of keys --------------------------------------------------------------------------


def has_identity(properties: Properties) -> Iterator[str]:
    if "Assigned" not in str((properties.get("identity") or {}).get("type")):
        yield "identity is missing, but a managed identity is needed to read secrets; assign one."


def pulls_by_identity(properties: Properties) -> Iterator[str]:
    yield from has_identity(properties)
    if (properties.get("siteConfig") or {}).get("acrUseManagedIdentityCreds") is not True:
        yield "acrUseManagedIdentityCreds is not true, but images are pulled by identity; set it."


def registry_by_identity(properties: Properties) -> Iterator[str]:
    yield from has_identity(properties)
    configuration = properties.get("configuration") or {}
    for registry in configuration.get("registries") or ():
        if registry.get("passwordSecretRef") or not registry.get("identity"):
            yield f"registry {registry.get('server')} has a password, but an identity is accepted; give it."


# -- pins and secrets ------------------------------------------------------------------------------------


def images(properties: Properties) -> Iterator[str]:
    """Every image that a site, a job or an app names."""
    site = properties.get("siteConfig") or {}
    kind, _, image = str(site.get("linuxFxVersion") or "").partition("|")
    if kind == "DOCKER":
        yield image
    template = properties.get("template") or {}
    for container in (*(template.get("containers") or ()), *(template.get("initContainers") or ())):
        yield str(container.get("image"))


def digest_pinned(properties: Properties) -> Iterator[str]:
    """Of what the engine runs; a release without a digest is refused by the settings (stacks/azure.py)."""
    for image in images(properties):
        if not DIGEST.search(image) and not image.startswith(PLACEHOLDER):
            yield f"image is {image}, but a digest (…@sha256:<64 hex digits>) is accepted; pin it."


def variables(properties: Properties) -> Iterator[tuple[str, str]]:
    """Names and plain values of what processes get, references to secrets left out."""
    settings = (properties.get("siteConfig") or {}).get("appSettings") or ()
    template = properties.get("template") or {}
    containers = [*(template.get("containers") or ()), *(template.get("initContainers") or ())]
    for variable in (*settings, *(one for container in containers for one in container.get("env") or ())):
        value = variable.get("value")
        if value is not None and not str(value).startswith(REFERENCE):
            yield str(variable.get("name")), str(value)


def environments(properties: Properties) -> Iterator[tuple[str, str]]:
    """What a release gives the processes, where it has no placeholder: the engine never sets that."""
    if str(properties.get("create")).endswith("components.release.tasks.open_record"):
        facts = json.loads(properties["environment"]["RELEVO_TARGET"])["facts"]
        for one in (facts["app"], *facts["processes"].values()):
            for name, template in (one.get("environment") or {}).items():
                if "{" not in template:
                    yield name, template


def declared_secrets(properties: Properties) -> Iterator[str]:
    """Names of what is a secret by its place and has a value there."""
    for string in (properties.get("siteConfig") or {}).get("connectionStrings") or ():
        if not str(string.get("connectionString") or REFERENCE).startswith(REFERENCE):
            yield f"connection string {string.get('name')}"
    for secret in (properties.get("configuration") or {}).get("secrets") or ():
        if secret.get("value"):
            yield f"secret {secret.get('name')}"


def no_plain_secret(properties: Properties) -> Iterator[str]:
    named = (
        name
        for name, value in (*variables(properties), *environments(properties))
        if (SECRET_NAME.search(name) and not HARMLESS.fullmatch(value)) or CREDENTIAL_URL.search(value)
    )
    for name in (*declared_secrets(properties), *named):
        yield f"{name} has a plain value, but a Key Vault reference is accepted; put it into the vault."


def expires(properties: Properties) -> Iterator[str]:
    if not ((properties.get("properties") or {}).get("attributes") or {}).get("expires"):
        yield "attributes.expires is missing, but every secret has an end; set it, so that it is rotated."


# -- backups ---------------------------------------------------------------------------------------------


def backed_up(properties: Properties) -> Iterator[str]:
    days = (properties.get("backup") or {}).get("backupRetentionDays") or 0
    if days < 7:
        yield f"backup.backupRetentionDays is {days}, but 7 to 35 are accepted; raise it."


def recoverable_blobs(properties: Properties) -> Iterator[str]:
    yield from expects(properties, isVersioningEnabled=True)
    for policy in ("deleteRetentionPolicy", "containerDeleteRetentionPolicy"):
        if (properties.get(policy) or {}).get("enabled") is not True:
            yield f"{policy} is not enabled, but what is deleted can be had back; enable it."


def recoverable_vault(properties: Properties) -> Iterator[str]:
    found = properties.get("properties") or {}
    yield from expects(found, enableSoftDelete=True, enablePurgeProtection=True)


# -- tags ------------------------------------------------------------------------------------------------


def tagged(properties: Properties) -> Iterator[str]:
    missing = [tag for tag in TAGS if not (properties.get("tags") or {}).get(tag)]
    if missing:
        yield f"tags lack {' and '.join(missing)}, but each resource says whose it is; add them."


RULES = (
    Rule(
        name="no-public-data-plane",
        description="What holds data answers inside the network, or to named addresses only.",
        checks={
            VAULT: lambda found: private("networkAcls")(found.get("properties") or {}),
            STORAGE: no_anonymous_blobs,
            CONTAINER: no_anonymous_container,
            REGISTRY: private("networkRuleSet"),
            CACHE: closed,
            SERVER: inside_the_network,
            SITE: only_front_door,
        },
    ),
    Rule(
        name="tls",
        description="Every way in and between is encrypted, by TLS 1.2 or newer.",
        checks={
            STORAGE: tls_of_storage,
            SITE: tls_of_site,
            CACHE: lambda found: newest_tls(found, "minimumTlsVersion", ("1.2", "1.3")),
            CACHE_DATABASE: lambda found: expects(found, clientProtocol="Encrypted"),
            SERVER_PARAMETER: tls_of_database,
            ROUTE: tls_of_route,
            DOMAIN: tls_of_domain,
        },
    ),
    Rule(
        name="identities-instead-of-keys",
        description="Nothing is opened by a shared key or password where an identity can.",
        checks={
            STORAGE: lambda found: expects(found, allowSharedKeyAccess=False),
            REGISTRY: lambda found: expects(found, adminUserEnabled=False),
            VAULT: lambda found: expects(found.get("properties") or {}, enableRbacAuthorization=True),
            SITE: pulls_by_identity,
            SITE_FTP: lambda found: expects(found, allow=False),
            SITE_SCM: lambda found: expects(found, allow=False),
            JOB: registry_by_identity,
            CONTAINER_APP: registry_by_identity,
        },
    ),
    Rule(
        name="digest-pins",
        description="What runs is named by digest, so that it is what was approved.",
        checks=dict.fromkeys((SITE, JOB, CONTAINER_APP), digest_pinned),
    ),
    Rule(
        name="no-plain-secrets",
        description="Settings hold references to secrets, never secrets.",
        checks=dict.fromkeys((SITE, JOB, CONTAINER_APP, COMMAND), no_plain_secret),
    ),
    Rule(name="secrets-expire", description="Each secret has an end.", checks={VAULT_SECRET: expires}),
    Rule(
        name="recoverable",
        description="What is deleted or spoilt can be had back.",
        checks={SERVER: backed_up, BLOBS: recoverable_blobs, VAULT: recoverable_vault},
    ),
    Rule(
        name="tags",
        description="Each resource says which workload and stack it belongs to.",
        checks=dict.fromkeys(TAGGED, tagged),
    ),
)


# -- the stack as a whole --------------------------------------------------------------------------------


def enough_instances(resources: Iterable[Resource]) -> Iterator[tuple[str, str | None]]:
    found = list(resources)
    sites = sum(resource.type == SITE for resource in found)
    if any(resource.type == PROFILE for resource in found) and sites < 2:
        yield f"relevo:instances is {sites}, but a rolling release needs at least 2; raise it.", None


def diagnosed(resources: Iterable[Resource]) -> Iterator[tuple[str, str | None]]:
    """By URN, since a preview of a new stack knows no resource id yet."""
    found = list(resources)
    observed = {urn for resource in found if resource.type == DIAGNOSTICS for urn in resource.observes}
    for resource in found:
        if resource.type in DIAGNOSED and resource.urn not in observed:
            yield "no diagnostic setting sends its logs anywhere; add one.", resource.urn


def protected(resources: Iterable[Resource]) -> Iterator[tuple[str, str | None]]:
    """Protected, a resource whose change would replace it is an error of the preview itself."""
    for resource in resources:
        if resource.type in DATA and not resource.protected:
            yield (
                "holds data but is not protected, so a preview would let it be replaced; set "
                "relevo:azure.guard to true.",
                resource.urn,
            )


def geo_redundant(resources: Iterable[Resource]) -> Iterator[tuple[str, str | None]]:
    for resource in resources:
        if resource.type != SERVER:
            continue
        backup = resource.properties.get("backup") or {}
        if backup.get("geoRedundantBackup") != "Enabled" or backup.get("backupRetentionDays") != 35:
            yield (
                "backups are not geo-redundant for 35 days, but prod's are; set geoBackup to true and "
                "retentionDays to 35, or take another region if this one has no pair, since none such can "
                "hold prod.",
                resource.urn,
            )


STACK_RULES = (
    StackRule(name="at-least-two-instances", description="One can fail.", check=enough_instances),
    StackRule(name="diagnostics", description="Logs of what serves or holds data are kept.", check=diagnosed),
)
PROD_RULES = (
    StackRule(
        name="data-is-protected", description="No up of prod replaces or deletes data.", check=protected
    ),
    StackRule(name="backups-of-prod", description="Prod survives the loss of a region.", check=geo_redundant),
)


def rules_of(stack: str) -> tuple[StackRule, ...]:
    """Of the whole; "prod" and each "prod-…" is asked for more."""
    return (*STACK_RULES, *PROD_RULES) if stack == "prod" or stack.startswith("prod-") else STACK_RULES
