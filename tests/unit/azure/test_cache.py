"""The cache: one server over TLS, reached from inside, its key in the vault only."""

from __future__ import annotations

import hashlib
from typing import Literal

import pytest

from components.azure.cache import Cache, CacheArgs
from components.azure.vault import DAY, Vault, VaultArgs
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

NEW = 1_800_000_000
KEY = "a/key+of=azure"


def _stand_in() -> StandInEngine:
    engine = StandInEngine()
    engine.outputs = {
        "vault-relevo-verify-value": {"value": "verify", "since": NEW},
        "cache-key": {"since": NEW},
    }
    engine.answers = {"redisenterprise:listDatabaseKeys": {"primaryKey": KEY, "secondaryKey": "another"}}
    return engine


@pytest.fixture
def engine() -> StandInEngine:
    return _stand_in()


def _cache(replicated: bool = True, key: Literal["primary", "secondary"] = "primary") -> Cache:
    vault = Vault(
        "vault",
        VaultArgs(
            place=place(),
            secrets={},
            expiry_days=90,
            readers={},
            endpoints_subnet_id="subnet-id",
            zone_id="vault-zone-id",
            workspace_id="workspace-id",
        ),
    )
    return Cache(
        "cache",
        CacheArgs(
            place=place(),
            sku="Balanced_B0",
            replicated=replicated,
            key=key,
            endpoints_subnet_id="subnet-id",
            zone_id="cache-zone-id",
            workspace_id="workspace-id",
            vault=vault,
        ),
    )


@pytest.fixture(scope="module")
def usual() -> StandInEngine:
    engine = _stand_in()
    engine.build(_cache)
    return engine


@pytest.mark.parametrize(("replicated", "availability"), [(True, "Enabled"), (False, "Disabled")])
def test_it_is_closed_to_the_internet(engine: StandInEngine, replicated: bool, availability: str) -> None:
    cache = engine.build(lambda: _cache(replicated))

    cluster = engine.made["cache-cluster"]
    assert cluster.type == "azure-native:redisenterprise:RedisEnterprise"
    assert cluster.inputs == {
        "clusterName": "amr-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "sku": {"name": "Balanced_B0"},
        "highAvailability": availability,
        "minimumTlsVersion": "1.2",
        "publicNetworkAccess": "Disabled",
        "tags": TAGS,
    }
    assert (cache.host, cache.port) == ("amr-assets-prod.westeurope.redis.azure.net", 10000)
    assert engine.made["cache-endpoint"].inputs["privateLinkServiceConnections"] == [
        {
            "name": "redisenterprise",
            "privateLinkServiceId": "cache-cluster-id",
            "groupIds": ["redisEnterprise"],
        }
    ]


def test_its_clients_see_one_server_over_tls(usual: StandInEngine) -> None:
    database = usual.made["cache-database"]
    assert database.type == "azure-native:redisenterprise:Database"
    assert database.inputs == {
        "clusterName": "cache-cluster-name",
        "databaseName": "default",
        "resourceGroupName": "rg-assets-prod",
        "port": 10000,
        "clientProtocol": "Encrypted",
        "clusteringPolicy": "NoCluster",
        "evictionPolicy": "VolatileLRU",
        "accessKeysAuthentication": "Enabled",
    }


def test_its_key_and_url_are_in_the_vault(usual: StandInEngine) -> None:
    for secret, value in (
        ("password", KEY),
        (
            "url",
            "rediss://:a%2Fkey%2Bof%3Dazure@amr-assets-prod.westeurope.redis.azure.net:10000/0"
            "?ssl_cert_reqs=required",
        ),
    ):
        stored = usual.made[f"cache-{secret}"]
        assert stored.secret == {"properties"}
        inputs = usual.plain(f"cache-{secret}")
        assert inputs["secretName"] == f"cache-{secret}"
        assert inputs["properties"]["value"] == value
        assert inputs["properties"]["attributes"]["expires"] == NEW + 90 * DAY


def test_the_other_key_can_be_taken_into_use(engine: StandInEngine) -> None:
    engine.build(lambda: _cache(key="secondary"))
    assert engine.plain("cache-password")["properties"]["value"] == "another"
    assert "rediss://:another@" in engine.plain("cache-url")["properties"]["value"]
    assert engine.plain("cache-key")["fingerprint"] == hashlib.sha256(b"another").hexdigest()


def test_the_key_is_in_no_other_input(usual: StandInEngine) -> None:
    holders = {name for name in usual.made if KEY in str(usual.plain(name))}
    assert holders == {"cache-password"}
    assert usual.plain("cache-key")["fingerprint"] == hashlib.sha256(KEY.encode()).hexdigest()
    assert usual.made["cache-key"].secret == {"fingerprint"}


def test_the_cluster_is_measured_and_the_database_logged(usual: StandInEngine) -> None:
    settings = {
        made.inputs["resourceUri"]: (bool(made.inputs["logs"]), bool(made.inputs["metrics"]))
        for name, made in usual.of_type("monitor:DiagnosticSetting").items()
        if name.startswith("cache-")
    }
    assert settings == {"cache-cluster-id": (False, True), "cache-database-id": (True, False)}
