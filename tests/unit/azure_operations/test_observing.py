"""What visitors met and what the application raised, as Front Door and the workspace tell it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from components.azure import consoles, observing
from components.azure.marker import Started
from components.azure.observing import LAG, Line
from components.azure.operations import AzureOperations
from components.target import LATENCY_BOUNDS, TargetError
from tests.azure.arm_stand_in import ArmStandIn

# As the pages of Azure Monitor's reference list them ("Tables": AppServiceConsoleLogs,
# ContainerAppConsoleLogs); of AzureDiagnostics, the common columns and those that the properties of Front
# Door's access log become: its name, "_s" for text and "_d" for numbers ("Monitor Azure Front Door", access
# log; "AzureDiagnostics").
DOCUMENTED = {
    "AppServiceConsoleLogs": {
        *("_BilledSize", "Category", "ContainerId", "Host", "_IsBillable", "Level", "OperationName"),
        *("_ResourceId", "ResultDescription", "SourceSystem", "_SubscriptionId", "TenantId"),
        *("TimeGenerated", "Type"),
    },
    "ContainerAppConsoleLogs": {
        *("_BilledSize", "ContainerAppName", "ContainerGroupId", "ContainerGroupName", "ContainerId"),
        *("ContainerImage", "ContainerName", "EnvironmentName", "_IsBillable", "JobName", "Location", "Log"),
        *("OperationName", "_ResourceId", "RevisionName", "SourceSystem", "Stream", "_SubscriptionId"),
        *("TenantId", "TimeGenerated", "Type"),
    },
    "AzureDiagnostics": {
        *("TimeGenerated", "Category", "ResourceProvider", "ResourceType", "_ResourceId"),
        *("endpoint_s", "hostName_s", "httpStatusCode_s", "httpStatusCode_d", "timeTaken_s", "timeTaken_d"),
    },
}
OURS = {
    "Source",
    "Line",
    "Seconds",
    "Class",
    "Requests",
    "Arrived",
    "Program",
    "Number",
}  # columns that the queries make


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(second=30, microsecond=0)


@pytest.fixture
def since(now: datetime) -> datetime:
    return now.replace(second=0) - timedelta(minutes=20)


def test_requests_are_those_of_the_public_endpoint_by_status(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    """Eleven statuses: Azure answers ten series unless more are asked for. A timeout of the site has 0."""
    statuses = ("200", "201", "204", "301", "302", "304", "403", "404", "499", "500", "0")
    azure.statuses = {status: {since: 10.0, since + timedelta(minutes=1): 1.0} for status in statuses}

    observed = operations.observe(since, now)

    assert (observed.requests, observed.errors_4xx, observed.errors_5xx) == (121, 33, 22)
    asked = parse_qs(urlsplit(azure.asked("metricnames=RequestCount")[0]).query)
    assert asked["$filter"] == ["Endpoint eq 'fde-assets-test.z01.azurefd.net' and HttpStatus eq '*'"]
    assert asked["interval"] == ["PT1M"]


def test_only_whole_minutes_that_are_surely_known_are_told(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    """Or the newest minutes would seem to be without errors, and without requests."""
    azure.statuses = {
        "200": {since + timedelta(minutes=minute): 1.0 for minute in range(-1, 21)},
    }

    observed = operations.observe(since - timedelta(seconds=20), now)

    known = now.replace(second=0) - LAG
    assert datetime.fromisoformat(observed.since) == since
    assert known - timedelta(minutes=1) <= datetime.fromisoformat(observed.until) <= known
    assert observed.requests == 15
    goes_on = operations.observe(datetime.fromisoformat(observed.until), now)
    assert goes_on.until == goes_on.since == observed.until
    assert goes_on.requests == 0
    assert len(goes_on.latencies) == len(LATENCY_BOUNDS) + 1


def test_latencies_are_counted_by_class(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    taken = (0.004, 0.005, 0.006, 0.3, 9.9, 10.5, 60.0)
    azure.access_log = [(since + timedelta(seconds=1), seconds) for seconds in taken]
    azure.access_log.append((since - timedelta(seconds=1), 0.1))

    counted = operations.observe(since, now).latencies

    found = {bound: count for bound, count in zip((*LATENCY_BOUNDS, None), counted, strict=True) if count}
    assert found == {5: 2, 10: 1, 300: 1, 10000: 1, None: 2}


def test_a_metric_that_lacks_what_the_access_log_has_is_a_fault(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    """As where Front Door names the endpoint in another way. Of a few it may be the minute that differs."""
    azure.access_log = [(since + timedelta(minutes=minute), 0.1) for minute in range(10) for _ in range(3)]
    for minute in range(6):
        begin = since + timedelta(minutes=minute)
        assert operations.observe(begin, begin + timedelta(minutes=1)).requests == 0
    with pytest.raises(TargetError, match=r"access log has 21 requests .* RequestCount has none"):
        operations.observe(since + timedelta(minutes=6), since + timedelta(minutes=7))
    azure.statuses = {"200": {since + timedelta(minutes=6): 1.0}}
    assert operations.observe(since + timedelta(minutes=6), now).requests == 1


def test_exceptions_are_counted_by_kind_of_each_console_by_itself(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    """The lines of two machines come between each other; a line of JSON has its traceback in itself."""
    lines = (
        "Traceback (most recent call last):",
        '  File "/app/loans/views.py", line 7, in create',
        "    raise ValueError(name)",
        "ValueError: Ada",
    )
    for number, line in enumerate(lines):
        for machine in ("site lw0", "site lw1"):
            azure.consoles.append((since + timedelta(milliseconds=number), machine, line))
    said = {"level": "ERROR", "message": "Internal Server Error", "exc_info": "\n".join(lines)}
    azure.consoles.append((since + timedelta(minutes=1), "site lw0", json.dumps(said)))

    (raised,) = operations.observe(since, now).exceptions

    assert (raised.title, raised.count) == ("ValueError in loans/views.py, create", 3)


def test_a_worker_that_starts_again_unasked_is_a_restart(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    """The first start of each worker after a roll is none, also where the span begins in between."""
    asked = f"{since - timedelta(minutes=3):%Y-%m-%dT%H:%M:%S}Z-aa"
    azure.consoles = [
        (at, "site lw0", _started("w1", asked))
        for at in (since - timedelta(minutes=2), since + timedelta(minutes=4))
    ]
    azure.consoles.append((since + timedelta(minutes=5), "site lw1", _started("w2", asked)))

    assert operations.observe(since, now).restarts == 1


def test_a_worker_that_dies_while_its_process_goes_on_is_a_restart(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    """One that ends since its process was told to is none."""
    died = json.dumps({"logger": "gunicorn.error", "message": "Worker (pid:7) was sent SIGKILL! Perhaps …"})
    stops = json.dumps({"logger": "gunicorn.error", "message": "Handling signal: term"})
    said = ((1, "lw0", died), (1, "lw1", stops), (2, "lw1", died))
    azure.consoles = [(since + timedelta(minutes=minute), machine, line) for minute, machine, line in said]

    assert operations.observe(since, now).restarts == 1


def test_a_worker_that_appears_long_after_the_roll_is_a_restart(since: datetime) -> None:
    asked = f"{since - timedelta(days=2):%Y-%m-%dT%H:%M:%S}Z-aa"
    assert observing.restarts([Line(since, "site lw0", _started("w9", asked))], since) == 1


def test_a_workspace_that_answers_in_part_is_a_fault(
    operations: AzureOperations, azure: ArmStandIn, since: datetime, now: datetime
) -> None:
    """What it leaves out would seem not to have happened."""
    azure.partial = "The query was ended at its limit."
    with pytest.raises(TargetError, match="answers in part only"):
        operations.observe(since, now)


def test_logs_show_the_end_of_each_program_and_then_what_arrives(
    operations: AzureOperations, azure: ArmStandIn, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives late is shown all the same, and nothing twice."""
    monkeypatch.setattr(consoles, "PAUSE", 0.01)
    early = now - timedelta(hours=1)
    said = {"app-assets-test-1": "one", "app-assets-test-2": "two", "ca-assets-test-worker": "three"}
    azure.consoles = [
        (early + timedelta(seconds=n), source, f"{line} {n}")
        for source, line in said.items()
        for n in range(3)
    ]
    shown = operations.consoles.tail(("instance-1", "worker"), 2)
    assert sorted(shown) == [
        ("instance-1", "one 1"),
        ("instance-1", "one 2"),
        ("worker", "three 1"),
        ("worker", "three 2"),
    ]
    azure.consoles.append((early + timedelta(seconds=10), "app-assets-test-1", "late"))
    assert next(operations.consoles.follow(("instance-1", "worker"))) == ("instance-1", "late")


@pytest.mark.parametrize("query", [observing.LATENCIES, observing.CONSOLES, consoles.QUERY])
def test_a_query_uses_columns_that_the_documentation_has(query: str) -> None:
    names = set(re.findall(r"\b_?[A-Za-z]+_[sd]\b|\b_?[A-Z][A-Za-z]+\b", _without_text(query)))
    tables = names & DOCUMENTED.keys()
    assert tables
    assert names - tables - OURS <= set.union(*(DOCUMENTED[table] for table in tables))


def _without_text(query: str) -> str:
    """Text stays where it names a column."""
    return re.sub(r'"[^"]*"', "", re.sub(r'column_ifexists\("(\w+)"', r"\1(", query))


def _started(worker: str, start: str) -> str:
    return Started(
        release="r1", image="app@sha256:1", version="v1", instance="instance-1", worker=worker, start=start
    ).to_line()
