"""The database: private, encrypted on its way, recoverable, and its credentials in the vault only."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from components.azure.database import Administrator, Database, DatabaseArgs
from components.azure.database_server import Found
from components.azure.vault import DAY, Vault, VaultArgs
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

NEW = 1_800_000_000


def _stand_in() -> StandInEngine:
    engine = StandInEngine()
    engine.outputs = {
        f"{name}-value": {"value": value, "since": NEW}
        for name, value in (
            ("vault-relevo-verify", "verify"),
            ("database-administrator", "for nobody"),
            ("database-password-a", "pass-word_"),
            ("database-password-b", "another"),
        )
    }
    return engine


@pytest.fixture
def engine() -> StandInEngine:
    return _stand_in()


def _database(where: dict[str, Any] | None = None, **changed: Any) -> Database:
    at = place(**(where or {}))
    vault = Vault(
        "vault",
        VaultArgs(
            place=at,
            secrets={},
            expiry_days=90,
            readers={},
            endpoints_subnet_id="subnet-id",
            zone_id="vault-zone-id",
            workspace_id="workspace-id",
        ),
    )
    given: dict[str, Any] = {
        "sku": "Standard_D2ds_v5",
        "storage_gb": 64,
        "version": "17",
        "ha": "ZoneRedundant",
        "geo_backup": True,
        "retention_days": 35,
        "name": "assets",
        "user": "assets_app",
        "login": "a",
        "administrators": [
            Administrator(
                key="jobs", object_id="jobs-id", name="id-assets-prod-jobs", type="ServicePrincipal"
            ),
            Administrator(key="team", object_id="team-id", name="Database team", type="Group"),
        ],
        "max_connections": None,
        "zone": "1",
        "subnet_id": "database-subnet-id",
        "zone_id": "database-zone-id",
    }
    return Database(
        "database",
        DatabaseArgs(place=at, workspace_id="workspace-id", vault=vault, **{**given, **changed}),
    )


@pytest.fixture(scope="module")
def usual() -> StandInEngine:
    engine = _stand_in()
    engine.build(_database)
    return engine


def test_the_server_is_private_replicated_and_backed_up(engine: StandInEngine) -> None:
    database = engine.build(_database)

    made = engine.made["database-server"]
    assert made.type == "azure-native:dbforpostgresql:Server"
    assert made.secret == {"administratorLoginPassword"}
    assert engine.plain("database-server") == {
        "serverName": "psql-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "version": "17",
        "sku": {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"},
        "storage": {"storageSizeGB": 64, "autoGrow": "Enabled", "type": "Premium_LRS"},
        "administratorLogin": "relevo_administrator",
        "administratorLoginPassword": "for nobody",
        "authConfig": {
            "activeDirectoryAuth": "Enabled",
            "passwordAuth": "Enabled",
            "tenantId": "22222222-2222-2222-2222-222222222222",
        },
        "network": {
            "delegatedSubnetResourceId": "database-subnet-id",
            "privateDnsZoneArmResourceId": "database-zone-id",
            "publicNetworkAccess": "Disabled",
        },
        "availabilityZone": "1",
        "highAvailability": {"mode": "ZoneRedundant", "standbyAvailabilityZone": "2"},
        "backup": {"backupRetentionDays": 35, "geoRedundantBackup": "Enabled"},
        "maintenanceWindow": {"customWindow": "Enabled", "dayOfWeek": 0, "startHour": 3, "startMinute": 0},
        "tags": TAGS,
    }
    assert not made.ignore_changes
    assert database.host == "psql-assets-prod.postgres.database.azure.com"
    assert engine.value(database.server_id) == "database-server-id"


@pytest.mark.parametrize(
    ("zones", "ha", "zone", "standby"),
    [
        (("1", "2", "3"), "SameZone", "1", {"mode": "SameZone", "standbyAvailabilityZone": "1"}),
        (("1", "2", "3"), "Disabled", "1", {"mode": "Disabled", "standbyAvailabilityZone": ""}),
        ((), "SameZone", "", {"mode": "SameZone", "standbyAvailabilityZone": ""}),
        ((), "Disabled", "", {"mode": "Disabled", "standbyAvailabilityZone": ""}),
    ],
)
def test_zones_are_named_only_where_there_are_some(
    engine: StandInEngine, zones: tuple[str, ...], ha: str, zone: str, standby: dict[str, str]
) -> None:
    engine.build(lambda: _database({"zones": zones}, ha=ha, geo_backup=False))

    inputs = engine.made["database-server"].inputs  # "" is the API's own word for none
    assert inputs["availabilityZone"] == zone
    assert inputs["highAvailability"] == standby
    assert inputs["backup"]["geoRedundantBackup"] == "Disabled"


@pytest.mark.parametrize(("zone", "standby"), [("1", "2"), ("2", "1"), ("3", "1")])
def test_the_standby_is_in_another_zone(engine: StandInEngine, zone: str, standby: str) -> None:
    engine.build(lambda: _database({}, zone=zone))
    inputs = engine.made["database-server"].inputs
    assert inputs["availabilityZone"] == zone
    assert inputs["highAvailability"]["standbyAvailabilityZone"] == standby


@pytest.mark.parametrize(
    ("was", "mode", "zones"),
    [
        (Found(storage_gb=64, ha="ZoneRedundant", zone="2", standby="1"), "ZoneRedundant", ("2", "1")),
        (Found(storage_gb=64, ha="Disabled", zone="3", standby=None), "Disabled", ("3", None)),
        (Found(storage_gb=64, ha="Disabled", zone="2", standby=None), "ZoneRedundant", ("2", "1")),
        (Found(storage_gb=64, ha="ZoneRedundant", zone="2", standby="1"), "Disabled", ("2", None)),
        (Found(storage_gb=64, ha="Disabled", zone=None, standby=None), "Disabled", (None, None)),
    ],
    ids=["after a failover", "as it was", "to have a standby", "to have none more", "in no zone"],
)
def test_a_server_stays_in_its_zones(
    engine: StandInEngine, was: Found, mode: str, zones: tuple[str | None, str | None]
) -> None:
    engine.build(lambda: _database(server=was, ha=mode, zone="1"))
    inputs = engine.made["database-server"].inputs
    standby = inputs["highAvailability"].get("standbyAvailabilityZone") or None  # the SDK leaves none empty
    assert (inputs.get("availabilityZone") or None, standby) == zones


@pytest.mark.parametrize(("wanted", "real", "declared"), [(64, 64, 64), (64, 128, 128), (256, 128, 256)])
def test_the_larger_of_the_configured_and_the_real_disk_is_declared(
    engine: StandInEngine, wanted: int, real: int, declared: int
) -> None:
    was = Found(storage_gb=real, ha="ZoneRedundant", zone="1", standby="2")
    engine.build(lambda: _database(server=was, storage_gb=wanted))
    assert engine.made["database-server"].inputs["storage"]["storageSizeGB"] == declared


def test_it_speaks_tls_only_and_logs_what_changes_the_schema(usual: StandInEngine) -> None:
    parameters = {
        made.inputs["configurationName"]: made.inputs["value"]
        for made in usual.of_type("dbforpostgresql:Configuration").values()
    }
    assert parameters == {
        "require_secure_transport": "on",
        "ssl_min_protocol_version": "TLSv1.2",
        "connection_throttle.enable": "on",
        "log_checkpoints": "on",
        "log_lock_waits": "on",
        "log_statement": "ddl",
    }


def test_the_limit_of_connections_is_set_where_one_is_given(engine: StandInEngine) -> None:
    engine.build(lambda: _database(max_connections=300))
    assert engine.made["database-max-connections"].inputs == {
        "configurationName": "max_connections",
        "serverName": "database-server-name",
        "resourceGroupName": "rg-assets-prod",
        "source": "user-override",
        "value": "300",
    }


def test_administrators_come_with_tokens(usual: StandInEngine) -> None:
    assert usual.made["database-administrator-jobs"].type == (
        "azure-native:dbforpostgresql:AdministratorsMicrosoftEntra"
    )
    assert usual.made["database-administrator-jobs"].inputs == {
        "objectId": "jobs-id",
        "principalName": "id-assets-prod-jobs",
        "principalType": "ServicePrincipal",
        "tenantId": "22222222-2222-2222-2222-222222222222",
        "serverName": "database-server-name",
        "resourceGroupName": "rg-assets-prod",
    }
    assert usual.made["database-administrator-team"].inputs["principalType"] == "Group"


def test_the_server_gets_one_change_at_a_time(usual: StandInEngine) -> None:
    changes = [
        *usual.of_type("dbforpostgresql:Configuration"),
        "database-administrator-jobs",
        "database-administrator-team",
    ]
    for before, after in itertools.pairwise(changes):
        assert before in usual.made[after].depends_on


@pytest.mark.parametrize(("login", "password"), [("a", "pass-word_"), ("b", "another")])
def test_password_and_url_of_both_logins_are_in_the_vault(
    usual: StandInEngine, login: str, password: str
) -> None:
    for secret, value in (
        ("password", password),
        (
            "url",
            f"postgres://assets_app_{login}:{password}@psql-assets-prod.postgres.database.azure.com:5432/assets"
            "?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt",
        ),
    ):
        stored = usual.made[f"database-{secret}-{login}"]
        assert stored.type == "azure-native:keyvault:Secret"
        assert stored.secret == {"properties"}
        inputs = usual.plain(f"database-{secret}-{login}")
        assert inputs["secretName"] == f"database-{secret}-{login}"
        assert inputs["properties"]["value"] == value
        assert inputs["properties"]["attributes"]["expires"] == NEW + 90 * DAY
        assert "Rotating secrets" in inputs["tags"]["rotation"]


def test_the_built_in_administrators_password_is_stored_nowhere_else(usual: StandInEngine) -> None:
    holders = [name for name in usual.made if "for nobody" in str(usual.plain(name))]
    assert holders == ["database-server"]


def test_a_guarded_one_is_kept(engine: StandInEngine) -> None:
    engine.build(lambda: _database({"guard": True}))
    assert engine.made["database-server"].guarded


def test_it_is_logged(usual: StandInEngine) -> None:
    assert usual.made["database-diagnostics"].inputs["resourceUri"] == "database-server-id"


def test_only_the_password_in_use_is_protected_from_a_replacement(engine: StandInEngine) -> None:
    """The other one may be replaced without an outage, and the engine is to allow it."""
    database = engine.build(lambda: _database({"guard": True}, login="b"))
    assert database.user == "assets_app_b"
    assert not engine.made["database-password-a-value"].protect
    assert engine.made["database-password-b-value"].protect
