"""What each rule of the policy pack refuses and how; and that the committed stacks keep to all."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

from policy import rules
from policy.rules import PROD_RULES, RULES, STACK_RULES, Resource, rules_of
from stacks import settings
from tests.unit.azure.test_stacks import build, settings_of, stand_in

pytestmark = pytest.mark.unit

CHECKS = {(rule.name, type_): check for rule in RULES for type_, check in rule.checks.items()}
WHOLE = {rule.name: rule.check for rule in (*STACK_RULES, *PROD_RULES)}

DIGEST = f"sha256:{0:064d}"
IMAGE = f"crshopprod.azurecr.io/shop@{DIGEST}"
REFERENCE = "@Microsoft.KeyVault(SecretUri=https://kv/secrets/secret-key)"
TAGS = {"workload": "shop", "stack": "prod"}
IDENTITY = {"type": "UserAssigned", "userAssignedIdentities": ["/subscriptions/…/id-shop-prod-app"]}
CLOSED = {"defaultAction": "Deny", "bypass": "None"}
FRONT_DOOR = {
    "name": "front-door",
    "action": "Allow",
    "ipAddress": "AzureFrontDoor.Backend",
    "headers": {"x-azure-fdid": ["guid"]},
}
CONTAINER = {
    "image": IMAGE,
    "env": [{"name": "SECRET_KEY", "secretRef": "secret-key"}, {"name": "PGHOST", "value": "psql"}],
}


def opening(**environment: str) -> dict[str, Any]:
    """The step that opens a release, of a project with these variables."""
    facts = {"app": {"environment": {}}, "processes": {"worker": {"environment": environment}}}
    return {
        "create": "python -m components.release.tasks.open_record",
        "environment": {"RELEVO_TARGET": json.dumps({"stack": "prod", "facts": facts})},
    }


RUNS = {
    "tags": TAGS,
    "identity": IDENTITY,
    "configuration": {"registries": [{"server": "crshopprod.azurecr.io", "identity": "id"}]},
    "template": {"containers": [CONTAINER]},
}
# What a careful team would make, as far as the rules ask.
GOOD: dict[str, dict[str, Any]] = {
    rules.VAULT: {
        "tags": TAGS,
        "properties": {
            "publicNetworkAccess": "Disabled",
            "networkAcls": CLOSED,
            "enableRbacAuthorization": True,
            "enableSoftDelete": True,
            "enablePurgeProtection": True,
        },
    },
    rules.VAULT_SECRET: {"properties": {"attributes": {"expires": 1_900_000_000}}},
    rules.STORAGE: {
        "tags": TAGS,
        "publicNetworkAccess": "Disabled",
        "networkRuleSet": CLOSED,
        "allowBlobPublicAccess": False,
        "allowSharedKeyAccess": False,
        "enableHttpsTrafficOnly": True,
        "minimumTlsVersion": "TLS1_2",
    },
    rules.CONTAINER: {"publicAccess": "None"},
    rules.BLOBS: {
        "isVersioningEnabled": True,
        "deleteRetentionPolicy": {"enabled": True, "days": 35},
        "containerDeleteRetentionPolicy": {"enabled": True, "days": 35},
    },
    rules.REGISTRY: {
        "tags": TAGS,
        "publicNetworkAccess": "Disabled",
        "networkRuleSet": CLOSED,
        "adminUserEnabled": False,
    },
    rules.CACHE: {"tags": TAGS, "publicNetworkAccess": "Disabled", "minimumTlsVersion": "1.2"},
    rules.CACHE_DATABASE: {"clientProtocol": "Encrypted"},
    rules.SERVER: {
        "tags": TAGS,
        "network": {"delegatedSubnetResourceId": "/subscriptions/…", "publicNetworkAccess": "Disabled"},
        "backup": {"backupRetentionDays": 35, "geoRedundantBackup": "Enabled"},
    },
    rules.SERVER_PARAMETER: {"configurationName": "require_secure_transport", "value": "on"},
    rules.SITE: {
        "tags": TAGS,
        "identity": IDENTITY,
        "httpsOnly": True,
        "siteConfig": {
            "minTlsVersion": "1.2",
            "acrUseManagedIdentityCreds": True,
            "ipSecurityRestrictionsDefaultAction": "Deny",
            "ipSecurityRestrictions": [FRONT_DOOR],
            "linuxFxVersion": f"DOCKER|{IMAGE}",
            "appSettings": [
                {"name": "SECRET_KEY", "value": REFERENCE},
                {"name": "DATABASE_HOST", "value": "psql-shop-prod.postgres.database.azure.com"},
            ],
        },
    },
    rules.SITE_FTP: {"allow": False},
    rules.SITE_SCM: {"allow": False},
    rules.JOB: RUNS,
    rules.CONTAINER_APP: RUNS,
    rules.ENVIRONMENT: {"tags": TAGS},
    rules.PROFILE: {"tags": TAGS},
    rules.ROUTE: {"supportedProtocols": ["Http", "Https"], "httpsRedirect": "Enabled"},
    rules.DOMAIN: {"tlsSettings": {"minimumTlsVersion": "TLS12"}},
    rules.COMMAND: opening(SECRET_KEY="{secret.SECRET_KEY}", TOKEN_MINUTES="30", DEBUG_TOKENS="false"),
}

# Rule, type, what is changed in a good one (a dotted path; None: left out), and the words of its only fault.
PUBLIC = {"publicNetworkAccess": "Enabled", "networkRuleSet": None}
BAD: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "no-public-data-plane",
        rules.VAULT,
        {"properties.publicNetworkAccess": "Enabled", "properties.networkAcls.defaultAction": "Allow"},
        "publicNetworkAccess is Enabled and networkAcls.defaultAction is Allow, but Disabled, or Deny",
    ),
    (
        "no-public-data-plane",
        rules.STORAGE,
        PUBLIC,
        "publicNetworkAccess is Enabled and networkRuleSet.defaultAction is None, but Disabled, or Deny",
    ),
    (
        "no-public-data-plane",
        rules.STORAGE,
        {"allowBlobPublicAccess": None},
        "allowBlobPublicAccess is None, but False is accepted; set it.",
    ),
    (
        "no-public-data-plane",
        rules.CONTAINER,
        {"publicAccess": "Blob"},
        "publicAccess is Blob, but None is accepted; close it.",
    ),
    (
        "no-public-data-plane",
        rules.REGISTRY,
        PUBLIC,
        "publicNetworkAccess is Enabled and networkRuleSet.defaultAction is None, but Disabled, or Deny",
    ),
    (
        "no-public-data-plane",
        rules.CACHE,
        {"publicNetworkAccess": None},
        "publicNetworkAccess is None, but Disabled is accepted; close it.",
    ),
    *(
        (
            "no-public-data-plane",
            rules.SERVER,
            change,
            "network has public access or no delegated subnet, but",
        )
        for change in (
            {"network": None},
            {"network.publicNetworkAccess": "Enabled"},
            {"network.delegatedSubnetResourceId": None},
        )
    ),
    (
        "no-public-data-plane",
        rules.SITE,
        {"siteConfig.ipSecurityRestrictionsDefaultAction": "Allow"},
        "ipSecurityRestrictionsDefaultAction is not Deny, but only Front Door may ask a site; set it.",
    ),
    *(
        (
            "no-public-data-plane",
            rules.SITE,
            {"siteConfig.ipSecurityRestrictions": [FRONT_DOOR, {**FRONT_DOOR, "name": "other", **change}]},
            f"rule other allows {change.get('ipAddress', 'AzureFrontDoor.Backend')}, but ",
        )
        for change in ({"ipAddress": "0.0.0.0/0"}, {"headers": {}})  # anybody, and anybody's Front Door
    ),
    (
        "tls",
        rules.STORAGE,
        {"enableHttpsTrafficOnly": False},
        "enableHttpsTrafficOnly is False, but True is accepted; set it.",
    ),
    (
        "tls",
        rules.STORAGE,
        {"minimumTlsVersion": "TLS1_0"},
        "minimumTlsVersion is TLS1_0, but TLS1_2 or TLS1_3 is accepted; raise it.",
    ),
    ("tls", rules.SITE, {"httpsOnly": None}, "httpsOnly is None, but True is accepted; set it."),
    (
        "tls",
        rules.SITE,
        {"siteConfig.minTlsVersion": "1.1"},
        "minTlsVersion is 1.1, but 1.2 or 1.3 is accepted; raise it.",
    ),
    (
        "tls",
        rules.CACHE,
        {"minimumTlsVersion": None},
        "minimumTlsVersion is None, but 1.2 or 1.3 is accepted; raise it.",
    ),
    (
        "tls",
        rules.CACHE_DATABASE,
        {"clientProtocol": "Plaintext"},
        "clientProtocol is Plaintext, but Encrypted is accepted; set it.",
    ),
    (
        "tls",
        rules.SERVER_PARAMETER,
        {"value": "OFF"},
        "require_secure_transport is off, but on is accepted; set it.",
    ),
    ("tls", rules.ROUTE, {"httpsRedirect": "Disabled"}, "httpsRedirect is Disabled, but Enabled is accepted"),
    (
        "tls",
        rules.ROUTE,
        {"supportedProtocols": None, "httpsRedirect": None},  # both protocols are Azure's default
        "httpsRedirect is None, but Enabled is accepted; set it.",
    ),
    (
        "tls",
        rules.DOMAIN,
        {"tlsSettings": None},
        "minimumTlsVersion is None, but TLS12 or TLS13 is accepted; raise it.",
    ),
    (
        "identities-instead-of-keys",
        rules.STORAGE,
        {"allowSharedKeyAccess": None},
        "allowSharedKeyAccess is None, but False is accepted; set it.",
    ),
    (
        "identities-instead-of-keys",
        rules.REGISTRY,
        {"adminUserEnabled": True},
        "adminUserEnabled is True, but False is accepted; set it.",
    ),
    (
        "identities-instead-of-keys",
        rules.VAULT,
        {"properties.enableRbacAuthorization": False},
        "enableRbacAuthorization is False, but True is accepted; set it.",
    ),
    (
        "identities-instead-of-keys",
        rules.SITE,
        {"siteConfig.acrUseManagedIdentityCreds": False},
        "acrUseManagedIdentityCreds is not true, but images are pulled by identity; set it.",
    ),
    *(
        (
            "identities-instead-of-keys",
            type_,
            {"identity": None},
            "identity is missing, but a managed identity is needed to read secrets; assign one.",
        )
        for type_ in (rules.SITE, rules.JOB, rules.CONTAINER_APP)
    ),
    *(
        (
            "identities-instead-of-keys",
            type_,
            {
                "configuration.registries": [
                    {"server": "cr", "identity": "id", "passwordSecretRef": "password"}
                ]
            },
            "registry cr has a password, but an identity is accepted; give it.",
        )
        for type_ in (rules.JOB, rules.CONTAINER_APP)
    ),
    *(
        (
            "identities-instead-of-keys",
            type_,
            {"allow": True},
            "allow is True, but False is accepted; set it.",
        )
        for type_ in (rules.SITE_FTP, rules.SITE_SCM)
    ),
    (
        "digest-pins",
        rules.SITE,
        {"siteConfig.linuxFxVersion": "DOCKER|cr.azurecr.io/shop:latest"},
        "image is cr.azurecr.io/shop:latest, but a digest (…@sha256:<64 hex digits>) is accepted; pin it.",
    ),
    *(
        (
            "digest-pins",
            type_,
            {f"template.{kind}": [{"image": "cr.azurecr.io/shop:v7"}]},
            "image is cr.azurecr.io/shop:v7, but a digest",
        )
        for type_ in (rules.JOB, rules.CONTAINER_APP)
        for kind in ("containers", "initContainers")
    ),
    *(
        (
            "no-plain-secrets",
            rules.SITE,
            {"siteConfig.appSettings": [{"name": name, "value": value}]},
            f"{name} has a plain value, but a Key Vault reference is accepted; put it into the vault.",
        )
        for name, value in (
            ("SECRET_KEY", "hunter2"),
            ("smtp_password", "hunter2"),
            ("API_TOKEN", "hunter2"),
            ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=1"),
            ("BROKER", "rediss://:hunter2@cache:10000/0"),
        )
    ),
    *(
        (
            "no-plain-secrets",
            rules.COMMAND,
            opening(**{name: value}),
            f"{name} has a plain value, but a Key Vault reference is accepted; put it into the vault.",
        )
        for name, value in (("SMTP_PASSWORD", "hunter2"), ("BROKER_URL", "amqp://u:hunter2@mq.example.org/"))
    ),
    *(
        (
            "no-plain-secrets",
            type_,
            {f"template.{kind}": [{"image": IMAGE, "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}]},
            "DB_PASSWORD has a plain value, but a Key Vault reference is accepted; put it into the vault.",
        )
        for type_ in (rules.JOB, rules.CONTAINER_APP)
        for kind in ("containers", "initContainers")
    ),
    (
        "no-plain-secrets",
        rules.SITE,
        {"siteConfig.connectionStrings": [{"name": "main", "connectionString": "Server=psql;Password=x"}]},
        "connection string main has a plain value, but a Key Vault reference is accepted; put it into",
    ),
    *(
        (
            "no-plain-secrets",
            type_,
            {"configuration.secrets": [{"name": "broker", "value": "hunter2"}]},
            "secret broker has a plain value, but a Key Vault reference is accepted; put it into the vault.",
        )
        for type_ in (rules.JOB, rules.CONTAINER_APP)
    ),
    (
        "secrets-expire",
        rules.VAULT_SECRET,
        {"properties.attributes": None},
        "attributes.expires is missing, but every secret has an end; set it, so that it is rotated.",
    ),
    *(
        ("recoverable", rules.SERVER, change, "backup.backupRetentionDays is 0, but 7 to 35 are accepted;")
        for change in ({"backup": None}, {"backup.backupRetentionDays": None})
    ),
    (
        "recoverable",
        rules.BLOBS,
        {"isVersioningEnabled": False},
        "isVersioningEnabled is False, but True is accepted; set it.",
    ),
    *(
        (
            "recoverable",
            rules.BLOBS,
            {f"{policy}.enabled": False},
            f"{policy} is not enabled, but what is deleted can be had back; enable it.",
        )
        for policy in ("deleteRetentionPolicy", "containerDeleteRetentionPolicy")
    ),
    *(
        (
            "recoverable",
            rules.VAULT,
            {f"properties.{name}": None},
            f"{name} is None, but True is accepted; set it.",
        )
        for name in ("enableSoftDelete", "enablePurgeProtection")
    ),
    *(
        (
            "tags",
            type_,
            {"tags": {"workload": "shop"}},
            "tags lack stack, but each resource says whose it is;",
        )
        for type_ in rules.TAGGED
    ),
    (
        "tags",
        rules.VAULT,
        {"tags": None},
        "tags lack workload and stack, but each resource says whose it is; add them.",
    ),
]


def changed(properties: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(properties)
    for path, value in changes.items():
        *parents, last = path.split(".")
        inner = made
        for parent in parents:
            inner = inner[parent]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return made


@pytest.mark.parametrize(
    ("rule", "type_", "changes", "words"), BAD, ids=[f"{rule} {words[:50]}" for rule, _, _, words in BAD]
)
def test_a_rule_says_the_one_fault_of_a_bad_resource(
    rule: str, type_: str, changes: dict[str, Any], words: str
) -> None:
    (fault,) = CHECKS[rule, type_](changed(GOOD[type_], changes))
    assert fault.startswith(words)
    assert "; " in fault, "a remedy"
    assert fault.endswith(".")


@pytest.mark.parametrize(("rule", "type_"), CHECKS)
def test_a_good_resource_has_no_fault(rule: str, type_: str) -> None:
    assert [*CHECKS[rule, type_](GOOD[type_])] == []


def test_the_table_has_a_bad_resource_for_each_check() -> None:
    assert {(rule, type_) for rule, type_, _, _ in BAD} == CHECKS.keys()


@pytest.mark.parametrize(
    ("rule", "type_", "changes"),
    [
        # Open to the runner's addresses only.
        ("no-public-data-plane", rules.STORAGE, {"publicNetworkAccess": "Enabled"}),
        ("no-public-data-plane", rules.VAULT, {"properties.publicNetworkAccess": "Enabled"}),
        ("tls", rules.ROUTE, {"supportedProtocols": ["Https"], "httpsRedirect": None}),
        ("tls", rules.SERVER_PARAMETER, {"configurationName": "work_mem", "value": "4096"}),
        # Before a release gives a job's start its image, and a site its own.
        ("digest-pins", rules.JOB, {"template.containers": [{"image": f"{rules.PLACEHOLDER}:latest"}]}),
        ("digest-pins", rules.SITE, {"siteConfig.linuxFxVersion": None, "siteConfig.appSettings": None}),
        (
            "no-plain-secrets",
            rules.SITE,
            {"siteConfig.appSettings": [{"name": "KEYBOARD", "value": "qwertz"}]},
        ),
        (
            "no-plain-secrets",
            rules.SITE,
            {"siteConfig.connectionStrings": [{"name": "main", "connectionString": REFERENCE}]},
        ),
        (
            "no-plain-secrets",
            rules.JOB,
            {"configuration.secrets": [{"name": "broker", "keyVaultUrl": "https://kv/secrets/broker"}]},
        ),
        (
            "no-plain-secrets",
            rules.JOB,
            {
                "template.containers": [
                    {"image": IMAGE, "env": [{"name": "SITE", "value": "https://a.org:8/@x"}]}
                ]
            },
        ),
    ],
)
def test_what_only_looks_bad_is_accepted(rule: str, type_: str, changes: dict[str, Any]) -> None:
    assert [*CHECKS[rule, type_](changed(GOOD[type_], changes))] == []


class UnknownYet(dict[str, Any]):
    """A stand-in for what a preview gives: whoever reads a value that is not known ends the rule."""

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            raise UnknownValueError(UNKNOWN_STRING_VALUE, [key])
        return self[key]


def test_a_preview_that_knows_no_subnet_sees_public_access() -> None:
    network = UnknownYet(publicNetworkAccess="Enabled")
    (fault,) = CHECKS["no-public-data-plane", rules.SERVER]({"network": network})
    assert fault.startswith("network has public access")


# -- the stack as a whole --------------------------------------------------------------------------------


def resource(
    type_: str,
    name: str,
    properties: dict[str, Any] | None = None,
    *,
    protected: bool = True,
    observes: Iterable[str] = (),
) -> Resource:
    """As in a real URN, all of a component have the same types above them."""
    return Resource(
        type=type_,
        urn=urn_of(type_, name),
        properties=properties or {},
        protected=protected,
        observes=frozenset(observes),
    )


def urn_of(type_: str, name: str) -> str:
    return f"urn:pulumi:prod::relevo::relevo:azure:Component${type_}::{name}"


def faults(rule: str, *resources: Resource) -> list[tuple[str, str | None]]:
    return [*WHOLE[rule](iter(resources))]


def test_behind_a_front_door_one_site_is_too_few() -> None:
    door, one, two = resource(rules.PROFILE, "afd"), resource(rules.SITE, "1"), resource(rules.SITE, "2")
    assert faults("at-least-two-instances", door, one) == [
        ("relevo:instances is 1, but a rolling release needs at least 2; raise it.", None)
    ]
    assert faults("at-least-two-instances", door, one, two) == []
    assert faults("at-least-two-instances", resource(rules.VAULT, "kv")) == []  # nothing is served yet


@pytest.mark.parametrize("type_", rules.DIAGNOSED)
def test_what_no_setting_observes_is_named(type_: str) -> None:
    """By names alone, as a preview knows no id; the setting of one site says nothing of the next."""
    watched, other = (resource(type_, name, UnknownYet()) for name in ("it", "other"))
    of_it, of_other = (
        resource(rules.DIAGNOSTICS, f"{one.urn}-logs", UnknownYet(), observes=[one.urn])
        for one in (watched, other)
    )
    assert faults("diagnostics", watched, other, of_other) == [
        ("no diagnostic setting sends its logs anywhere; add one.", watched.urn)
    ]
    assert faults("diagnostics", watched, other, of_it, of_other) == []


@pytest.mark.parametrize(
    ("stack", "asked"),
    [("prod", True), ("prod-eu", True), ("production-copy", False), ("preprod", False), ("qa", False)],
)
def test_each_prod_is_asked_for_what_only_prod_needs(stack: str, *, asked: bool) -> None:
    assert {*rules_of(stack)} == {*STACK_RULES, *(PROD_RULES if asked else ())}


@pytest.mark.parametrize("type_", rules.DATA)
def test_data_that_may_be_replaced_is_named(type_: str) -> None:
    open_, kept = resource(type_, "open", protected=False), resource(type_, "kept")
    ((fault, urn),) = faults("data-is-protected", kept, open_, resource(rules.SITE, "1", protected=False))
    assert urn == open_.urn
    assert fault == (
        "holds data but is not protected, so a preview would let it be replaced; set "
        "relevo:azure.guard to true."
    )


@pytest.mark.parametrize(
    "backup",
    [
        None,
        {"backupRetentionDays": 34, "geoRedundantBackup": "Enabled"},
        {"backupRetentionDays": 35, "geoRedundantBackup": "Disabled"},
    ],
)
def test_backups_of_prod_that_a_lost_region_takes_along_are_named(backup: dict[str, Any] | None) -> None:
    server = resource(rules.SERVER, "psql", {"backup": backup})
    ((fault, urn),) = faults("backups-of-prod", server)
    assert urn == server.urn
    assert fault == (
        "backups are not geo-redundant for 35 days, but prod's are; set geoBackup to true and retentionDays "
        "to 35, or take another region if this one has no pair, since none such can hold prod."
    )
    assert faults("backups-of-prod", resource(rules.SERVER, "psql", GOOD[rules.SERVER])) == []


# -- the committed stacks --------------------------------------------------------------------------------


def composed(stack: str, **changes: Any) -> list[Resource]:
    """What the stack asks of the engine."""
    engine = build(stack, stand_in(), **changes).engine
    urns = {name: urn_of(made.type, name) for name, made in engine.made.items()}
    return [
        resource(
            made.type,
            name,
            engine.plain(name),
            protected=made.protect,
            observes=[urns[source] for source in made.sources.get("resourceUri", ())],
        )
        for name, made in engine.made.items()
    ]


def all_faults(stack: str, resources: Iterable[Resource]) -> list[str]:
    found = [*resources]
    return [
        *(
            f"{rule} {one.urn}: {fault}"
            for one in found
            for (rule, type_), check in CHECKS.items()
            if type_ == one.type
            for fault in check(one.properties)
        ),
        *(f"{rule.name} {urn}: {fault}" for rule in rules_of(stack) for fault, urn in rule.check(found)),
    ]


@pytest.mark.parametrize("stack", ["dev", "qa", "prod"])
def test_a_committed_stack_keeps_to_every_rule(stack: str) -> None:
    resources = composed(stack)
    assert all_faults(stack, resources) == []
    # No stack has a domain or further processes as committed; steps are a release's, of which there is none.
    absent = {rules.DOMAIN, rules.CONTAINER_APP, rules.COMMAND}
    asked = {type_ for _, type_ in CHECKS} | {*rules.DATA, *rules.DIAGNOSED, rules.DIAGNOSTICS}
    assert asked - {one.type for one in resources} == absent, "a rule of a type that nothing has asks nothing"


def test_prod_without_its_guard_is_refused() -> None:
    azure = settings_of("prod").azure
    assert azure is not None
    found = all_faults("prod", composed("prod", azure=azure.model_copy(update={"guard": False})))
    assert {fault.partition(" ")[0] for fault in found} == {"data-is-protected"}
    assert len(found) > len(rules.DATA)  # each container beside the accounts


def test_settings_and_policy_know_a_secret_by_the_same_signs() -> None:
    """Neither may import the other."""
    for sign in ("SECRET_NAME", "CREDENTIAL_URL", "HARMLESS"):
        assert getattr(rules, sign) == getattr(settings, sign)
