"""What a stack on Azure costs a month, estimated from its configuration and a dated table of list prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from components.azure import sizing
from relevo import prices
from relevo.errors import RelevoError
from stacks.azure_rules import plans
from stacks.azure_settings import AzureSection
from stacks.settings import Settings

# Of every stack; a test compares them with what the components make.
ENDPOINTS, ZONES = 4, 5
METRIC_ALERTS, LOG_ALERTS = 5, 4


@dataclass(frozen=True, kw_only=True)
class Use:
    """What the configuration does not say: assumed for a small site, so that it is counted at all."""

    million_requests: float = 3
    traffic_gb: float = 50
    logs_gb: float = 15
    blobs_gb: float = 50
    job_hours: float = 34  # of which the review, hourly for some seconds, has four


@dataclass(frozen=True, kw_only=True)
class Line:
    """`monthly`: in `prices.CURRENCY`; None where the table has no price."""

    resource: str
    what: str
    monthly: float | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    stack: str
    location: str
    lines: tuple[Line, ...]

    @property
    def monthly(self) -> float:
        """Of all that has a price."""
        return sum(line.monthly for line in self.lines if line.monthly is not None)

    @property
    def unknown(self) -> tuple[str, ...]:
        return tuple(line.resource for line in self.lines if line.monthly is None)

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "location": self.location,
            "currency": prices.CURRENCY,
            "monthly": round(self.monthly, 2),
            "without_price": list(self.unknown),
            "prices": {"source": prices.SOURCE, "as_of": prices.AS_OF, "region": prices.REGION},
            "lines": [asdict(line) for line in self.lines],
        }


def estimate(stack: str, settings: Settings, use: Use | None = None) -> Estimate:
    """Raises `RelevoError` for a stack that is not on Azure."""
    if settings.azure is None:
        raise RelevoError(
            f"stack {stack} is of target {settings.target}, but only stacks on Azure cost something; "
            "name another by --stack."
        )
    lines = tuple(_lines(settings, settings.azure, use or Use()))
    return Estimate(stack=stack, location=settings.azure.location, lines=lines)


def table(found: Estimate) -> list[str]:
    width = max(len(line.resource) for line in found.lines)
    wide = max(len(line.what) for line in found.lines)
    rows = [
        f"{line.resource:{width}}  {line.what:{wide}}  "
        f"{'no price' if line.monthly is None else f'{line.monthly:8.2f}':>8}"
        for line in found.lines
    ]
    total = f"{'together':{width}}  {f'{prices.CURRENCY} a month':{wide}}  {found.monthly:8.2f}"
    missing = (
        [f"Not counted, since the table has no price for it: {', '.join(found.unknown)}."]
        if found.unknown
        else []
    )
    return [
        *rows,
        total,
        "",
        f"An estimate: approximate list prices of {prices.AS_OF} ({prices.SOURCE}, {prices.REGION}, "
        "pay-as-you-go), to be checked;",
        f"{found.location} may differ by a third. What the configuration does not say is a small site's.",
        *missing,
    ]


def _lines(settings: Settings, azure: AzureSection, use: Use) -> Iterator[Line]:
    app, database, cache, tier = azure.app, azure.database, azure.cache, azure.front_door.tier
    workers = plans(settings, azure) * app.workers_per_plan
    yield Line(
        resource="app service",
        what=f"{workers} x {app.sku}",
        monthly=_times(prices.PLANS.get(app.sku), workers),
    )
    servers = 1 if database.high_availability == "Disabled" else 2
    yield Line(
        resource="postgresql",
        what=f"{servers} x {database.sku}" + (", one as standby" if servers == 2 else ""),
        monthly=_times(_server(database.sku), servers),
    )
    yield Line(
        resource="postgresql storage",
        what=f"{servers} x {database.storage_gb} GiB",
        monthly=servers * database.storage_gb * prices.DATABASE_GIB,
    )
    if database.geo_backup:
        yield Line(
            resource="postgresql backups",
            what=f"{database.storage_gb} GiB in two regions",
            monthly=database.storage_gb * prices.GEO_BACKUP_GIB,
        )
    nodes = 2 if cache.replicated else 1
    yield Line(
        resource="managed redis",
        what=f"{nodes} x {cache.sku}",
        monthly=_times(prices.CACHE_NODE.get(cache.sku), nodes),
    )
    yield Line(
        resource="front door",
        what=f"{tier}, {use.million_requests:g} million requests, {use.traffic_gb:g} GB",
        monthly=prices.FRONT_DOOR[tier]
        + use.million_requests * prices.FRONT_DOOR_MILLION_REQUESTS[tier]
        + use.traffic_gb * prices.FRONT_DOOR_GB,
    )
    yield Line(resource="registry", what="Premium", monthly=prices.REGISTRY_PREMIUM)
    yield Line(
        resource="network",
        what=f"{ENDPOINTS} private endpoints, {ZONES} private zones",
        monthly=ENDPOINTS * prices.PRIVATE_ENDPOINT + ZONES * prices.PRIVATE_ZONE,
    )
    if azure.second_location is not None:
        yield Line(resource="peering", what="traffic between the two regions", monthly=None)
    cap = azure.monitoring.daily_cap_gb
    logs = use.logs_gb if cap is None else min(use.logs_gb, 30 * cap)
    months = max(0.0, (azure.monitoring.retention_days - 31) / 30)
    yield Line(
        resource="logs",
        what=f"{logs:g} GB, kept {azure.monitoring.retention_days} days",
        monthly=logs * (prices.LOGS_GB + months * prices.LOGS_KEPT_GB_MONTH),
    )
    yield Line(
        resource="alerts",
        what=f"{METRIC_ALERTS} of metrics, {LOG_ALERTS} of logs",
        monthly=METRIC_ALERTS * prices.METRIC_ALERT + LOG_ALERTS * prices.LOG_ALERT,
    )
    yield Line(
        resource="jobs",
        what=f"{use.job_hours:g} h of {azure.jobs.cores:g} cores",
        monthly=use.job_hours * azure.jobs.cores * prices.CONTAINER_CORE_HOUR,
    )
    if settings.app.processes:
        cores = len(settings.app.processes) * app.process_cores
        yield Line(
            resource="processes",
            what=f"{cores:g} cores, always on",
            monthly=prices.HOURS * cores * prices.CONTAINER_CORE_HOUR,
        )
    yield Line(
        resource="storage",
        what=f"{use.blobs_gb:g} GB {azure.storage.sku}",
        monthly=use.blobs_gb * prices.BLOB_GB[azure.storage.sku],
    )


def _server(sku: str) -> float | None:
    size = sizing.server_size(sku)
    if size.tier == "Burstable":
        return prices.BURSTABLE.get(sku)
    return size.cores * prices.DATABASE_CORE[size.tier]


def _times(price: float | None, count: int) -> float | None:
    return None if price is None else price * count
