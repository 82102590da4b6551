"""The name of every resource, from the workload and the stack alone, so that a preview knows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from components.target import TargetError

# "Abbreviation recommendations for Azure resources" (Cloud Adoption Framework).
Abbreviation = Literal[
    "ag",  # action group
    "afd",  # Front Door profile
    "amr",  # Azure Managed Redis
    "app",  # web app
    "appi",  # Application Insights
    "asp",  # App Service plan
    "ca",  # container app
    "cae",  # Container Apps environment
    "caj",  # Container Apps job
    "cr",  # container registry
    "fde",  # Front Door endpoint
    "id",  # user-assigned identity
    "kv",  # key vault
    "log",  # Log Analytics workspace
    "nic",  # network interface
    "nsg",  # network security group
    "peer",  # virtual network peering
    "pep",  # private endpoint
    "psql",  # PostgreSQL flexible server
    "rg",  # resource group
    "snet",  # subnet
    "st",  # storage account
    "vnet",  # virtual network
    "waf",  # web application firewall policy
]

# "Naming rules and restrictions for Azure resources": characters that a name may have.
LIMITS: dict[Abbreviation, int] = {
    "ag": 260,
    "afd": 90,
    "amr": 60,
    "app": 60,
    "appi": 260,
    "asp": 60,
    "ca": 32,
    "cae": 60,
    "caj": 32,
    "cr": 50,
    "fde": 46,
    "id": 128,
    "kv": 24,
    "log": 63,
    "nic": 80,
    "nsg": 80,
    "peer": 80,
    "pep": 64,
    "psql": 63,
    "rg": 90,
    "snet": 80,
    "st": 24,
    "vnet": 64,
    "waf": 128,
}
WITHOUT_HYPHENS = ("cr", "st", "waf")

WORD = re.compile(r"[a-z](?:-?[a-z0-9])*")
# "Resolve errors for reserved resource names": not even a part of a name with a public address.
RESERVED = ("microsoft", "windows", "xbox")


@dataclass(frozen=True)
class Names:
    """`<abbreviation>-<workload>-<stack>[-<part>…]`; the same pair always gives the same names.

    Raises `TargetError` at once where a name without parts is one that Azure refuses.
    """

    workload: str  # relevo:azure.name
    stack: str

    def __post_init__(self) -> None:
        for key, found, remedy in (
            ("relevo:azure.name", self.workload, "rename it"),
            ("the stack's name", self.stack, "create the stack under such a name"),
        ):
            if not WORD.fullmatch(found):
                raise TargetError(
                    f"{key} is {found!r}, but only lower case letters, digits and single hyphens, "
                    f"a letter first, are accepted; {remedy}."
                )
        for reserved in RESERVED:
            if reserved in f"{self.workload}{self.stack}".replace("-", ""):
                raise TargetError(
                    f"relevo:azure.name is {self.workload}, but Azure reserves the word {reserved} "
                    f"for itself; take a name without it."
                )
        for abbreviation in sorted(LIMITS, key=LIMITS.__getitem__):
            self.of(abbreviation)

    def of(self, abbreviation: Abbreviation, *parts: str) -> str:
        """Raises `TargetError` if it is longer than Azure takes."""
        limit = LIMITS[abbreviation]
        joint = "" if abbreviation in WITHOUT_HYPHENS else "-"
        name = joint.join((abbreviation, self.workload, self.stack, *parts))
        if not joint:
            name = name.replace("-", "")
        if len(name) > limit:
            fitting = len(self.workload) - (len(name) - limit)
            remedy = f"take one of at most {fitting}" if fitting > 0 else "take a shorter stack name too"
            raise TargetError(
                f"relevo:azure.name is {self.workload} ({len(self.workload)} characters), but with it {name} "
                f"has {len(name)} and Azure accepts {limit}; {remedy}."
            )
        return name
