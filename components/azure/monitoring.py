"""What is kept of what happens, who is told, and the page on which releases and errors are seen together."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import pulumi
from pulumi_azure_native import applicationinsights, monitor, operationalinsights

from components.azure.diagnostics import diagnostics
from components.azure.guard import guarded
from components.azure.place import Place

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://relevo.dev/workbook")

# -- logs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LogsArgs:
    """`daily_cap_gb`: what comes after it on a day is lost; None for no cap."""

    place: Place
    retention_days: int
    daily_cap_gb: float | None = None


class Logs(pulumi.ComponentResource):
    """The workspace of the stack, to which everything sends, and Application Insights on top of it.

    Neither takes a key: who sends or reads is an identity. Both are reached from outside the network, since
    the runner reads the log; Azure's own services send to it by their own ways.
    """

    def __init__(self, name: str, args: LogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Logs", name, None, opts)
        place = args.place
        workspace = operationalinsights.Workspace(
            f"{name}-workspace",
            workspace_name=place.names.of("log"),
            resource_group_name=place.resource_group,
            location=place.location,
            sku=operationalinsights.WorkspaceSkuArgs(
                name=operationalinsights.WorkspaceSkuNameEnum.PER_GB2018
            ),
            retention_in_days=args.retention_days,
            workspace_capping=(
                None
                if args.daily_cap_gb is None
                else operationalinsights.WorkspaceCappingArgs(daily_quota_gb=args.daily_cap_gb)
            ),
            features=operationalinsights.WorkspaceFeaturesArgs(
                disable_local_auth=True, enable_log_access_using_only_resource_permissions=True
            ),
            public_network_access_for_ingestion="Enabled",
            public_network_access_for_query="Enabled",
            tags=place.tags,
            opts=guarded(self, place),
        )
        diagnostics(self, f"{name}-diagnostics", workspace.id, workspace.id)
        insights = applicationinsights.Component(
            f"{name}-insights",
            resource_name_=place.names.of("appi"),
            resource_group_name=place.resource_group,
            location=place.location,
            kind="web",
            application_type=applicationinsights.ApplicationType.WEB,
            workspace_resource_id=workspace.id,
            ingestion_mode=applicationinsights.IngestionMode.LOG_ANALYTICS,
            disable_local_auth=True,
            disable_ip_masking=False,
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.workspace_id = workspace.id
        self.workspace_customer_id = workspace.customer_id
        self.insights_id = insights.id
        self.connection_string = pulumi.Output.secret(insights.connection_string)
        # Seconds since 1970, for the expiry of the connection string in the vault.
        self.created = insights.creation_date.apply(
            lambda date: int(datetime.fromisoformat(date).timestamp())
        )
        self.register_outputs(
            {"workspace_id": self.workspace_id, "workspace_customer_id": self.workspace_customer_id}
        )


# -- alerts ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MetricRule:
    """Tells when a metric of one resource is beyond `threshold`, on average over `minutes`."""

    name: str
    says: str
    severity: int  # 0 (critical) to 4
    metric: str
    threshold: float
    minutes: int
    below: bool = False
    dimension: Literal["Origin", "Endpoint"] | None = None  # each origin by itself; the public endpoint only
    least_requests: int | None = None  # within `minutes`: of fewer, no share says anything


@dataclass(frozen=True, kw_only=True)
class LogRule:
    """Tells when `query` gives more than `threshold` rows within `minutes`."""

    name: str
    says: str
    severity: int
    query: str
    minutes: int
    threshold: int = 0
    resolves: bool = True  # by itself, once the query gives nothing any more


# "Supported metrics for Microsoft.Cdn/profiles". What users get is what the public endpoint answers: those
# for the verification answer with errors in every release, while an instance starts.
FRONT_DOOR = (
    MetricRule(
        name="errors-5xx",
        says="More than 2 % of all requests are answered with an error of the server",
        severity=1,
        metric="Percentage5XX",
        threshold=2,
        minutes=5,
        dimension="Endpoint",
        least_requests=50,
    ),
    MetricRule(
        name="surge-4xx",
        says="More than 30 % of all requests are refused",
        severity=2,
        metric="Percentage4XX",
        threshold=30,
        minutes=15,
        dimension="Endpoint",
        least_requests=100,
    ),
    MetricRule(
        name="unhealthy-origin",
        says="An instance does not answer Front Door's probes",
        severity=1,
        metric="OriginHealthPercentage",
        threshold=50,
        minutes=5,
        below=True,
        dimension="Origin",
    ),
)

# A table that does not exist yet gives nothing (isfuzzy), but a query without any table fails ("union
# operator"), and Azure disables a rule that fails for a week. So each begins with an empty one of its own.
LOG_RULES = (
    # Of telemetry, where a project sends some, and of what it prints, also within a line of JSON.
    LogRule(
        name="exceptions",
        says="The project raises exceptions that it does not handle",
        severity=2,
        query="""
union isfuzzy=true (datatable(TimeGenerated: datetime)[]),
  (AppExceptions | project TimeGenerated),
  (AppServiceConsoleLogs | where ResultDescription contains "Traceback (most recent call last)"
    | project TimeGenerated),
  (ContainerAppConsoleLogs | where Log contains "Traceback (most recent call last)" | project TimeGenerated)
""",
        minutes=15,
        threshold=10,
    ),
    LogRule(
        name="failed-job",
        says="A job in the network failed or was ended at its limit",
        severity=1,
        query="""
union isfuzzy=true (datatable(TimeGenerated: datetime, JobName: string, Reason: string, Log: string)[]),
  ContainerAppSystemLogs
| where isnotempty(JobName)
| where Reason in ("BackoffLimitExceeded", "DeadlineExceeded")
    or (Reason == "ContainerTerminated" and Log !has "exit code '0'")
""",
        minutes=15,
    ),
    # The job prints a line for each review that it has done (components/release/tasks/review.py).
    LogRule(
        name="review",
        says="A day after a release its volumes are not what they were, or could not be measured",
        severity=2,
        query="""
union isfuzzy=true (datatable(TimeGenerated: datetime, Log: string)[]), ContainerAppConsoleLogs
| where Log has "relevo" and Log has "reviewed"
| extend Review = parse_json(Log)
| where Review.relevo == "reviewed" and tostring(Review.verdict) in ("not stable", "not measured")
""",
        minutes=60,
        resolves=False,
    ),
    LogRule(
        name="expiry",
        says="A secret, key or certificate of the vault expires within 30 days, or has expired",
        severity=2,
        # "Azure Key Vault logging": these events are logged whether or not somebody subscribes to them.
        query="""
union isfuzzy=true (datatable(TimeGenerated: datetime, OperationName: string)[]),
  (AzureDiagnostics | where ResourceProvider == "MICROSOFT.KEYVAULT" | project TimeGenerated, OperationName),
  (AZKVAuditLogs | project TimeGenerated, OperationName)
| where OperationName endswith "NearExpiryEventGridNotification"
    or OperationName endswith "ExpiredEventGridNotification"
""",
        minutes=60,
        resolves=False,
    ),
)


CERTIFICATE_DAYS = 30
# West Europe, North Europe, East US by their population tags ("Application Insights availability tests").
TEST_LOCATIONS = ("emea-nl-ams-azr", "emea-gb-db3-azr", "us-va-ash-azr")


def database_rules(max_connections: int) -> tuple[MetricRule, ...]:
    """ "Monitor metrics on Azure Database for PostgreSQL flexible server"."""
    return (
        MetricRule(
            name="database-storage",
            says="The database's storage is 80 % full",
            severity=1,
            metric="storage_percent",
            threshold=80,
            minutes=15,
        ),
        MetricRule(
            name="database-connections",
            says="More than 80 % of the database's connections are in use",
            severity=2,
            metric="active_connections",
            threshold=int(max_connections * 0.8),
            minutes=5,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """`emails`: who is told. `max_connections`: of the database. `endpoint_host`: Front Door's public one.

    `domain`: one of the stack's own, whose certificate is watched by asking it for `probe_path`.
    """

    place: Place
    workspace_id: pulumi.Input[str]
    front_door_id: pulumi.Input[str]  # resource id of the profile
    endpoint_host: pulumi.Input[str]
    database_id: pulumi.Input[str]
    max_connections: int
    emails: Sequence[str]
    insights_id: pulumi.Input[str]
    domain: str | None = None
    probe_path: str = "/"
    probe_status: int = 200


class Monitoring(pulumi.ComponentResource):
    """Rules on what users notice and on what will soon hurt; each tells the same people."""

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Monitoring", name, None, opts)
        self._args = args
        place = args.place
        group = monitor.ActionGroup(
            f"{name}-people",
            action_group_name=place.names.of("ag"),
            group_short_name="relevo",
            resource_group_name=place.resource_group,
            location="Global",
            enabled=True,
            email_receivers=[
                monitor.MicrosoftCommonEmailReceiverArgs(
                    name=email, email_address=email, use_common_alert_schema=True
                )
                for email in args.emails
            ],
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.action_group_id = group.id
        for rule in FRONT_DOOR:
            self._metric_alert(rule, args.front_door_id)
        for rule in database_rules(args.max_connections):
            self._metric_alert(rule, args.database_id)
        for rule in LOG_RULES:
            self._log_alert(rule)
        if args.domain is not None:
            self._certificate(args.domain)
        self._workbook()
        self.register_outputs({"action_group_id": self.action_group_id})

    def _metric_alert(self, rule: MetricRule, resource_id: pulumi.Input[str]) -> None:
        place = self._args.place
        monitor.MetricAlert(
            f"{self.pulumi_resource_name}-{rule.name}",
            rule_name=rule.name,
            description=rule.says,
            resource_group_name=place.resource_group,
            location="Global",
            enabled=True,
            severity=rule.severity,
            scopes=[resource_id],
            evaluation_frequency=duration(min(rule.minutes, 5)),
            window_size=duration(rule.minutes),
            criteria=monitor.MetricAlertSingleResourceMultipleMetricCriteriaArgs(
                odata_type="Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                all_of=[monitor.MetricCriteriaArgs(**criterion) for criterion in self._criteria(rule)],
            ),
            auto_mitigate=True,
            actions=[monitor.MetricAlertActionArgs(action_group_id=self.action_group_id)],
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _criteria(self, rule: MetricRule) -> Iterator[dict[str, Any]]:
        """All must be met; with more than one, each may name one value of a dimension ("Metric alerts")."""
        watched: dict[str, list[pulumi.Input[str]]] = {
            "Origin": ["*"],
            # By Front Door's own name, also of requests to a domain of one's own: as in its access log,
            # "endpoint" is the former and "hostName" what the client asked ("Monitor metrics and logs").
            "Endpoint": [self._args.endpoint_host],
        }
        common = {
            "criterion_type": "StaticThresholdCriterion",
            "dimensions": [
                monitor.MetricDimensionArgs(
                    name=rule.dimension, operator="Include", values=watched[rule.dimension]
                )
            ]
            if rule.dimension
            else [],
        }
        yield {
            **common,
            "name": rule.name,
            "metric_name": rule.metric,
            "operator": monitor.Operator.LESS_THAN if rule.below else monitor.Operator.GREATER_THAN,
            "threshold": rule.threshold,
            "time_aggregation": monitor.AggregationTypeEnum.AVERAGE,
        }
        if rule.least_requests is not None:
            yield {
                **common,
                "name": "requests",
                "metric_name": "RequestCount",
                "operator": monitor.Operator.GREATER_THAN_OR_EQUAL,
                "threshold": rule.least_requests,
                "time_aggregation": monitor.AggregationTypeEnum.TOTAL,
            }

    def _certificate(self, domain: str) -> None:
        """Of the domain, which Front Door does not always renew by itself ("Domains in Azure Front Door").

        A standard test, from three places, of which two must agree.
        """
        args, place, child = self._args, self._args.place, pulumi.ResourceOptions(parent=self)
        test = applicationinsights.WebTest(
            f"{self.pulumi_resource_name}-certificate-test",
            web_test_name="certificate",
            synthetic_monitor_id="certificate",
            resource_group_name=place.resource_group,
            location=place.location,
            kind=applicationinsights.WebTestKind.STANDARD,
            web_test_kind=applicationinsights.WebTestKind.STANDARD,
            enabled=True,
            retry_enabled=True,
            frequency=900,
            timeout=30,
            locations=[applicationinsights.WebTestGeolocationArgs(location=each) for each in TEST_LOCATIONS],
            request=applicationinsights.WebTestPropertiesRequestArgs(
                request_url=f"https://{domain}{args.probe_path}", http_verb="GET"
            ),
            validation_rules=applicationinsights.WebTestPropertiesValidationRulesArgs(
                expected_http_status_code=args.probe_status,
                s_sl_check=True,
                s_sl_cert_remaining_lifetime_check=CERTIFICATE_DAYS,
            ),
            # By which Azure finds the test's Application Insights.
            tags=pulumi.Output.from_input(args.insights_id).apply(
                lambda insights: {**place.tags, f"hidden-link:{insights}": "Resource"}
            ),
            opts=child,
        )
        monitor.MetricAlert(
            f"{self.pulumi_resource_name}-certificate",
            rule_name="certificate",
            description=f"The certificate of {domain} ends within {CERTIFICATE_DAYS} days or is not valid",
            resource_group_name=place.resource_group,
            location="Global",
            enabled=True,
            severity=1,
            scopes=[test.id, args.insights_id],
            evaluation_frequency=duration(15),
            window_size=duration(60),
            criteria=monitor.WebtestLocationAvailabilityCriteriaArgs(
                odata_type="Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria",
                component_id=args.insights_id,
                web_test_id=test.id,
                failed_location_count=2,
            ),
            auto_mitigate=True,
            actions=[monitor.MetricAlertActionArgs(action_group_id=self.action_group_id)],
            tags=place.tags,
            opts=child,
        )

    def _log_alert(self, rule: LogRule) -> None:
        place = self._args.place
        monitor.ScheduledQueryRule(
            f"{self.pulumi_resource_name}-{rule.name}",
            rule_name=rule.name,
            display_name=rule.name,
            description=rule.says,
            resource_group_name=place.resource_group,
            location=place.location,
            kind=monitor.Kind.LOG_ALERT,
            enabled=True,
            severity=rule.severity,
            scopes=[self._args.workspace_id],
            evaluation_frequency=duration(rule.minutes),
            window_size=duration(rule.minutes),
            criteria=monitor.ScheduledQueryRuleCriteriaArgs(
                all_of=[
                    monitor.ConditionArgs(
                        query=rule.query.strip(),
                        time_aggregation=monitor.TimeAggregation.COUNT,
                        operator=monitor.ConditionOperator.GREATER_THAN,
                        threshold=rule.threshold,
                        failing_periods=monitor.ConditionFailingPeriodsArgs(
                            number_of_evaluation_periods=1, min_failing_periods_to_alert=1
                        ),
                    )
                ]
            ),
            auto_mitigate=rule.resolves,
            # A new workspace has none of the tables until the first line comes.
            skip_query_validation=True,
            actions=monitor.ActionsArgs(action_groups=[self.action_group_id]),
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _workbook(self) -> None:
        place = self._args.place
        title = f"Releases of {place.names.workload} ({place.names.stack})"
        applicationinsights.Workbook(
            f"{self.pulumi_resource_name}-workbook",
            resource_name_=str(uuid.uuid5(NAMESPACE, place.names.of("rg"))),  # Azure wants a UUID
            display_name=title,
            category="workbook",
            kind=applicationinsights.WorkbookSharedTypeKind.SHARED,
            resource_group_name=place.resource_group,
            location=place.location,
            source_id=self._args.workspace_id,
            serialized_data=json.dumps(workbook(title), sort_keys=True),
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )


# -- the page --------------------------------------------------------------------------------------------

# Each process says what it is when it starts (components/azure/start.py): that marks the release.
RELEASES = """
union isfuzzy=true (datatable(TimeGenerated: datetime, ResultDescription: string)[]), AppServiceConsoleLogs
| where ResultDescription has "relevo" and ResultDescription has "started"
| extend Started = parse_json(ResultDescription)
| where Started.relevo == "started"
"""
PAGE = (
    (
        "Releases, by the first process that started in each",
        "table",
        RELEASES
        + """| summarize First = min(TimeGenerated), Workers = dcount(tostring(Started.worker))
    by Release = tostring(Started.release), Version = tostring(Started.version)
| order by First desc""",
    ),
    (
        "Errors of the server by site; a bar where a release starts",
        "timechart",
        """let Starts = """
        + RELEASES.strip()
        + """
| summarize Value = dcount(tostring(Started.worker)) by bin(TimeGenerated, 5m),
    Series = strcat("started ", tostring(Started.version));
union isfuzzy=true
  (AppServiceHTTPLogs | where ScStatus >= 500
    | summarize Value = count() by bin(TimeGenerated, 5m), Series = CsHost),
  Starts""",
    ),
    (
        "Slowest of 20 requests, by site (ms)",
        "timechart",
        """
union isfuzzy=true (datatable(TimeGenerated: datetime, TimeTaken: int, CsHost: string)[]), AppServiceHTTPLogs
| summarize percentile(TimeTaken, 95) by bin(TimeGenerated, 5m), CsHost""",
    ),
)


def workbook(title: str) -> dict[str, Any]:
    """The page as Azure's workbooks are written ("Notebook/1.0")."""
    items: list[dict[str, Any]] = [{"type": 1, "name": "title", "content": {"json": f"# {title}"}}]
    for number, (heading, visualization, query) in enumerate(PAGE, start=1):
        items.append(
            {
                "type": 3,
                "name": f"query-{number}",
                "content": {
                    "version": "KqlItem/1.0",
                    "title": heading,
                    "query": query.strip(),
                    "queryType": 0,
                    "resourceType": "microsoft.operationalinsights/workspaces",
                    "timeContext": {"durationMs": int(timedelta(days=1).total_seconds() * 1000)},
                    "visualization": visualization,
                    "size": 0,
                },
            }
        )
    return {"version": "Notebook/1.0", "items": items, "isLocked": False}


def duration(minutes: int) -> str:
    """As ARM writes it (ISO 8601): PT15M, PT1H."""
    return f"PT{minutes // 60}H" if minutes % 60 == 0 else f"PT{minutes}M"
