"""How many workers and threads an instance gets."""

from __future__ import annotations

from typing import Any

import pytest

from components.capacity import Capacity, capacity
from components.target import TargetError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"cores": 1, "instances": 2, "max_connections": 100}, Capacity(workers=2, threads=4)),
        ({"cores": 2, "instances": 2, "max_connections": 100}, Capacity(workers=3, threads=4)),
        ({"cores": 2, "instances": 4, "max_connections": 100}, Capacity(workers=2, threads=4)),
        ({"cores": 8, "instances": 2, "max_connections": 100}, Capacity(workers=9, threads=4)),
        # more cores than connections: fewer threads first, then fewer workers
        ({"cores": 16, "instances": 2, "max_connections": 100}, Capacity(workers=17, threads=2)),
        ({"cores": 64, "instances": 2, "max_connections": 100}, Capacity(workers=46, threads=1)),
        ({"cores": 2, "instances": 2, "max_connections": 10}, Capacity(workers=1, threads=1)),
        ({"cores": 2, "instances": 2, "max_connections": 100, "workers": 1}, Capacity(workers=1, threads=4)),
        ({"cores": 2, "instances": 2, "max_connections": 100, "threads": 8}, Capacity(workers=3, threads=8)),
        ({"cores": 2, "instances": 2, "max_connections": 50, "threads": 16}, Capacity(workers=1, threads=16)),
        # each on a machine of its own, and two on each of three
        ({"cores": 2, "instances": 4, "machines": 4, "max_connections": 400}, Capacity(workers=5, threads=4)),
        ({"cores": 2, "instances": 6, "machines": 3, "max_connections": 400}, Capacity(workers=3, threads=4)),
        # less memory than the cores could use
        (
            {"cores": 4, "instances": 1, "max_connections": 99, "memory_mb": 1024},
            Capacity(workers=4, threads=4),
        ),
        (
            {"cores": 4, "instances": 2, "max_connections": 99, "memory_mb": 1024},
            Capacity(workers=2, threads=4),
        ),
        (
            {"cores": 4, "instances": 2, "max_connections": 99, "memory_mb": 300},
            Capacity(workers=1, threads=4),
        ),
    ],
)
def test_capacity_comes_from_the_cores_and_fits_the_connections(
    given: dict[str, Any], expected: Capacity
) -> None:
    assert capacity(**given) == expected


def test_configured_numbers_that_need_too_many_connections_are_refused() -> None:
    with pytest.raises(TargetError) as error:
        capacity(cores=2, instances=4, max_connections=100, workers=8, threads=4, processes=2)
    assert str(error.value) == (
        "relevo:database.maxConnections is 100, but 4 instances of 8 workers with 4 threads need 138; "
        "raise it, or lower relevo:app.workers or relevo:app.threads."
    )


def test_the_connections_of_a_server_of_ones_own_are_named_as_what_they_are() -> None:
    with pytest.raises(TargetError, match=r"^max_connections of db:5432 is 20, but 2 instances .* need 40;"):
        capacity(
            cores=2,
            instances=2,
            max_connections=20,
            workers=4,
            threads=4,
            limit="max_connections of db:5432",
        )


def test_configured_workers_that_the_memory_cannot_hold_are_refused() -> None:
    with pytest.raises(TargetError) as error:
        capacity(cores=4, instances=2, max_connections=100, memory_mb=2048, workers=5, threads=1)
    assert str(error.value) == (
        "relevo:app.workers is 5, but the memory of a machine (2048 MB for 2 instances, 256 MB a worker) is "
        "enough for 4 each; lower it, or take a larger size."
    )
