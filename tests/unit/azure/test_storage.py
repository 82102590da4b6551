"""The storage account: identities only, and nothing that was kept goes before its time."""

from __future__ import annotations

from typing import Any

import pytest

from components.azure.storage import Storage, StorageArgs
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

CONTAINERS = ("media", "static", "backups", "logbook", "logbook-lock", "logbook-pages")


def _storage(**changed: Any) -> Storage:
    return Storage(
        "storage",
        StorageArgs(
            place=place(**changed),
            endpoints_subnet_id="subnet-id",
            zone_id="zone-id",
            workspace_id="workspace-id",
            sku="Standard_GZRS",
            recoverable_days=30,
            immutable_days=40,
            backups_kept_days=100,
        ),
    )


@pytest.fixture(scope="module")
def usual() -> StandInEngine:
    engine = StandInEngine()
    engine.build(_storage)
    return engine


def test_it_takes_identities_over_tls_from_inside(engine: StandInEngine) -> None:
    storage = engine.build(_storage)

    made = engine.made["storage-account"]
    assert made.type == "azure-native:storage:StorageAccount"
    assert made.inputs == {
        "accountName": "stassetsprod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "kind": "StorageV2",
        "sku": {"name": "Standard_GZRS"},
        "accessTier": "Hot",
        "allowSharedKeyAccess": False,
        "defaultToOAuthAuthentication": True,
        "allowBlobPublicAccess": False,
        "allowCrossTenantReplication": False,
        "allowedCopyScope": "AAD",
        "enableHttpsTrafficOnly": True,
        "minimumTlsVersion": "TLS1_2",
        "isLocalUserEnabled": False,
        "isSftpEnabled": False,
        "publicNetworkAccess": "Disabled",
        "networkRuleSet": {"defaultAction": "Deny", "bypass": "AzureServices", "ipRules": []},
        "tags": TAGS,
    }
    assert engine.made["storage-endpoint"].inputs["privateLinkServiceConnections"] == [
        {"name": "blob", "privateLinkServiceId": "storage-account-id", "groupIds": ["blob"]}
    ]
    assert storage.account_name == "stassetsprod"
    assert storage.blob_host == "stassetsprod.blob.core.windows.net"


def test_single_addresses_of_the_runner_are_written_as_azure_takes_them(engine: StandInEngine) -> None:
    engine.build(lambda: _storage(runner_addresses=("203.0.113.7/32", "203.0.113.8/31", "198.51.100.0/24")))

    inputs = engine.made["storage-account"].inputs
    assert inputs["publicNetworkAccess"] == "Enabled"
    assert inputs["networkRuleSet"]["defaultAction"] == "Deny"
    assert [rule["iPAddressOrRange"] for rule in inputs["networkRuleSet"]["ipRules"]] == [
        "203.0.113.7",
        "203.0.113.8",
        "203.0.113.9",
        "198.51.100.0/24",
    ]


def test_what_was_deleted_or_overwritten_can_be_had_back(usual: StandInEngine) -> None:
    kept = {"enabled": True, "days": 30}
    service = usual.made["storage-blobs"]
    assert service.type == "azure-native:storage:BlobServiceProperties"
    assert service.inputs == {
        "accountName": "storage-account-name",
        "resourceGroupName": "rg-assets-prod",
        "blobServicesName": "default",
        "isVersioningEnabled": True,
        "changeFeed": {"enabled": True, "retentionInDays": 30},
        "deleteRetentionPolicy": kept,
        "containerDeleteRetentionPolicy": kept,
        "restorePolicy": {"enabled": True, "days": 29},
    }


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_private(engine: StandInEngine, container: str) -> None:
    storage = engine.build(_storage)

    made = engine.made[f"storage-{container}"]
    assert made.type == "azure-native:storage:BlobContainer"
    assert made.inputs == {
        "accountName": "storage-account-name",
        "resourceGroupName": "rg-assets-prod",
        "containerName": container,
        "publicAccess": "None",
    }
    assert "storage-blobs" in made.depends_on
    assert engine.value(storage.container_id(container)) == f"storage-{container}-id"


def test_backups_are_written_once_and_the_logbook_is_appended_to(usual: StandInEngine) -> None:
    policies = usual.of_type("storage:BlobContainerImmutabilityPolicy")
    assert {name: made.inputs for name, made in policies.items()} == {
        f"storage-{container}-immutable": {
            "accountName": "storage-account-name",
            "resourceGroupName": "rg-assets-prod",
            "containerName": f"storage-{container}-name",
            "immutabilityPolicyName": "default",
            "immutabilityPeriodSinceCreationInDays": 40,
            "allowProtectedAppendWrites": appended,
        }
        for container, appended in (("backups", False), ("logbook", True))
    }
    assert all(made.retain_on_delete for made in policies.values())


def test_backups_old_versions_and_the_logs_of_jobs_end_by_rules(usual: StandInEngine) -> None:
    (lifecycle,) = usual.of_type("storage:ManagementPolicy").values()
    assert lifecycle.inputs == {
        "accountName": "storage-account-name",
        "resourceGroupName": "rg-assets-prod",
        "managementPolicyName": "default",
        "policy": lifecycle.inputs["policy"],
    }
    for rule in lifecycle.inputs["policy"]["rules"]:
        assert (rule["enabled"], rule["type"]) == (True, "Lifecycle")
    rules = {
        rule["name"]: (rule["definition"]["filters"]["prefixMatch"], rule["definition"]["actions"])
        for rule in lifecycle.inputs["policy"]["rules"]
    }
    version = {"version": {"delete": {"daysAfterCreationGreaterThan": 30}}}
    assert rules == {
        "backups-end": (
            ["backups/"],
            {
                "baseBlob": {
                    "tierToCool": {"daysAfterModificationGreaterThan": 7},
                    "delete": {"daysAfterModificationGreaterThan": 100},
                }
            },
        ),
        "job-logs-end": (
            ["logbook-lock/jobs/"],
            {
                "baseBlob": {"delete": {"daysAfterModificationGreaterThan": 30}},
                "version": {"delete": {"daysAfterCreationGreaterThan": 30}},
            },
        ),
        "media-versions-end": (["media/"], version),
        "static-versions-end": (["static/"], version),
        "backups-versions-end": (["backups/"], version),
        "logbook-pages-versions-end": (["logbook-pages/"], version),
    }
    # A rule for another type than a blob's own would never end it.
    types = {
        rule["name"]: rule["definition"]["filters"]["blobTypes"]
        for rule in lifecycle.inputs["policy"]["rules"]
    }
    assert types.pop("job-logs-end") == ["appendBlob"]
    assert all(kinds == ["blockBlob"] for kinds in types.values())


def test_a_guarded_one_and_all_its_containers_are_kept(engine: StandInEngine) -> None:
    engine.build(lambda: _storage(guard=True))

    assert engine.made["storage-account"].guarded
    assert all(engine.made[f"storage-{container}"].guarded for container in CONTAINERS)
    assert engine.made["storage-lock"].inputs["scope"] == "storage-account-id"


def test_the_blobs_are_logged_and_the_account_measured(usual: StandInEngine) -> None:
    settings = {
        made.inputs["resourceUri"]: (bool(made.inputs["logs"]), made.inputs["metrics"])
        for made in usual.of_type("monitor:DiagnosticSetting").values()
    }
    transactions = [{"category": "Transaction", "enabled": True}]
    assert settings == {
        "storage-account-id": (False, transactions),
        "storage-account-id/blobServices/default": (True, transactions),
    }
