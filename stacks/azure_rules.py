"""What must fit together in the settings of a stack on Azure; what Azure would refuse is refused here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from components.azure import sizing
from components.azure.logins import LOGINS, role_name
from components.azure.secret_names import OWN, secret_name
from components.target import TargetError
from stacks.section import PLACEHOLDER, at, did_you_mean, line

if TYPE_CHECKING:
    from components.capacity import Capacity
    from stacks.azure_settings import AzureSection, Database
    from stacks.settings import Settings

# "Azure region pairs and nonpaired regions": where Azure itself copies nothing to a second region.
UNPAIRED = frozenset(
    {
        "austriaeast",
        "belgiumcentral",
        "chilecentral",
        "denmarkeast",
        "indonesiacentral",
        "israelcentral",
        "italynorth",
        "malaysiawest",
        "mexicocentral",
        "newzealandnorth",
        "polandcentral",
        "qatarcentral",
        "spaincentral",
    }
)
# Seconds that Azure may take: for a container to start ("Environment variables and app settings"), for
# a change to be everywhere ("Frequently asked questions for Azure Front Door").
LEAST_SECONDS = {"ready_seconds": 230, "drain_seconds": 1200}
# What App Service reads itself ("Environment variables and app settings"), and whose identity a process has.
RESERVED = re.compile(
    r"WEBSITES?_.+|APPSETTING_.+|DOCKER_.+|PORT|AZURE_CLIENT_ID|APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
)
# The keys of the local target's own servers.
ONLY_LOCAL = {
    "": ("port", "state_dir", "logbook"),
    "database": ("port", "binaries", "max_connections", "server", "server_secret"),
    "cache": ("port", "max_memory_mb"),
}
# Keys that an Azure team may look for here, and what there is instead.
LEFT_OUT = {
    "azure.app.slots": "instances are rolled one after the other, without slots (Basic has none); remove it",
    "azure.frontDoor.managedRules": "they come with the tier Premium, and Standard has none; set tier",
    "azure.frontDoor.privateLink": (
        "sites take requests of this Front Door by its id instead (Private Link needs Premium); remove it"
    ),
}
LONGEST_ROLE = 63  # "Identifiers and Key Words", PostgreSQL
# What stays in the vault, so that a process gets it by reference or not at all.
SECRET = re.compile(r"secret\..+|(?:database|cache|cache\.readonly)\.(?:url|password)|insights\.connection")


def check(settings: Settings, azure: AzureSection) -> None:
    """What one section cannot know of another. Raises the fault with its key."""
    refuse_local(settings)
    environments = dict(settings.app.environments())
    refuse_reserved_variables(environments)
    refuse_mixed_secrets(environments)
    refuse_own_secrets(settings)
    refuse_long_user(settings.database.user)
    refuse_haste(settings)
    refuse_tier(azure.database)
    refuse_unknown_region(azure)
    refuse_region(azure)
    try:
        sizing.check_endpoints(azure.front_door.tier, instances=settings.instances)
        sizing.check_cpu("relevo:azure.jobs.cores", azure.jobs.cores)
        sizing.check_cpu("relevo:azure.app.processCores", azure.app.process_cores)
        sizing.check_plan(
            azure.app.sku,
            workers=azure.app.workers_per_plan,
            zone_redundant=azure.app.zone_redundant,
            regions=azure.locations,
        )
        capacity(settings, azure)
    except TargetError as fault:
        raise line(str(fault)) from None


def capacity(settings: Settings, azure: AzureSection) -> Capacity:
    """gunicorn's workers and threads. Raises `TargetError` if there are too few connections for them."""
    return sizing.app_capacity(
        plan_sku=azure.app.sku,
        plans=plans(settings, azure),
        plan_workers=azure.app.workers_per_plan,
        instances=settings.instances,
        database_sku=azure.database.sku,
        processes=len(settings.app.processes),
        workers=settings.app.workers,
        threads=settings.app.threads,
    )


def plans(settings: Settings, azure: AzureSection) -> int:
    """How many there are: a shared one is of one region."""
    return settings.instances if azure.app.plans == "each" else len(azure.locations)


def refuse_tier(database: Database) -> None:
    """Burstable: see "High availability" and "Backup and restore" of the flexible server."""
    try:
        burstable = sizing.server_size(database.sku).tier == "Burstable"
    except TargetError as fault:
        raise line(str(fault)) from None
    larger = "take a size such as Standard_D2ds_v5"
    if burstable and database.high_availability != "Disabled":
        raise at(
            "azure.database.highAvailability",
            f"is {database.high_availability}, but {database.sku} is Burstable, which has no standby",
            f"set it to Disabled, or {larger}",
        )
    if burstable and database.on_demand_backup:
        raise at(
            "azure.database.onDemandBackup",
            f"is true, but {database.sku} is Burstable, which has no on-demand backups",
            f"set it to false (a dump is taken before each release all the same), or {larger}",
        )


def refuse_unknown_region(azure: AzureSection) -> None:
    for key, region in (("location", azure.location), ("secondLocation", azure.second_location)):
        if region is not None and region not in sizing.REGIONS:
            raise at(
                f"azure.{key}",
                f"is {region}, but a region of components/azure/sizing.py is accepted",
                did_you_mean(region, sizing.REGIONS) or "take one such as westeurope, or add it there",
            )


def refuse_region(azure: AzureSection) -> None:
    other = "take another region"
    storage = azure.storage.sku
    if not sizing.zones(azure.location):
        if azure.database.high_availability == "ZoneRedundant":
            raise at(
                "azure.database.highAvailability",
                f"is ZoneRedundant, but {azure.location} has no availability zones",
                f"set it to SameZone, or {other}",
            )
        if "ZRS" in storage:
            plain = "Standard_GRS" if storage == "Standard_GZRS" else "Standard_LRS"
            raise at(
                "azure.storage.sku",
                f"is {storage}, but {azure.location} has no availability zones",
                f"take {plain}, or {other}",
            )
    if azure.location in UNPAIRED:
        if azure.database.geo_backup:
            raise at(
                "azure.database.geoBackup",
                f"is true, but {azure.location} has no paired region",
                f"{other}, or set it to false if the stack is no prod",
            )
        if storage in ("Standard_GRS", "Standard_GZRS"):
            raise at(
                "azure.storage.sku",
                f"is {storage}, but {azure.location} has no paired region",
                f"take Standard_ZRS, or {other}",
            )


def refuse_local(settings: Settings) -> None:
    for section, names in ONLY_LOCAL.items():
        given = (getattr(settings, section) if section else settings).model_fields_set
        for name in names:
            if name in given:
                key = ".".join(filter(None, (section, to_camel(name))))
                raise at(key, "is for the target local, but target is azure", "remove it")


def refuse_reserved_variables(environments: Mapping[str, Mapping[str, str]]) -> None:
    for key, variable, _ in _variables(environments):
        if RESERVED.fullmatch(variable):
            raise at(
                f"app.{key}.{variable}", "is set by Azure or by the target itself", "choose another name"
            )


def refuse_mixed_secrets(environments: Mapping[str, Mapping[str, str]]) -> None:
    """A secret alone is a reference to the vault; amid other text it would stand in plain app settings."""
    for key, variable, template in _variables(environments):
        rest = template.replace("{{", "").replace("}}", "")
        for placeholder in PLACEHOLDER.findall(rest):
            if SECRET.fullmatch(placeholder) and template != f"{{{placeholder}}}":
                raise at(
                    f"app.{key}.{variable}",
                    f"mixes {{{placeholder}}} with other text, but only a secret alone can stay in the vault",
                    "give it a variable of its own, or take {database.url} or {cache.url}",
                )


def _variables(environments: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    for key, environment in environments.items():
        for variable, template in environment.items():
            yield key, variable, template


def refuse_own_secrets(settings: Settings) -> None:
    for name in settings.secrets:
        if secret_name(name) in OWN:
            raise at(
                f"secrets.{name}",
                f"is {secret_name(name)} in the vault, which the stack itself has",
                "rename it",
            )


def refuse_long_user(user: str) -> None:
    """PostgreSQL cuts longer names off, and of the two logins would make one."""
    longest = LONGEST_ROLE - len(role_name("", LOGINS[0]))
    if len(user) > longest:
        raise at(
            "database.user",
            f"is {user}, but a name of at most {longest} letters is accepted, since the logins add to it",
            "shorten it",
        )


def refuse_haste(settings: Settings) -> None:
    """A local server is ready in seconds; the defaults are for it."""
    for name, least in LEAST_SECONDS.items():
        found = getattr(settings.limits, name)
        if found < least:
            raise at(
                f"limits.{to_camel(name)}",
                f"is {found:g}, but Azure itself may take {least} s",
                f"set it to {least} or more",
            )
