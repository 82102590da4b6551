"""A target in memory on which releases of small versions can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from components.release.tasks.open_record import open_record
from tests.e2e.servers import postgresql
from tests.unit.release.stand_in import (
    SECRET,
    StandInOperations,
    context,
    image,
    manifest,
    migration,
    specification,
)

INITIAL = migration("loans.0001_initial")
ADDS = migration("loans.0002_location")
VERSIONS = (
    manifest("v1", INITIAL),
    manifest("v2", INITIAL, ADDS),
    manifest("v3", INITIAL, ADDS, migration("loans.0003_rename", "breaking")),
    manifest("v4", INITIAL, ADDS, migration("loans.0004_drop", "breaking", reversible=False)),
    manifest(
        "v5",
        INITIAL,
        ADDS,
        migration("loans.0003_rename", "breaking"),
        migration("loans.0004_fill", "opaque"),
    ),
)


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    """Makes databases of a real PostgreSQL; returns the URL."""
    with postgresql() as new:
        yield new


@pytest.fixture
def operations() -> StandInOperations:
    target = StandInOperations({"secrets": {"SECRET_KEY": SECRET}})
    target.manifests = {image(known.version): known for known in VERSIONS}
    return target


def opened(operations: StandInOperations, version: str = "v1", **changes):
    """The context of a release of the version, and the release, just opened."""
    made = context(operations, specification(version, **changes))
    open_record(made)
    return made, made.current()


def released(operations: StandInOperations, version: str, **changes):
    """The same, when it has succeeded."""
    made, release = opened(operations, version, **changes)
    made.write("release succeeded", release.id)
    operations.applied |= {one.key for one in operations.manifests[image(version)].migrations}
    return made, made.current()
