"""`relevo:azure`, typed: sizes and places of what a stack on Azure has. azure_rules.py: what must fit."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from components.azure.sizing import CACHES
from stacks import cron
from stacks.section import Section, Text, accepts, at, did_you_mean, invalid

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# "Storage options in Azure Database for PostgreSQL": the sizes of a Premium SSD, in GiB.
STORAGE_GB = (32, 64, 128, 256, 512, 1024, 2048, 4095, 8192, 16384, 32767)
# Of a private DNS zone ("Use tags to organize your Azure resources") and of a secret ("About Azure Key Vault
# secrets"), which take the fewest.
TAGS = 15
OWN_TAGS = ("workload", "stack", "rotation")  # the last one is of secrets
PUBLIC_CLOUD = "https://management.azure.com"
PRIVATE = [ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
# What no address that Azure sees is of: private, of a carrier's NAT, of the machine itself.
UNSEEN = [*PRIVATE, *map(ipaddress.IPv4Network, ("100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"))]
# "Subnet address range restrictions" of Container Apps: 172.30.0.0/16 and 172.31.0.0/16.
OF_CONTAINER_APPS = ipaddress.IPv4Network("172.30.0.0/15")

Days = Annotated[int, accepts("a number of days from 7 to 730", ge=7, le=730)]
ObjectId = Annotated[
    str, accepts("an id such as 00000000-0000-0000-0000-000000000000", pattern=f"(?i)^{UUID.pattern}$")
]
Location = Annotated[
    str, accepts("a region as az account list-locations names it, such as westeurope", pattern=r"^[a-z]+\d?$")
]
Address = Annotated[str, accepts("a public IPv4 address or range such as 203.0.113.7/32")]
TagName = Annotated[
    str,
    accepts(
        "a tag's name of at most 128 letters, digits, _, . and -, a letter first, as DNS zones take it",
        pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,127}$",
    ),
]
TagValue = Annotated[str, accepts("text of at most 256 characters", max_length=256)]
Email = Annotated[str, accepts("an address such as team@example.org", pattern=r"^[^\s@]+@[^\s@]+\.[^\s@]+$")]


class Administrator(Section):
    """Who administers the database with a token of Microsoft Entra ID. `name` as it is in Entra."""

    name: Text
    object_id: ObjectId
    type: Literal["User", "Group", "ServicePrincipal"] = accepts("User, Group or ServicePrincipal")


class Vault(Section):
    expiry_days: Days = 365  # of a secret that the stack makes


class Storage(Section):
    sku: Literal["Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS"] = accepts(
        "Standard_LRS, Standard_ZRS, Standard_GRS or Standard_GZRS", default="Standard_ZRS"
    )
    recoverable_days: int = accepts("a number of days from 2 to 365", ge=2, le=365, default=35)
    immutable_days: int = accepts("a number of days from 1 to 3650", ge=1, le=3650, default=35)
    backups_kept_days: int = accepts("a number of days from 2 to 3650", ge=2, le=3650, default=365)

    @model_validator(mode="after")
    def backups_can_end(self) -> Self:
        if self.backups_kept_days <= self.immutable_days:
            raise at(
                "backupsKeptDays",
                f"is {self.backups_kept_days}, but more than immutableDays ({self.immutable_days}) is needed",
                "raise it, as no backup can go before",
            )
        return self


class Database(Section):
    """A PostgreSQL flexible server. The size decides its tier, and how many connections it takes.

    `login`: by which of its two logins the application comes; the other one's password may be replaced.
    """

    sku: Text  # such as Standard_D2ds_v5; the tables of components/azure/sizing.py say which there are
    storage_gb: int = accepts(f"one of {', '.join(map(str, STORAGE_GB))}", default=64)
    version: Literal["14", "15", "16", "17", "18"] = accepts("14, 15, 16, 17 or 18 in quotes", default="17")
    high_availability: Literal["Disabled", "SameZone", "ZoneRedundant"] = accepts(
        "Disabled, SameZone or ZoneRedundant", default="Disabled"
    )
    # Where the server begins; another has a standby. Not every zone has every size in each subscription.
    zone: Literal["1", "2", "3"] = accepts("1, 2 or 3 in quotes", default="1")
    geo_backup: bool = accepts("true or false", default=False)
    retention_days: int = accepts("a number of days from 7 to 35", ge=7, le=35, default=35)
    on_demand_backup: bool = accepts("true or false", default=True)  # besides the dump, before each release
    login: Literal["a", "b"] = accepts("a or b", default="a")
    administrators: Annotated[
        tuple[Administrator, ...], accepts("a list of administrators, each a map", strict=False)
    ] = ()

    @field_validator("storage_gb")
    @classmethod
    def a_disk(cls, size: int) -> int:
        if size not in STORAGE_GB:
            raise invalid(
                f"is {size}, but only {', '.join(map(str, STORAGE_GB))} are accepted", "take the next larger"
            )
        return size

    @field_validator("administrators")
    @classmethod
    def each_once(cls, administrators: tuple[Administrator, ...]) -> tuple[Administrator, ...]:
        ids = [administrator.object_id.lower() for administrator in administrators]
        if len(set(ids)) < len(ids):
            raise invalid("names one objectId twice, but once is accepted", "remove one")
        return administrators


class Cache(Section):
    """Azure Managed Redis. `replicated`: on two nodes, with a service agreement.

    `key`: which of its two access keys is in use; the other one may be regenerated.
    """

    sku: Text  # such as Balanced_B0
    replicated: bool = accepts("true or false", default=True)
    key: Literal["primary", "secondary"] = accepts("primary or secondary", default="primary")

    @field_validator("sku")
    @classmethod
    def unclustered(cls, sku: str) -> str:
        if sku not in CACHES:
            raise invalid(
                f"is {sku}, but only {', '.join(CACHES)} are accepted, which one shard serves",
                did_you_mean(sku, CACHES) or "take one of them",
            )
        return sku


class App(Section):
    """The web apps, one for each instance. `plans`: a plan for each of them, or one for all."""

    sku: Text  # such as P1v3
    plans: Literal["each", "shared"] = accepts("each or shared", default="each")
    workers_per_plan: int = accepts("a number of workers from 1 to 30", ge=1, le=30, default=1)
    zone_redundant: bool = accepts("true or false", default=False)
    process_cores: float = accepts("a number of cores from 0.25 to 4", strict=False, default=0.5)


class Jobs(Section):
    """One-off commands, with twice as many GiB of memory as cores. `dump_cron`: of the daily dump, in UTC."""

    cores: float = accepts("a number of cores from 0.25 to 4", strict=False, default=1.0)
    dump_cron: str = accepts(
        "five fields such as 17 2 * * *", pattern=r"^[\d*/,-]+( [\d*/,-]+){4}$", default="17 2 * * *"
    )

    @field_validator("dump_cron")
    @classmethod
    def within_its_ranges(cls, expression: str) -> str:
        fault = cron.fault(expression)
        if fault:
            raise invalid(f'is "{expression}", but {fault}', "correct it")
        return expression


class FrontDoor(Section):
    """`rate_limit`: requests a minute of one client. `domain`: a name of one's own; None: Front Door's.

    Premium has managed firewall rules, Standard has none; there is no way back from Premium.
    """

    tier: Literal["Standard", "Premium"] = accepts("Standard or Premium")
    domain: str | None = accepts(
        "a host name such as www.example.org",
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$",
        default=None,
    )
    rate_limit: int = accepts("a number of requests from 10 to 1000000", ge=10, le=1_000_000, default=1000)


class Monitoring(Section):
    retention_days: int = accepts("a number of days from 30 to 730", ge=30, le=730, default=30)
    daily_cap_gb: float | None = accepts(
        "a number of gigabytes from 0.1 to 1000, or null", ge=0.1, le=1000, strict=False, default=None
    )
    emails: Annotated[tuple[Email, ...], accepts("a list of addresses", strict=False)] = ()


class AzureSection(Section):
    """Everything that `Pulumi.<stack>.yaml` says under `relevo:azure`."""

    name: str = accepts(
        "a word of lower case letters, digits and single hyphens such as shop",
        pattern=r"^[a-z](?:-?[a-z0-9])*$",
    )
    location: Location
    second_location: Location | None = None  # where every second instance runs; None: all in one region
    subscription: ObjectId | None = None  # None: the login's
    resource_manager: str = accepts(
        "the address of a cloud's resource manager",
        pattern=r"^https://[a-z0-9.:-]+/?$",
        default=PUBLIC_CLOUD,
    )
    runner_addresses: Annotated[tuple[Address, ...], accepts("a list of ranges", strict=False)] = ()
    address_space: str = accepts("a private IPv4 range such as 10.40.0.0/22", default="10.40.0.0/22")
    second_address_space: str = accepts("a private IPv4 range such as 10.40.4.0/22", default="10.40.4.0/22")
    tags: dict[TagName, TagValue] = accepts("a map from tags to text", default={})
    guard: bool = accepts("true or false", default=False)
    build_image: bool = accepts("true or false", default=False)  # of a pinned artefact, during pulumi up
    vault: Vault = Vault()
    storage: Storage = Storage()
    database: Database
    cache: Cache
    app: App
    jobs: Jobs = Jobs()
    front_door: FrontDoor
    monitoring: Monitoring = Monitoring()

    @property
    def locations(self) -> tuple[str, ...]:
        """The regions of the instances; all else is in the first."""
        return (self.location,) if self.second_location is None else (self.location, self.second_location)

    @field_validator("resource_manager")
    @classmethod
    def of_the_public_cloud(cls, address: str) -> str:
        """Or of a stand-in on this machine. Names of hosts and audiences of tokens are the public cloud's."""
        here = urlsplit(address).hostname in ("127.0.0.1", "localhost")
        if address.rstrip("/") != PUBLIC_CLOUD and not here:
            raise invalid(
                f"is {address}, but only the public cloud's, {PUBLIC_CLOUD}, is accepted", "remove it"
            )
        return address

    @model_validator(mode="after")
    def built_where_nothing_is_guarded(self) -> Self:
        if self.build_image and self.guard:
            raise at(
                "buildImage",
                "is true, but guard is true as well, and a guarded stack takes what was tried before",
                "set it to false; relevo promote brings one",
            )
        return self

    @field_validator("runner_addresses")
    @classmethod
    def of_runners(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            try:
                network = ipaddress.IPv4Network(address)
            except ValueError:
                raise invalid(
                    f'has "{address}", but only IPv4 addresses and ranges are accepted',
                    "give one such as 203.0.113.7/32",
                ) from None
            if any(network.subnet_of(unseen) for unseen in UNSEEN):
                raise invalid(
                    f"has {address}, but Azure sees a runner by its public address only", "give that one"
                )
            if network.prefixlen < 16:
                raise invalid(
                    f"has {address}, but ranges wider than /16 are not accepted",
                    "name the runner's own",
                )
        return addresses

    @field_validator("address_space", "second_address_space")
    @classmethod
    def private(cls, space: str) -> str:
        try:
            network = ipaddress.IPv4Network(space)
        except ValueError:
            network = None
        remedy = "take one such as 10.40.0.0/22 that no network to be joined uses"
        if (
            network is None
            or network.prefixlen > 22
            or not any(network.subnet_of(private) for private in PRIVATE)
        ):
            raise invalid(f'is "{space}", but only a private IPv4 range of /22 or larger is accepted', remedy)
        if network.overlaps(OF_CONTAINER_APPS):
            raise invalid(
                f'is "{space}", but {OF_CONTAINER_APPS} is kept by Container Apps for itself', remedy
            )
        return space

    @model_validator(mode="after")
    def regions_apart(self) -> Self:
        if self.second_location is None:
            return self
        if self.second_location == self.location:
            raise at(
                "secondLocation",
                f"is {self.second_location}, but that is location already",
                "take another region, or leave it out",
            )
        first, second = self.address_space, self.second_address_space
        if ipaddress.IPv4Network(first).overlaps(ipaddress.IPv4Network(second)):
            raise at(
                "secondAddressSpace",
                f"is {second}, but only a range beside addressSpace ({first}) is accepted",
                "take another, since addressSpace is fixed once made",
            )
        return self

    @field_validator("tags")
    @classmethod
    def free_and_few(cls, tags: dict[str, str]) -> dict[str, str]:
        for tag in tags:
            if tag.lower() in OWN_TAGS:
                raise invalid(f"has {tag}, but that tag is the stack's own", "rename it")
        most = TAGS - len(OWN_TAGS)
        if len(tags) > most:
            raise invalid(f"has {len(tags)} tags, but {most} are accepted", "remove some")
        return tags
