"""Jobs in the network: started by a release with its own image, or by the clock with the pinned one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.azure.image import scheduled_dump, scheduled_review
from components.azure.jobs import Jobs, JobsArgs, Scheduled
from components.target import TargetError
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

IMAGE = "crassetsprod.azurecr.io/assets@sha256:" + "0" * 64
DUMP = Scheduled(
    cron="17 2 * * *",
    image=IMAGE,
    command=scheduled_dump(),
    environment={"PGHOST": "db.example.org", "AZURE_CLIENT_ID": "client"},
    identity_id="identity-id",
)


@pytest.fixture
def engine() -> StandInEngine:
    engine = StandInEngine()
    # What Azure answers of an identity is a map, what it is asked for is a list.
    identity = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {"identity-id": {}}}}
    engine.outputs = dict.fromkeys(("jobs-manage", "jobs-backup", "jobs-dump", "jobs-review"), identity)
    return engine


def _jobs(**changed: Any) -> Jobs:
    given: dict[str, Any] = {
        "place": place(),
        "subnet_id": "subnet-id",
        "zone_redundant": True,
        "identity_id": "identity-id",
        "registry": "crassetsprod.azurecr.io",
        "timeout_seconds": 1800,
        "workspace_id": "workspace-id",
    }
    return Jobs("jobs", JobsArgs(**{**given, **changed}))


def test_the_environment_has_no_address_outside_and_no_key(engine: StandInEngine) -> None:
    jobs = engine.build(_jobs)

    environment = engine.made["jobs-environment"]
    assert environment.type == "azure-native:app:ManagedEnvironment"
    assert environment.parent == "jobs"
    assert environment.inputs == {
        "environmentName": "cae-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "infrastructureResourceGroup": "rg-assets-prod-jobs",
        "location": "westeurope",
        "appLogsConfiguration": {"destination": "azure-monitor"},
        "publicNetworkAccess": "Disabled",
        "vnetConfiguration": {"infrastructureSubnetId": "subnet-id", "internal": True},
        "workloadProfiles": [
            {"name": "Consumption", "workloadProfileType": "Consumption", "enableFips": False}
        ],
        "zoneRedundant": True,
        "tags": TAGS,
    }
    assert engine.value(jobs.environment_id) == "jobs-environment-id"


def test_the_log_goes_to_the_workspace(engine: StandInEngine) -> None:
    """The environment only hands it to Azure Monitor: without the setting it would be lost."""
    engine.build(_jobs)

    setting = engine.made["jobs-diagnostics"]
    assert setting.inputs["resourceUri"] == "jobs-environment-id"
    assert setting.inputs["workspaceId"] == "workspace-id"
    assert setting.inputs["logs"] == [{"categoryGroup": "allLogs", "enabled": True}]


@pytest.mark.parametrize("kind", ["manage", "backup"])
def test_a_job_waits_for_a_release_runs_once_and_has_no_secret(engine: StandInEngine, kind: str) -> None:
    jobs = engine.build(_jobs)

    assert jobs.job_names == {"manage": "caj-assets-prod-manage", "backup": "caj-assets-prod-backup"}
    job = engine.made[f"jobs-{kind}"]
    assert job.type == "azure-native:app:Job"
    assert job.parent == "jobs"
    assert job.depends_on == {"jobs-environment"}
    assert job.inputs == {
        "jobName": f"caj-assets-prod-{kind}",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "environmentId": "jobs-environment-id",
        "workloadProfileName": "Consumption",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": ["identity-id"]},
        "configuration": {
            "triggerType": "Manual",
            "manualTriggerConfig": {"parallelism": 1, "replicaCompletionCount": 1},
            "replicaRetryLimit": 0,
            "replicaTimeout": 1800,
            "registries": [{"server": "crassetsprod.azurecr.io", "identity": "identity-id"}],
        },
        "template": {
            "containers": [
                {
                    "name": kind,
                    "image": "mcr.microsoft.com/k8se/quickstart-jobs:latest",
                    "env": [{"name": "RELEVO_CORES", "value": "1"}],
                    "resources": {"cpu": 1.0, "memory": "2.0Gi"},
                }
            ]
        },
        "tags": TAGS,
    }


def test_the_clock_starts_the_pinned_dump_under_a_new_name_each_time(engine: StandInEngine) -> None:
    jobs = engine.build(lambda: _jobs(scheduled={"dump": DUMP}))

    assert "dump" not in jobs.job_names  # no release starts it
    job = engine.made["jobs-dump"]
    assert job.inputs["jobName"] == "caj-assets-prod-dump"
    assert job.inputs["configuration"]["triggerType"] == "Schedule"
    assert job.inputs["configuration"]["scheduleTriggerConfig"] == {
        "cronExpression": "17 2 * * *",
        "parallelism": 1,
        "replicaCompletionCount": 1,
    }
    assert "manualTriggerConfig" not in job.inputs["configuration"]
    (container,) = job.inputs["template"]["containers"]
    assert container == {
        "name": "dump",
        "image": IMAGE,
        "command": [
            "/bin/sh",
            "-c",
            'exec /relevo/bin/python -P -m components.azure.dump "scheduled-$(date -u +%Y%m%dT%H%M%SZ)"',
        ],
        "env": [
            {"name": "RELEVO_CORES", "value": "1"},
            {"name": "PGHOST", "value": "db.example.org"},
            {"name": "AZURE_CLIENT_ID", "value": "client"},
        ],
        "resources": {"cpu": 1.0, "memory": "2.0Gi"},
    }


def test_the_clock_starts_the_review_as_another_identity(engine: StandInEngine) -> None:
    """One that may write the record, which no command of a release may."""
    review = replace(DUMP, command=scheduled_review(), identity_id="review-id")
    engine.build(lambda: _jobs(scheduled={"review": review}))

    job = engine.made["jobs-review"].inputs
    assert job["identity"]["userAssignedIdentities"] == ["review-id"]
    assert job["configuration"]["registries"] == [
        {"server": "crassetsprod.azurecr.io", "identity": "review-id"}
    ]
    (container,) = job["template"]["containers"]
    assert container["command"] == [
        *("/relevo/bin/python", "-P", "-m", "components.azure.handed_over", "components.release.tasks.review")
    ]


def test_without_an_artefact_the_clock_starts_nothing(engine: StandInEngine) -> None:
    engine.build(_jobs)

    assert engine.of_type("app:Job").keys() == {"jobs-manage", "jobs-backup"}


def test_a_size_that_container_apps_does_not_have_is_refused(engine: StandInEngine) -> None:
    with pytest.raises(TargetError, match=r"^relevo:azure.jobs.cores is 0.3, but 0.25 to 4"):
        JobsArgs(
            place=place(),
            subnet_id="subnet-id",
            zone_redundant=False,
            identity_id="identity-id",
            registry="crassetsprod.azurecr.io",
            timeout_seconds=60,
            workspace_id="workspace-id",
            cores=0.3,
        )
