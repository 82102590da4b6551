"""Where a component puts its resources, and under which rules: what all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.azure.naming import Names


@dataclass(frozen=True, kw_only=True)
class Place:
    """One resource group of one stack."""

    names: Names
    subscription: str
    tenant: str
    resource_group: pulumi.Input[str]
    location: str  # of all but the sites of a second region; as ARM spells it, e.g. "westeurope"
    zones: tuple[str, ...]  # () where the region has none
    tags: Mapping[str, str]
    runner_addresses: tuple[str, ...]  # CIDR ranges from which vault, storage and registry may be reached
    guard: bool  # prod: what holds data cannot be deleted

    def region(self, location: str) -> tuple[str, ...]:
        return in_name(location, first=self.location)


def in_name(location: str, *, first: str) -> tuple[str, ...]:
    """What a name says of its region: nothing in the first, so that a second one changes no name."""
    return () if location == first else (location,)
