"""The vault: closed to all but its readers, secrets made once, and a replaced one is noticed."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components.azure.vault import DAY, Vault, VaultArgs, stored_version
from components.target import TargetError
from tests.unit.azure.stand_in import TAGS, StandInEngine, StandInFailure, place

NEW = 1_800_000_000
SECRETS = {"SECRET_KEY": True, "SMTP_PASSWORD": False}


def _uri(secret: str, version: str) -> dict[str, Any]:
    uri = f"https://kv-assets-prod.vault.azure.net/secrets/{secret}"
    return {"properties": {"secretUri": uri, "secretUriWithVersion": f"{uri}/{version}"}}


def _stand_in() -> StandInEngine:
    engine = StandInEngine()
    engine.outputs = {
        "vault-secret-key-value": {"value": "made once", "since": NEW},
        "vault-relevo-verify-value": {"value": "only for us", "since": NEW},
    }
    engine.answers = {"keyvault:getSecret": lambda asked: _uri(asked["secretName"], "v1")}
    return engine


@pytest.fixture
def engine() -> StandInEngine:
    return _stand_in()


def _vault(secrets: dict[str, bool] = SECRETS, **changed: Any) -> Vault:
    return Vault(
        "vault",
        VaultArgs(
            place=place(**changed),
            secrets=secrets,
            expiry_days=365,
            readers={"app": "app-principal"},
            endpoints_subnet_id="subnet-id",
            zone_id="zone-id",
            workspace_id="workspace-id",
        ),
    )


@pytest.fixture(scope="module")
def usual() -> StandInEngine:
    engine = _stand_in()
    engine.build(_vault)
    return engine


def test_it_is_reached_by_roles_from_inside_and_cannot_be_purged(usual: StandInEngine) -> None:
    vault = usual.made["vault-vault"]
    assert vault.type == "azure-native:keyvault:Vault"
    assert vault.inputs == {
        "vaultName": "kv-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "properties": {
            "tenantId": "22222222-2222-2222-2222-222222222222",
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 7,
            "enablePurgeProtection": True,
            "enabledForDeployment": False,
            "enabledForDiskEncryption": False,
            "enabledForTemplateDeployment": False,
            "publicNetworkAccess": "Disabled",
            "networkAcls": {"defaultAction": "Deny", "bypass": "AzureServices", "ipRules": []},
        },
        "tags": TAGS,
    }
    assert usual.made["vault-endpoint"].inputs["privateLinkServiceConnections"] == [
        {"name": "vault", "privateLinkServiceId": "vault-vault-id", "groupIds": ["vault"]}
    ]
    assert usual.made["vault-diagnostics"].inputs["resourceUri"] == "vault-vault-id"


def test_the_runner_alone_may_come_from_outside(engine: StandInEngine) -> None:
    engine.build(lambda: _vault(runner_addresses=("203.0.113.7/32", "198.51.100.0/24")))

    properties = engine.made["vault-vault"].inputs["properties"]
    assert properties["publicNetworkAccess"] == "Enabled"
    assert properties["networkAcls"]["defaultAction"] == "Deny"
    assert properties["networkAcls"]["ipRules"] == [
        {"value": "203.0.113.7/32"},
        {"value": "198.51.100.0/24"},
    ]


def test_a_guarded_one_is_locked_and_recoverable_for_90_days(engine: StandInEngine) -> None:
    engine.build(lambda: _vault(guard=True))

    vault = engine.made["vault-vault"]
    assert vault.guarded
    assert vault.inputs["properties"]["softDeleteRetentionInDays"] == 90
    assert engine.made["vault-lock"].inputs["scope"] == "vault-vault-id"
    assert engine.made["vault-secret-key-value"].protect


@pytest.mark.parametrize("guard", [True, False])
def test_how_long_it_is_recoverable_stays_when_the_guard_comes_or_goes(
    guard: bool, engine: StandInEngine
) -> None:
    """Azure refuses another number of days, and with it the `up` that is to remove the locks."""
    engine.build(lambda: _vault(guard=guard))
    assert engine.made["vault-vault"].ignore_changes == ("properties.softDeleteRetentionInDays",)


def test_a_reader_may_read_secrets_and_nothing_else(usual: StandInEngine) -> None:
    (granted,) = usual.of_type("authorization:RoleAssignment").values()
    assert granted.inputs["principalId"] == "app-principal"
    assert granted.inputs["scope"] == "vault-vault-id"
    assert granted.inputs["roleDefinitionId"].endswith("/4633458b-17de-408a-b874-0445c86b69e6")


def test_a_generated_secret_is_encrypted_in_the_state_with_its_expiry_and_rotation(
    usual: StandInEngine,
) -> None:
    secret = usual.made["vault-secret-key"]
    assert secret.secret == {"properties"}
    assert usual.plain("vault-secret-key") == {
        "secretName": "secret-key",
        "vaultName": "vault-vault-name",
        "resourceGroupName": "rg-assets-prod",
        "properties": {
            "value": "made once",
            "contentType": "text/plain",
            "attributes": {"enabled": True, "expires": NEW + 365 * DAY},
        },
        "tags": {**TAGS, "rotation": "relevo secret set SECRET_KEY"},
    }


def test_a_secret_that_was_set_since_is_never_written_over(usual: StandInEngine) -> None:
    secret = usual.made["vault-secret-key"]
    assert secret.ignore_changes == ("properties", "tags")
    assert secret.retain_on_delete


def test_one_without_generation_is_left_to_whoever_sets_it(usual: StandInEngine) -> None:
    assert usual.of_type("keyvault:Secret").keys() == {"vault-secret-key", "vault-relevo-verify"}


def test_a_replaced_secret_has_another_version(engine: StandInEngine) -> None:
    assert engine.value(engine.build(_vault).versions) == {"SECRET_KEY": "v1", "SMTP_PASSWORD": "v1"}

    engine.answers["keyvault:getSecret"] = lambda asked: _uri(
        asked["secretName"], "v2" if asked["secretName"] == "smtp-password" else "v1"
    )
    assert engine.value(engine.build(_vault).versions) == {"SECRET_KEY": "v1", "SMTP_PASSWORD": "v2"}


def test_a_project_without_secrets_has_no_versions(engine: StandInEngine) -> None:
    assert engine.value(engine.build(lambda: _vault({})).versions) == {}


def _without_smtp(asked: dict[str, Any]) -> dict[str, Any]:
    if asked["secretName"] == "smtp-password":
        raise StandInFailure("RESPONSE 404: 404 Not Found ERROR CODE: SecretNotFound")
    return _uri(asked["secretName"], "v1")


def test_a_secret_that_is_not_set_yet_does_not_stop_the_first_up(engine: StandInEngine) -> None:
    engine.answers["keyvault:getSecret"] = _without_smtp
    assert engine.value(engine.build(_vault).versions) == {"SECRET_KEY": "v1"}


def _refused(asked: dict[str, Any]) -> dict[str, Any]:
    raise StandInFailure("RESPONSE 403: AuthorizationFailed")


def test_a_version_that_cannot_be_read_stops_it(engine: StandInEngine) -> None:
    engine.answers["keyvault:getSecret"] = _refused
    with pytest.raises(Exception, match="AuthorizationFailed"):
        engine.build(_vault)


def test_what_calls_an_instance_directly_has_a_secret_of_its_own(engine: StandInEngine) -> None:
    vault = engine.build(_vault)
    assert engine.value(vault.verify_value) == "only for us"
    assert engine.plain("vault-relevo-verify")["properties"]["value"] == "only for us"


def test_the_stacks_own_secrets_are_not_the_projects(engine: StandInEngine) -> None:
    with pytest.raises(TargetError, match="relevo:secrets has CACHE_URL, but cache-url in the vault is"):
        engine.build(lambda: _vault({"CACHE_URL": True}))


def test_what_is_stored_has_a_version_that_is_no_secret(engine: StandInEngine) -> None:
    def program() -> pulumi.Output[str]:
        vault = _vault()
        return stored_version(
            vault.store(vault, "cache-url", "cache-url", "rediss://", since=NEW, rotation="pulumi up")
        )

    version = engine.build(program)
    assert engine.value(version) == "v7"
    assert engine.value(pulumi.Output.from_input(version.is_secret())) is False


def test_another_component_stores_what_it_made(engine: StandInEngine) -> None:
    def program() -> None:
        vault = _vault()
        parent = pulumi.ComponentResource("relevo:test:Component", "cache")
        vault.store(parent, "cache-url", "cache-url", "rediss://", since=NEW, rotation="pulumi up")

    engine.build(program)
    stored = engine.made["cache-url"]
    assert stored.parent == "cache"
    assert stored.ignore_changes == ()
    assert engine.plain("cache-url")["properties"]["value"] == "rediss://"
