"""What Azure's sizes have and allow, as tables of its documentation, and what follows for the processes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.capacity import Capacity, capacity
from components.target import TargetError

FrontDoorTier = Literal["Standard", "Premium"]


@dataclass(frozen=True, kw_only=True)
class PlanSize:
    """One worker of an App Service plan.

    Cores and memory: "App Service pricing" (Linux). Workers: "Azure subscription and service limits,
    quotas, and constraints" (App Service limits). Zones: "Reliability in Azure App Service".
    """

    tier: str  # as ARM spells it
    cores: int
    memory_gb: float
    workers: int  # at most
    zones: bool  # may be zone-redundant


def _plan(tier: str, workers: int, zones: bool, **sizes: tuple[int, float]) -> dict[str, PlanSize]:
    return {
        name: PlanSize(tier=tier, cores=cores, memory_gb=memory, workers=workers, zones=zones)
        for name, (cores, memory) in sizes.items()
    }


# Free and Shared are left out: neither stays on nor joins a network.
PLANS: dict[str, PlanSize] = {
    **_plan("Basic", 3, False, B1=(1, 1.75), B2=(2, 3.5), B3=(4, 7)),
    **_plan("Standard", 10, False, S1=(1, 1.75), S2=(2, 3.5), S3=(4, 7)),
    **_plan("PremiumV2", 30, True, P1v2=(1, 3.5), P2v2=(2, 7), P3v2=(4, 14)),
    **_plan(
        "PremiumV3",
        30,
        True,
        P0v3=(1, 4),
        P1v3=(2, 8),
        P2v3=(4, 16),
        P3v3=(8, 32),
        P1mv3=(2, 16),
        P2mv3=(4, 32),
        P3mv3=(8, 64),
        P4mv3=(16, 128),
        P5mv3=(32, 256),
    ),
    **_plan(
        "PremiumV4",
        30,
        True,
        P0v4=(1, 4),
        P1v4=(2, 8),
        P2v4=(4, 16),
        P3v4=(8, 32),
        P1mv4=(2, 16),
        P2mv4=(4, 32),
        P3mv4=(8, 64),
        P4mv4=(16, 128),
        P5mv4=(32, 256),
    ),
}
# Premium v1 and the container tier, neither of which takes new plans: what to take instead.
RETIRED_PLANS = {"P1": "P0v3", "P2": "P1v3", "P3": "P2v3", "PC2": "P1v3", "PC3": "P2v3", "PC4": "P3v3"}
# Of a worker's memory; the rest is for App Service's own processes and the file cache. Our assumption.
USABLE_MEMORY = 0.75


@dataclass(frozen=True, kw_only=True)
class ServerSize:
    """Compute of a PostgreSQL flexible server.

    "Compute options in Azure Database for PostgreSQL flexible server"; connections: "Limits in Azure Database
    for PostgreSQL flexible server".
    """

    tier: Literal["Burstable", "GeneralPurpose", "MemoryOptimized"]
    cores: int
    memory_gb: int
    max_connections: int  # where the parameter is not set


# From so many GiB of memory on → connections.
CONNECTIONS = {2: 50, 4: 429, 8: 859, 16: 1718, 32: 3437, 48: 5000}
# Of these, kept for replication and monitoring by Azure itself.
SERVER_CONNECTIONS = 15
# Beside the site: manage.py, the dump and psql of a release, a scheduled dump, a person who looks.
OPERATOR_CONNECTIONS = 5
BURSTABLE = {
    "B1ms": (1, 2),
    "B2s": (2, 4),
    "B2ms": (2, 8),
    "B4ms": (4, 16),
    "B8ms": (8, 32),
    "B12ms": (12, 48),
    "B16ms": (16, 64),
    "B20ms": (20, 80),
}
DEDICATED = re.compile(r"Standard_(?P<family>[DE])(?P<cores>\d+)(?P<series>s_v3|ds_v4|ds_v5|ads_v5)")
DEDICATED_CORES = {"D": (2, 4, 8, 16, 32, 48, 64, 96), "E": (2, 4, 8, 16, 20, 32, 48, 64, 96)}
LATE_CORES = {20: ("ds_v4", "ds_v5", "ads_v5"), 96: ("ds_v5", "ads_v5")}  # not in every series
E_MEMORY = {64: 432, 96: 672}  # the others have 8 GiB a core

# "Azure Managed Redis architecture": only up to 25 GB is served by one shard, which Django's client needs.
# The sizes are those of the SDK's `SkuName`, whose numbers are about their gigabytes.
CACHES = (
    *(f"Balanced_B{size}" for size in (0, 1, 3, 5, 10, 20)),
    *(f"MemoryOptimized_M{size}" for size in (10, 20)),
    *(f"ComputeOptimized_X{size}" for size in (3, 5, 10, 20)),
)

# "Azure regions list", without those of other clouds, which are taken to have three zones: ARM refuses there
# what is wrong.
REGIONS_WITH_ZONES = frozenset(
    {
        "australiaeast",
        "austriaeast",
        "belgiumcentral",
        "brazilsouth",
        "canadacentral",
        "centralindia",
        "centralus",
        "chilecentral",
        "denmarkeast",
        "eastasia",
        "eastus",
        "eastus2",
        "francecentral",
        "germanywestcentral",
        "indiasouthcentral",
        "indonesiacentral",
        "israelcentral",
        "italynorth",
        "japaneast",
        "japanwest",
        "koreacentral",
        "malaysiawest",
        "mexicocentral",
        "newzealandnorth",
        "northeurope",
        "norwayeast",
        "polandcentral",
        "qatarcentral",
        "southafricanorth",
        "southcentralus",
        "southeastasia",
        "spaincentral",
        "swedencentral",
        "switzerlandnorth",
        "uaenorth",
        "uksouth",
        "westeurope",
        "westus2",
        "westus3",
    }
)
REGIONS_WITHOUT_ZONES = frozenset(
    {
        "australiacentral",
        "australiacentral2",
        "australiasoutheast",
        "brazilsoutheast",
        "canadaeast",
        "francesouth",
        "germanynorth",
        "koreasouth",
        "northcentralus",
        "norwaywest",
        "southafricawest",
        "southindia",
        "swedensouth",
        "switzerlandwest",
        "uaecentral",
        "ukwest",
        "westcentralus",
        "westindia",
        "westus",
    }
)
REGIONS = REGIONS_WITH_ZONES | REGIONS_WITHOUT_ZONES

# "Azure subscription and service limits, quotas, and constraints" (Azure Front Door Standard and Premium).
FRONT_DOOR_ENDPOINTS: dict[FrontDoorTier, int] = {"Standard": 10, "Premium": 25}

# "Containers in Azure Container Apps": memory in GiB of the Consumption profile is twice its cores.
CONSUMPTION_CORES = tuple(quarter / 4 for quarter in range(1, 17))


def plan_size(sku: str) -> PlanSize:
    """Raises `TargetError` for one that is retired or that Azure does not have."""
    found = PLANS.get(sku)
    if found is not None:
        return found
    if sku in RETIRED_PLANS:
        raise TargetError(
            f"relevo:azure.app.sku is {sku}, but that size is retired; take {RETIRED_PLANS[sku]}."
        )
    raise TargetError(
        f"relevo:azure.app.sku is {sku}, but {', '.join(PLANS)} are accepted; take one of them."
    )


def server_size(sku: str) -> ServerSize:
    """`sku` as ARM spells it, e.g. "Standard_D2ds_v5". Raises `TargetError` if Azure has no such size."""
    name = sku.removeprefix("Standard_")
    if sku.startswith("Standard_") and name in BURSTABLE:
        cores, memory = BURSTABLE[name]
        return ServerSize(
            tier="Burstable", cores=cores, memory_gb=memory, max_connections=_connections(memory)
        )
    parts = DEDICATED.fullmatch(sku)
    if parts is not None:
        family, cores = parts["family"], int(parts["cores"])
        if cores in DEDICATED_CORES[family] and parts["series"] in LATE_CORES.get(cores, (parts["series"],)):
            memory = cores * 4 if family == "D" else E_MEMORY.get(cores, cores * 8)
            return ServerSize(
                tier="GeneralPurpose" if family == "D" else "MemoryOptimized",
                cores=cores,
                memory_gb=memory,
                max_connections=_connections(memory),
            )
    raise TargetError(
        f"relevo:azure.database.sku is {sku}, but Standard_B1ms to Standard_B20ms and the D and E series "
        f"s_v3, ds_v4, ds_v5 and ads_v5 are accepted; take one such as Standard_D2ds_v5."
    )


def zones(region: str) -> tuple[str, ...]:
    """The logical zones of a region as ARM spells it ("westeurope"); none where it has none."""
    return () if region in REGIONS_WITHOUT_ZONES else ("1", "2", "3")


def check_plan(sku: str, *, workers: int, zone_redundant: bool, regions: Sequence[str]) -> PlanSize:
    """Raises `TargetError` for a combination that Azure refuses."""
    size = plan_size(sku)
    if not 1 <= workers <= size.workers:
        raise TargetError(
            f"relevo:azure.app.workersPerPlan is {workers}, but {sku} accepts 1 to {size.workers}; "
            f"correct it."
        )
    if zone_redundant:
        if not size.zones:
            raise TargetError(
                f"relevo:azure.app.zoneRedundant is true, but {sku} is {size.tier} and zones need Premium v2 "
                f"or newer; take one such as P0v3, or set it to false."
            )
        if workers < 2:
            raise TargetError(
                f"relevo:azure.app.zoneRedundant is true, but relevo:azure.app.workersPerPlan is {workers} "
                f"and zones need at least 2; raise it, or set zoneRedundant to false."
            )
        for region in regions:
            if not zones(region):
                raise TargetError(
                    f"relevo:azure.app.zoneRedundant is true, but {region} has no availability zones; "
                    f"take another region, or set it to false."
                )
    return size


def check_endpoints(tier: FrontDoorTier, *, instances: int) -> None:
    """One endpoint for the public, and one for each instance. Raises `TargetError` if they are too many."""
    limit = FRONT_DOOR_ENDPOINTS[tier] - 1
    if instances > limit:
        remedy = "take Premium or fewer instances" if tier == "Standard" else "take fewer"
        raise TargetError(
            f"relevo:instances is {instances}, but Front Door {tier} has endpoints for {limit}; {remedy}."
        )


def check_cpu(key: str, cores: float) -> str:
    """Memory of a container with so many cores, e.g. "2.0Gi" ("Containers in Azure Container Apps").

    Raises `TargetError`.
    """
    if cores not in CONSUMPTION_CORES:
        raise TargetError(
            f"{key} is {cores}, but 0.25 to 4 in steps of 0.25 is accepted by Container Apps; correct it."
        )
    return f"{cores * 2}Gi"


def disk_gib(cores: float) -> int:
    """Of a container with so many cores ("Use storage mounts in Azure Container Apps": ephemeral storage)."""
    return next((gib for most, gib in ((0.25, 1), (0.5, 2), (1.0, 4)) if cores <= most), 8)


def app_capacity(
    *,
    plan_sku: str,
    plans: int,
    plan_workers: int,
    instances: int,
    database_sku: str,
    max_connections: int | None = None,
    processes: int = 0,
    workers: int | None = None,
    threads: int | None = None,
) -> Capacity:
    """gunicorn's workers and threads in each container.

    Each instance runs on every worker of its plan, so there are `instances` x `plan_workers` containers on
    `plans` x `plan_workers` machines. `max_connections`: as configured, None for what the size gives.
    Raises `TargetError` if configured numbers need more connections or memory than there are.
    """
    size = plan_size(plan_sku)
    limit = f"max_connections of {database_sku}"
    if max_connections is not None:
        limit = "relevo:azure.database.maxConnections"
    return capacity(
        cores=size.cores,
        instances=instances * plan_workers,
        machines=plans * plan_workers,
        memory_mb=int(size.memory_gb * 1024 * USABLE_MEMORY),
        max_connections=max_connections or server_size(database_sku).max_connections,
        reserved=SERVER_CONNECTIONS + OPERATOR_CONNECTIONS,
        processes=processes,
        workers=workers,
        threads=threads,
        limit=limit,
    )


def _connections(memory_gb: int) -> int:
    return CONNECTIONS[max(limit for limit in CONNECTIONS if limit <= memory_gb)]
