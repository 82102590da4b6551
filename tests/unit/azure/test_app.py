"""The sites: shells that a release fills, open to this stack's Front Door and to nobody else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.azure.app import App, AppArgs, Region, process_name, site_host, spread
from components.azure.naming import Names
from components.azure.revisions import Running
from components.target import TargetError
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

WEST = Region(location="westeurope", subnet_id="subnet-west")
NORTH = Region(location="northeurope", subnet_id="subnet-north")
SITE_CONFIG = {
    "acrUseManagedIdentityCreds": True,
    "acrUserManagedIdentityID": "identity-client",
    "alwaysOn": True,
    "autoHealEnabled": True,
    "autoHealRules": {
        "triggers": {
            "slowRequests": {"timeTaken": "00:00:30", "count": 50, "timeInterval": "00:05:00"},
            "statusCodesRange": [{"statusCodes": "500-599", "count": 100, "timeInterval": "00:05:00"}],
        },
        "actions": {"actionType": "Recycle", "minProcessExecutionTime": "00:10:00"},
    },
    "detailedErrorLoggingEnabled": True,
    "ftpsState": "Disabled",
    "healthCheckPath": "/.relevo/alive",
    "http20Enabled": True,
    "httpLoggingEnabled": True,
    "ipSecurityRestrictions": [
        {
            "name": "front-door",
            "description": "This stack's Front Door, told from others by its id",
            "priority": 100,
            "action": "Allow",
            "tag": "ServiceTag",
            "ipAddress": "AzureFrontDoor.Backend",
            "headers": {"x-azure-fdid": ["front-door-id"]},
        }
    ],
    "ipSecurityRestrictionsDefaultAction": "Deny",
    "scmIpSecurityRestrictions": [],
    "scmIpSecurityRestrictionsDefaultAction": "Deny",
    "scmIpSecurityRestrictionsUseMain": False,
    "minTlsVersion": "1.2",
    "scmMinTlsVersion": "1.2",
    "remoteDebuggingEnabled": False,
    "requestTracingEnabled": True,
    "vnetRouteAllEnabled": True,
    # Defaults of the SDK.
    "localMySqlEnabled": False,
    "netFrameworkVersion": "v4.6",
}


# What Azure answers of an identity is a map, what it is asked for is a list.
IDENTITY = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {"identity-id": {}}}}


@pytest.fixture
def engine() -> StandInEngine:
    engine = StandInEngine()
    engine.outputs = dict.fromkeys(("app-worker", *(f"app-{instance}" for instance in names(8))), IDENTITY)
    return engine


def names(count: int) -> list[str]:
    return [f"instance-{number}" for number in range(1, count + 1)]


def _app(count: int = 2, regions: tuple[Region, ...] = (WEST,), **changed: Any) -> App:
    given: dict[str, Any] = {
        "place": place(),
        "sku": "P1v3",
        "workers": 2,
        "zone_redundant": True,
        "shared_plan": False,
        "instances": spread(names(count), regions),
        "identity_id": "identity-id",
        "identity_client_id": "identity-client",
        "registry": "crassetsprod.azurecr.io",
        "front_door_id": "front-door-id",
        "workspace_id": "workspace-id",
    }
    return App("app", AppArgs(**{**given, **changed}))


def test_a_site_is_exactly_this(engine: StandInEngine) -> None:
    engine.build(_app)

    site = engine.made["app-instance-1"]
    assert site.type == "azure-native:web:WebApp"
    assert site.parent == "app"
    assert site.depends_on == {"app-plan-instance-1"}
    assert site.inputs == {
        "name": "app-assets-prod-instance-1",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "kind": "app,linux,container",
        "reserved": True,
        "serverFarmId": "app-plan-instance-1-id",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": ["identity-id"]},
        "keyVaultReferenceIdentity": "identity-id",
        "httpsOnly": True,
        "clientAffinityEnabled": False,
        "publicNetworkAccess": "Enabled",
        "sshEnabled": False,
        "virtualNetworkSubnetId": "subnet-west",
        "outboundVnetRouting": {"allTraffic": True},
        "siteConfig": SITE_CONFIG,
        "tags": TAGS,
        # Defaults of the SDK.
        "hyperV": False,
        "isXenon": False,
        "scmSiteAlsoStopped": False,
    }


def test_a_release_alone_says_what_runs(engine: StandInEngine) -> None:
    """A new pin must change nothing before the preflight has passed."""
    engine.build(lambda: _app(8))

    for site in engine.of_type("web:WebApp").values():
        assert not {"linuxFxVersion", "appSettings", "appCommandLine"} & site.inputs["siteConfig"].keys()
    assert not engine.of_type("web:WebAppApplicationSettings")


def test_nobody_deploys_or_logs_in_with_a_password(engine: StandInEngine) -> None:
    engine.build(_app)

    for instance in names(2):
        for channel, type_ in (("ftp", "web:WebAppFtpAllowed"), ("scm", "web:WebAppScmAllowed")):
            policy = engine.of_type(type_)[f"app-{instance}-{channel}-credentials"]
            assert policy.inputs == {
                "name": f"app-{instance}-name",
                "resourceGroupName": "rg-assets-prod",
                "allow": False,
            }


def test_the_container_logs_are_kept_where_the_roll_reads_them(engine: StandInEngine) -> None:
    engine.build(_app)

    logs = engine.of_type("web:WebAppDiagnosticLogsConfiguration")["app-instance-2-logs"]
    assert logs.inputs == {
        "name": "app-instance-2-name",
        "resourceGroupName": "rg-assets-prod",
        "httpLogs": {"fileSystem": {"enabled": True, "retentionInDays": 3, "retentionInMb": 100}},
        "detailedErrorMessages": {"enabled": True},
        "failedRequestsTracing": {"enabled": True},
    }


def test_sites_and_plans_send_what_they_have_to_the_workspace(engine: StandInEngine) -> None:
    engine.build(_app)

    settings = engine.of_type("monitor:DiagnosticSetting")
    assert {made.inputs["resourceUri"]: len(made.inputs["logs"]) for made in settings.values()} == {
        "app-instance-1-id": 1,
        "app-instance-2-id": 1,
        "app-plan-instance-1-id": 0,  # a plan has metrics only
        "app-plan-instance-2-id": 0,
    }
    assert {made.inputs["workspaceId"] for made in settings.values()} == {"workspace-id"}


@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize(("shared", "regions"), [(False, (WEST,)), (True, (WEST, NORTH))])
def test_each_instance_has_a_site_in_the_plan_of_its_region_or_its_own(
    engine: StandInEngine, count: int, shared: bool, regions: tuple[Region, ...]
) -> None:
    app = engine.build(lambda: _app(count, regions, shared_plan=shared))

    plans = engine.of_type("web:AppServicePlan")
    sites = engine.of_type("web:WebApp")
    assert list(app.site_names) == list(app.site_hosts) == names(count)
    assert sites.keys() == {f"app-{instance}" for instance in names(count)}
    for index, instance in enumerate(names(count)):
        region = regions[index % len(regions)]
        plan = f"app-plan-{region.location if shared else instance}"
        assert sites[f"app-{instance}"].inputs["serverFarmId"] == f"{plan}-id"
        assert sites[f"app-{instance}"].inputs["location"] == region.location
        assert sites[f"app-{instance}"].inputs["virtualNetworkSubnetId"] == region.subnet_id
        assert plans[plan].inputs["location"] == region.location
    assert len(plans) == (len(regions) if shared else count)


def test_a_plan_is_for_linux_and_spread_over_zones(engine: StandInEngine) -> None:
    engine.build(lambda: _app(shared_plan=True))

    assert engine.made["app-plan-westeurope"].inputs == {
        "name": "asp-assets-prod-westeurope",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "kind": "linux",
        "reserved": True,
        "sku": {"name": "P1v3", "tier": "PremiumV3", "capacity": 2},
        "zoneRedundant": True,
        "tags": TAGS,
    }


def test_the_host_of_a_site_is_known_from_its_name(engine: StandInEngine) -> None:
    app = engine.build(_app)

    assert site_host(place(), "instance-1", "westeurope") == "app-assets-prod-instance-1.azurewebsites.net"
    assert app.site_hosts["instance-1"] == "app-assets-prod-instance-1.azurewebsites.net"


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_in_the_second_region_says_so_in_its_name(engine: StandInEngine, shared: bool) -> None:
    """A stack of one region that gets a second keeps what it has, and makes the others beside."""
    app = engine.build(lambda: _app(4, (WEST, NORTH), shared_plan=shared))

    assert list(app.site_names.values()) == [
        "app-assets-prod-instance-1",
        "app-assets-prod-instance-2-northeurope",
        "app-assets-prod-instance-3",
        "app-assets-prod-instance-4-northeurope",
    ]
    plans = engine.of_type("web:AppServicePlan").values()
    assert {(plan.inputs["name"], plan.inputs["location"]) for plan in plans} == (
        {
            ("asp-assets-prod-westeurope", "westeurope"),
            ("asp-assets-prod-northeurope", "northeurope"),
        }
        if shared
        else {
            ("asp-assets-prod-instance-1", "westeurope"),
            ("asp-assets-prod-instance-2-northeurope", "northeurope"),
            ("asp-assets-prod-instance-3", "westeurope"),
            ("asp-assets-prod-instance-4-northeurope", "northeurope"),
        }
    )


def test_a_roll_does_not_take_two_of_one_region_in_a_row() -> None:
    assert [region.location for region in spread(names(4), (WEST, NORTH)).values()] == [
        "westeurope",
        "northeurope",
        "westeurope",
        "northeurope",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sku": "B1"}, "relevo:azure.app.zoneRedundant is true, but B1 is Basic"),
        ({"workers": 1}, "relevo:azure.app.zoneRedundant is true, but relevo:azure.app.workersPerPlan is 1"),
        (
            {"instances": {"instance-1": Region(location="westus", subnet_id="subnet")}},
            "relevo:azure.app.zoneRedundant is true, but westus has no availability zones",
        ),
    ],
)
def test_a_plan_that_azure_refuses_is_refused_before(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError, match=f"^{re.escape(message)}"):
        _app(**changed)


@pytest.mark.parametrize("name", ["notifications-worker", "worker-", "worker--2"])
def test_a_name_of_a_process_that_azure_refuses_is_told_of_its_own_key(name: str) -> None:
    with pytest.raises(TargetError) as raised:
        process_name(Names("assets-loans", "prod"), name)
    assert str(raised.value) == (
        f"relevo:app.processes.{name} is not a name that Container Apps takes, but at most 11 lower case "
        f"letters, digits and single hyphens are accepted beside assets-loans-prod; rename it."
    )
    assert process_name(Names("assets-loans", "prod"), "a-worker-11") == "ca-assets-loans-prod-a-worker-11"


def test_a_further_process_is_one_replica_without_an_address(engine: StandInEngine) -> None:
    app = engine.build(
        lambda: _app(
            processes=("worker",),
            environment_id="environment-id",
        )
    )

    assert app.process_names == {"worker": "ca-assets-prod-worker"}
    worker = engine.made["app-worker"]
    assert worker.type == "azure-native:app:ContainerApp"
    watched = engine.made["app-worker-diagnostics"].inputs
    assert watched["metrics"] == [{"category": "AllMetrics", "enabled": True}]
    assert watched["logs"] == []
    assert worker.parent == "app"
    assert not worker.ignore_changes
    assert worker.inputs == {
        "containerAppName": "ca-assets-prod-worker",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "environmentId": "environment-id",
        "workloadProfileName": "Consumption",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": ["identity-id"]},
        "configuration": {
            "activeRevisionsMode": "Single",
            "registries": [{"server": "crassetsprod.azurecr.io", "identity": "identity-id"}],
        },
        "template": {
            "containers": [
                {
                    "name": "worker",
                    "image": "mcr.microsoft.com/k8se/quickstart:latest",
                    "resources": {"cpu": 0.5, "memory": "1.0Gi"},
                }
            ],
            "scale": {"minReplicas": 1, "maxReplicas": 1},
        },
        "tags": TAGS,
    }


@pytest.mark.parametrize(("cores", "suffix"), [(0.5, "r7f3"), (1.0, None)])
def test_a_further_process_is_declared_as_it_runs(
    engine: StandInEngine, cores: float, suffix: str | None
) -> None:
    """An update of its tags must not put the placeholder back. A changed revision cannot keep its name."""
    running = Running(
        image="crassetsprod.azurecr.io/assets@sha256:5e",
        command=("celery", "worker"),
        environment={"RELEVO_VERSION": "v2", "QUEUE": "a"},
        cores=0.5,
        suffix="r7f3",
    )
    for name in ("app-worker", "app-other"):  # Azure tells more of an identity than it is told
        engine.outputs[name] = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {}}}
    engine.build(
        lambda: _app(
            processes=("worker", "other"),
            environment_id="environment-id",
            process_cores=cores,
            running={"worker": running},
        )
    )
    template = engine.made["app-worker"].inputs["template"]
    (container,) = template["containers"]
    assert container == {
        "name": "worker",
        "image": "crassetsprod.azurecr.io/assets@sha256:5e",
        "command": ["celery", "worker"],
        "env": [{"name": "RELEVO_VERSION", "value": "v2"}, {"name": "QUEUE", "value": "a"}],
        "resources": {"cpu": cores, "memory": f"{2 * cores}Gi"},
    }
    assert template.get("revisionSuffix") == suffix
    (other,) = engine.made["app-other"].inputs["template"]["containers"]
    assert other["image"] == "mcr.microsoft.com/k8se/quickstart:latest"
