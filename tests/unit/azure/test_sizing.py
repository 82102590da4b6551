"""Sizes: as Azure documents them, and refused in a preview where Azure would refuse them in the middle."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pulumi_azure_native.redisenterprise import SkuName

from components.azure import sizing
from components.azure.sizing import FrontDoorTier
from components.capacity import Capacity
from components.target import TargetError


@pytest.mark.parametrize(
    ("sku", "tier", "cores", "memory_gb", "zones"),
    [
        ("B1", "Basic", 1, 1.75, False),
        ("S2", "Standard", 2, 3.5, False),
        ("P1v2", "PremiumV2", 1, 3.5, True),
        ("P0v3", "PremiumV3", 1, 4, True),
        ("P2mv3", "PremiumV3", 4, 32, True),
        ("P5mv4", "PremiumV4", 32, 256, True),
    ],
)
def test_a_plan_is_as_azure_documents_it(
    sku: str, tier: str, cores: int, memory_gb: float, zones: bool
) -> None:
    size = sizing.plan_size(sku)
    assert (size.tier, size.cores, size.memory_gb, size.zones) == (tier, cores, memory_gb, zones)


def test_each_cache_is_one_that_the_sdk_knows() -> None:
    assert {*sizing.CACHES} <= {sku.value for sku in SkuName}


@pytest.mark.parametrize(
    ("sku", "tier", "cores", "memory_gb", "connections"),
    [
        ("Standard_B1ms", "Burstable", 1, 2, 50),
        ("Standard_B2s", "Burstable", 2, 4, 429),
        ("Standard_B20ms", "Burstable", 20, 80, 5000),
        ("Standard_D2s_v3", "GeneralPurpose", 2, 8, 859),
        ("Standard_D2ds_v5", "GeneralPurpose", 2, 8, 859),
        ("Standard_D8ads_v5", "GeneralPurpose", 8, 32, 3437),
        ("Standard_D96ds_v5", "GeneralPurpose", 96, 384, 5000),
        ("Standard_E2ds_v4", "MemoryOptimized", 2, 16, 1718),
        ("Standard_E20ds_v4", "MemoryOptimized", 20, 160, 5000),
        ("Standard_E64ds_v5", "MemoryOptimized", 64, 432, 5000),
    ],
)
def test_a_server_is_as_azure_documents_it(
    sku: str, tier: str, cores: int, memory_gb: int, connections: int
) -> None:
    size = sizing.server_size(sku)
    assert (size.tier, size.cores, size.memory_gb, size.max_connections) == (
        tier,
        cores,
        memory_gb,
        connections,
    )


@pytest.mark.parametrize(
    "sku",
    [
        "Standard_D3ds_v5",
        "Standard_D2ds_v3",
        "Standard_D20ds_v5",
        "Standard_D96ds_v4",
        "Standard_E20s_v3",
        "Standard_B3ms",
        "D2ds_v5",
        "B1ms",
        "",
    ],
)
def test_a_server_that_azure_does_not_have_is_refused(sku: str) -> None:
    with pytest.raises(
        TargetError, match=rf"^relevo:azure.database.sku is {re.escape(sku)}, but .*D2ds_v5\.$"
    ):
        sizing.server_size(sku)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"sku": "P1"},
            "relevo:azure.app.sku is P1, but that size is retired; take P0v3.",
        ),
        ({"sku": "F1"}, "relevo:azure.app.sku is F1, but B1, B2, B3, S1,"),
        (
            {"sku": "B1", "workers": 4},
            "relevo:azure.app.workersPerPlan is 4, but B1 accepts 1 to 3; correct it.",
        ),
        ({"workers": 0}, "relevo:azure.app.workersPerPlan is 0, but P0v3 accepts 1 to 30; correct it."),
        (
            {"sku": "S1", "zone_redundant": True},
            "relevo:azure.app.zoneRedundant is true, but S1 is Standard and zones need Premium v2 or newer; "
            "take one such as P0v3, or set it to false.",
        ),
        (
            {"workers": 1, "zone_redundant": True},
            "relevo:azure.app.zoneRedundant is true, but relevo:azure.app.workersPerPlan is 1 and zones need "
            "at least 2; raise it, or set zoneRedundant to false.",
        ),
        (
            {"zone_redundant": True, "regions": ["westeurope", "ukwest"]},
            "relevo:azure.app.zoneRedundant is true, but ukwest has no availability zones; take another "
            "region, or set it to false.",
        ),
    ],
)
def test_a_plan_that_azure_refuses_is_refused_before(given: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"sku": "P0v3", "workers": 2, "zone_redundant": False, "regions": ["westeurope"]}
    with pytest.raises(TargetError) as raised:
        sizing.check_plan(**{**usual, **given})
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_region_has_three_zones_or_none() -> None:
    assert sizing.zones("westeurope") == ("1", "2", "3")
    assert sizing.zones("westus") == ()


@pytest.mark.parametrize(
    ("tier", "most", "remedy"),
    [("Standard", 9, "take Premium or fewer instances"), ("Premium", 24, "take fewer")],
)
def test_more_instances_than_front_door_has_endpoints_are_refused(
    tier: FrontDoorTier, most: int, remedy: str
) -> None:
    sizing.check_endpoints(tier, instances=most)
    with pytest.raises(TargetError) as raised:
        sizing.check_endpoints(tier, instances=most + 1)
    assert str(raised.value) == (
        f"relevo:instances is {most + 1}, but Front Door {tier} has endpoints for {most}; {remedy}."
    )


def test_a_container_has_twice_as_many_gib_as_cores() -> None:
    assert sizing.check_cpu("relevo:azure.jobs.cores", 0.5) == "1.0Gi"
    assert sizing.check_cpu("relevo:azure.jobs.cores", 4.0) == "8.0Gi"
    with pytest.raises(TargetError, match=r"^relevo:azure.jobs.cores is 0.3, but 0.25 to 4 in steps of 0.25"):
        sizing.check_cpu("relevo:azure.jobs.cores", 0.3)


def test_a_container_has_the_disk_of_its_cores() -> None:
    disks = {cores: sizing.disk_gib(cores) for cores in (0.25, 0.5, 0.75, 1.0, 1.25, 4.0)}
    assert disks == {0.25: 1, 0.5: 2, 0.75: 4, 1.0: 4, 1.25: 8, 4.0: 8}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # two instances, each with a plan of its own and two machines of two cores: 5 workers on each
        ({"plan_sku": "P1v3", "plans": 2}, Capacity(workers=5, threads=4)),
        # the same machines shared by the instances
        ({"plan_sku": "P1v3", "plans": 1}, Capacity(workers=3, threads=4)),
        # a small machine has memory for 5, its core is enough for 3
        ({"plan_sku": "B1", "plans": 2, "plan_workers": 1}, Capacity(workers=3, threads=4)),
        # one small machine for four: memory for one each
        (
            {"plan_sku": "B1", "plans": 1, "plan_workers": 1, "instances": 4},
            Capacity(workers=1, threads=4),
        ),
        # 50 connections, of which Azure keeps 15 and five are for operators
        (
            {"plan_sku": "P1v3", "plans": 2, "database_sku": "Standard_B1ms"},
            Capacity(workers=5, threads=1),
        ),
        ({"plan_sku": "P1v3", "plans": 2, "max_connections": 100}, Capacity(workers=5, threads=4)),
    ],
)
def test_workers_fit_the_machines_and_the_connections(given: dict[str, Any], expected: Capacity) -> None:
    usual: dict[str, Any] = {"plan_workers": 2, "instances": 2, "database_sku": "Standard_D2ds_v5"}
    assert sizing.app_capacity(**{**usual, **given}) == expected


@pytest.mark.parametrize(
    ("max_connections", "limit"),
    [
        (None, "max_connections of Standard_B1ms is 50"),
        (60, "relevo:azure.database.maxConnections is 60"),
    ],
)
def test_more_connections_than_the_server_has_are_refused(max_connections: int | None, limit: str) -> None:
    with pytest.raises(TargetError) as raised:
        sizing.app_capacity(
            plan_sku="P1v3",
            plans=2,
            plan_workers=2,
            instances=2,
            database_sku="Standard_B1ms",
            max_connections=max_connections,
            processes=1,
            workers=4,
            threads=4,
        )
    assert str(raised.value) == (
        f"{limit}, but 4 instances of 4 workers with 4 threads need 85; "
        f"raise it, or lower relevo:app.workers or relevo:app.threads."
    )
