"""What is kept, who is told of what, and the page with releases and errors."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from components.azure.monitoring import (
    LOG_RULES,
    Logs,
    LogsArgs,
    Monitoring,
    MonitoringArgs,
    duration,
    workbook,
)
from tests.unit.azure.stand_in import TAGS, StandInEngine, place


@pytest.fixture
def engine() -> StandInEngine:
    engine = StandInEngine()
    engine.outputs = {
        "logs-insights": {
            "connectionString": "InstrumentationKey=…",
            "creationDate": "2026-11-24T12:00:00.5000000Z",
        },
        "logs-workspace": {"customerId": "44444444-4444-4444-4444-444444444444"},
    }
    return engine


def _logs(*, guard: bool = False, **changed: Any) -> Logs:
    return Logs("logs", LogsArgs(**{"place": place(guard=guard), "retention_days": 90, **changed}))


def _monitoring(**changed: Any) -> Monitoring:
    given: dict[str, Any] = {
        "place": place(),
        "workspace_id": "workspace-id",
        "front_door_id": "front-door-id",
        "endpoint_host": "public.z01.azurefd.net",
        "database_id": "database-id",
        "max_connections": 859,
        "emails": ("team@example.org",),
        "insights_id": "insights-id",
    }
    return Monitoring("monitoring", MonitoringArgs(**{**given, **changed}))


def test_the_certificate_of_ones_own_domain_is_watched(engine: StandInEngine) -> None:
    """By asking the domain: no vault knows of it."""
    engine.build(lambda: _monitoring(domain="loans.example.org", probe_path="/readyz/", probe_status=204))

    assert engine.made["monitoring-certificate-test"].inputs == {
        "webTestName": "certificate",
        "syntheticMonitorId": "certificate",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "kind": "standard",
        "webTestKind": "standard",
        "enabled": True,
        "retryEnabled": True,
        "frequency": 900,
        "timeout": 30,
        "locations": [
            {"location": "emea-nl-ams-azr"},
            {"location": "emea-gb-db3-azr"},
            {"location": "us-va-ash-azr"},
        ],
        "request": {"requestUrl": "https://loans.example.org/readyz/", "httpVerb": "GET"},
        "validationRules": {
            "expectedHttpStatusCode": 204,
            "sSLCheck": True,
            "sSLCertRemainingLifetimeCheck": 30,
        },
        "tags": {**TAGS, "hidden-link:insights-id": "Resource"},
    }
    alert = engine.made["monitoring-certificate"].inputs
    assert alert["scopes"] == ["monitoring-certificate-test-id", "insights-id"]
    assert alert["criteria"] == {
        "odataType": "Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria",
        "componentId": "insights-id",
        "webTestId": "monitoring-certificate-test-id",
        "failedLocationCount": 2,
    }
    assert alert["actions"] == [{"actionGroupId": "monitoring-people-id"}]


def test_without_a_domain_the_certificate_is_azures(engine: StandInEngine) -> None:
    engine.build(_monitoring)

    assert not [name for name in engine.made if "certificate" in name]


def test_the_workspace_takes_no_key(engine: StandInEngine) -> None:
    logs = engine.build(_logs)

    assert engine.made["logs-workspace"].inputs == {
        "workspaceName": "log-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "sku": {"name": "PerGB2018"},
        "retentionInDays": 90,
        "features": {"disableLocalAuth": True, "enableLogAccessUsingOnlyResourcePermissions": True},
        "publicNetworkAccessForIngestion": "Enabled",
        "publicNetworkAccessForQuery": "Enabled",
        "tags": TAGS,
    }
    assert engine.value(logs.workspace_customer_id) == "44444444-4444-4444-4444-444444444444"
    assert engine.made["logs-diagnostics"].inputs["resourceUri"] == "logs-workspace-id"


def test_a_daily_cap_is_set_where_one_is_configured(engine: StandInEngine) -> None:
    engine.build(lambda: _logs(daily_cap_gb=2.5))

    assert engine.made["logs-workspace"].inputs["workspaceCapping"] == {"dailyQuotaGb": 2.5}


@pytest.mark.parametrize("guard", [True, False])
def test_the_logs_are_kept_where_the_place_is_guarded(engine: StandInEngine, guard: bool) -> None:
    engine.build(lambda: _logs(guard=guard))

    assert engine.made["logs-workspace"].guarded is guard


def test_application_insights_is_on_the_workspace_and_takes_no_key(engine: StandInEngine) -> None:
    logs = engine.build(_logs)

    made = engine.made["logs-insights"]
    assert made.type == "azure-native:applicationinsights:Component"
    assert made.inputs == {
        "resourceName": "appi-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "kind": "web",
        "applicationType": "web",
        "workspaceResourceId": "logs-workspace-id",
        "ingestionMode": "LogAnalytics",
        "disableLocalAuth": True,
        "disableIpMasking": False,
        "publicNetworkAccessForIngestion": "Enabled",
        "publicNetworkAccessForQuery": "Enabled",
        "tags": TAGS,
        # Defaults of the SDK.
        "flowType": "Bluefield",
        "requestSource": "rest",
    }
    assert engine.value(logs.created) == 1795521600


def test_who_is_told_comes_from_the_settings(engine: StandInEngine) -> None:
    engine.build(lambda: _monitoring(emails=("team@example.org", "night@example.org")))

    group = engine.made["monitoring-people"].inputs
    assert group == {
        "actionGroupName": "ag-assets-prod",
        "groupShortName": "relevo",  # with more than 12 characters Azure refuses it
        "resourceGroupName": "rg-assets-prod",
        "location": "Global",
        "enabled": True,
        "emailReceivers": [
            {"name": email, "emailAddress": email, "useCommonAlertSchema": True}
            for email in ("team@example.org", "night@example.org")
        ],
        "tags": TAGS,
    }


@pytest.mark.parametrize(
    ("name", "severity", "resource", "metric", "operator", "threshold", "window"),
    [
        ("errors-5xx", 1, "front-door-id", "Percentage5XX", "GreaterThan", 2, "PT5M"),
        ("surge-4xx", 2, "front-door-id", "Percentage4XX", "GreaterThan", 30, "PT15M"),
        ("unhealthy-origin", 1, "front-door-id", "OriginHealthPercentage", "LessThan", 50, "PT5M"),
        ("database-storage", 1, "database-id", "storage_percent", "GreaterThan", 80, "PT15M"),
        ("database-connections", 2, "database-id", "active_connections", "GreaterThan", 687, "PT5M"),
    ],
)
def test_a_metric_out_of_bounds_tells_the_people(
    engine: StandInEngine,
    name: str,
    severity: int,
    resource: str,
    metric: str,
    operator: str,
    threshold: float,
    window: str,
) -> None:
    engine.build(_monitoring)

    alert = engine.made[f"monitoring-{name}"]
    assert alert.type == "azure-native:monitor:MetricAlert"
    criteria = alert.inputs["criteria"]
    assert alert.inputs == {
        "ruleName": name,
        "description": alert.inputs["description"],
        "resourceGroupName": "rg-assets-prod",
        "location": "Global",
        "enabled": True,
        "severity": severity,
        "scopes": [resource],
        "evaluationFrequency": "PT5M",
        "windowSize": window,
        "criteria": criteria,
        "autoMitigate": True,
        "actions": [{"actionGroupId": "monitoring-people-id"}],
        "tags": TAGS,
    }
    assert criteria["odataType"] == "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria"
    assert criteria["allOf"][0] == {
        "criterionType": "StaticThresholdCriterion",
        "name": name,
        "metricName": metric,
        "operator": operator,
        "threshold": threshold,
        "timeAggregation": "Average",
        "dimensions": criteria["allOf"][0]["dimensions"],
    }


@pytest.mark.parametrize("name", ["errors-5xx", "surge-4xx"])
def test_errors_are_counted_at_the_public_address_alone(engine: StandInEngine, name: str) -> None:
    """Where an instance is verified, every release gets errors while it starts."""
    engine.build(_monitoring)

    for criterion in engine.made[f"monitoring-{name}"].inputs["criteria"]["allOf"]:
        assert criterion["dimensions"] == [
            {"name": "Endpoint", "operator": "Include", "values": ["public.z01.azurefd.net"]}
        ]


@pytest.mark.parametrize(("name", "least"), [("errors-5xx", 50), ("surge-4xx", 100)])
def test_a_share_of_a_handful_of_requests_wakes_nobody(engine: StandInEngine, name: str, least: int) -> None:
    engine.build(_monitoring)
    _, requests = engine.made[f"monitoring-{name}"].inputs["criteria"]["allOf"]
    assert (requests["metricName"], requests["operator"], requests["threshold"]) == (
        "RequestCount",
        "GreaterThanOrEqual",
        least,
    )
    assert requests["timeAggregation"] == "Total"


def test_each_origin_is_watched_by_itself(engine: StandInEngine) -> None:
    """Or one ill instance among eight healthy ones would not be noticed."""
    engine.build(_monitoring)

    (criterion,) = engine.made["monitoring-unhealthy-origin"].inputs["criteria"]["allOf"]
    assert criterion["dimensions"] == [{"name": "Origin", "operator": "Include", "values": ["*"]}]


@pytest.mark.parametrize(
    ("name", "severity", "window", "threshold", "words"),
    [
        ("exceptions", 2, "PT15M", 10, ("AppExceptions", "AppServiceConsoleLogs", "ContainerAppConsoleLogs")),
        (
            "failed-job",
            1,
            "PT15M",
            0,
            ("ContainerAppSystemLogs", "JobName", "DeadlineExceeded", "exit code '0'"),
        ),
        ("review", 2, "PT1H", 0, ("ContainerAppConsoleLogs", "reviewed", "not stable", "not measured")),
        (
            "expiry",
            2,
            "PT1H",
            0,
            ("AzureDiagnostics", "NearExpiryEventGridNotification", "ExpiredEventGridNotification"),
        ),
    ],
)
def test_a_line_in_the_log_tells_the_people(
    engine: StandInEngine, name: str, severity: int, window: str, threshold: int, words: tuple[str, ...]
) -> None:
    engine.build(_monitoring)

    rule = engine.made[f"monitoring-{name}"]
    assert rule.type == "azure-native:monitor:ScheduledQueryRule"
    (condition,) = rule.inputs["criteria"]["allOf"]
    assert rule.inputs == {
        "ruleName": name,
        "displayName": name,
        "description": rule.inputs["description"],
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "kind": "LogAlert",
        "enabled": True,
        "severity": severity,
        "scopes": ["workspace-id"],
        "evaluationFrequency": window,  # as long as the window: nothing is missed or told twice
        "windowSize": window,
        "criteria": {"allOf": [condition]},
        "autoMitigate": rule.inputs["autoMitigate"],
        "skipQueryValidation": True,  # a new workspace has no tables
        "actions": {"actionGroups": ["monitoring-people-id"]},
        "tags": TAGS,
    }
    assert condition == {
        "query": condition["query"],
        "timeAggregation": "Count",
        "operator": "gt",
        "threshold": threshold,
        "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1},
    }
    assert [word for word in words if word not in condition["query"]] == []
    # Without one table that is there, the query fails, and Azure disables the rule after a week.
    assert condition["query"].startswith("union isfuzzy=true (datatable(")


def test_what_is_logged_once_is_told_once_and_stays_open(engine: StandInEngine) -> None:
    """An expiry by Azure, a review by its job: a rule that resolves by itself would be quiet soon."""
    engine.build(_monitoring)

    assert engine.made["monitoring-expiry"].inputs["autoMitigate"] is False
    assert engine.made["monitoring-review"].inputs["autoMitigate"] is False
    assert engine.made["monitoring-failed-job"].inputs["autoMitigate"] is True


def test_the_page_shows_releases_and_errors_together(engine: StandInEngine) -> None:
    engine.build(_monitoring)

    made = engine.made["monitoring-workbook"]
    assert made.type == "azure-native:applicationinsights:Workbook"
    name, text = made.inputs["resourceName"], made.inputs["serializedData"]
    assert str(uuid.UUID(name)) == name
    assert made.inputs == {
        "resourceName": name,
        "displayName": "Releases of assets (prod)",
        "category": "workbook",
        "kind": "shared",
        "resourceGroupName": "rg-assets-prod",
        "location": "westeurope",
        "sourceId": "workspace-id",
        "serializedData": text,
        "tags": TAGS,
    }
    page = json.loads(text)
    assert page == workbook("Releases of assets (prod)")
    queries = [item["content"]["query"] for item in page["items"] if item["type"] == 3]
    assert any("Started.release" in query for query in queries)
    assert any("ScStatus >= 500" in query and "Started" in query for query in queries)


@pytest.mark.parametrize(("minutes", "written"), [(5, "PT5M"), (15, "PT15M"), (60, "PT1H"), (1440, "PT24H")])
def test_a_duration_is_written_as_arm_reads_it(minutes: int, written: str) -> None:
    assert duration(minutes) == written


def test_a_log_rule_runs_as_often_as_azure_takes() -> None:
    """ "Create or edit a log search alert rule": these are the frequencies."""
    assert {rule.minutes for rule in LOG_RULES} <= {1, 5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 1440}
