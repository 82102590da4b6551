"""The hostile table of `relevo:azure`: what Azure would refuse is refused before anything is asked of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from stacks.azure_rules import capacity
from stacks.settings import Settings, SettingsError, parse

APP: dict[str, Any] = {
    "settings": "mysite.settings",
    "wsgi": "mysite.wsgi:application",
    "environment": {
        "SECRET_KEY": "{secret.SECRET_KEY}",
        "DATABASE_URL": "{database.url}",
        "ALLOWED_HOSTS": "{public.host},{instance.host}",
    },
}
AZURE: dict[str, Any] = {
    "name": "assets",
    "location": "westeurope",
    "database": {"sku": "Standard_D2ds_v5"},
    "cache": {"sku": "Balanced_B0"},
    "app": {"sku": "P1v3"},
    "frontDoor": {"tier": "Standard"},
}
LIMITS = {"readySeconds": 600, "drainSeconds": 1200}
BURSTABLE = {"sku": "Standard_B2s", "onDemandBackup": False}
ADA = {"name": "Ada", "objectId": "11111111-1111-1111-1111-111111111111", "type": "User"}
MISSING = ...  # as a value: the key is left out


def parsed(changes: dict[str, Any]) -> Settings:
    document = {"target": "azure", "app": APP, "azure": AZURE, "limits": LIMITS, **changes}
    values = {
        f"relevo:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in document.items()
        if value is not MISSING
    }
    return parse(values, source="Pulumi.prod.yaml")


def azure(**changes: Any) -> dict[str, Any]:
    merged = {**AZURE, **changes}
    return {"azure": {key: value for key, value in merged.items() if value is not MISSING}}


def database(**changes: Any) -> dict[str, Any]:
    return azure(database={**AZURE["database"], **changes})


def app(**changes: Any) -> dict[str, Any]:
    return azure(app={**AZURE["app"], **changes})


def variable(template: str, name: str = "X") -> dict[str, Any]:
    return {"app": {**APP, "environment": {**APP["environment"], name: template}}}


HOSTILE: list[tuple[dict[str, Any], str]] = [
    # what each target needs
    ({"azure": MISSING}, "relevo:azure is missing, but target is azure; add it, as docs/azure.md says."),
    ({"target": "local"}, "relevo:azure is given, but target is local; remove it, or set target to azure."),
    ({"azure": "westeurope"}, 'relevo:azure is "westeurope", but a map is accepted;'),
    # keys of the local servers
    ({"port": 8000}, "relevo:port is for the target local, but target is azure; remove it."),
    ({"stateDir": "/srv"}, "relevo:stateDir is for the target local, but target is azure; remove it."),
    (
        {"logbook": {"secret": "PAGES"}, "secrets": {"SECRET_KEY": {}, "PAGES": {}}},
        "relevo:logbook is for the target local, but target is azure;",
    ),
    ({"database": {"port": 5433}}, "relevo:database.port is for the target local, but"),
    ({"database": {"binaries": "/usr/lib"}}, "relevo:database.binaries is for the target local, but"),
    ({"database": {"maxConnections": 50}}, "relevo:database.maxConnections is for the target local, but"),
    ({"cache": {"maxMemoryMb": 64}}, "relevo:cache.maxMemoryMb is for the target local, but"),
    # names and places
    (azure(name=MISSING), "relevo:azure.name is missing, but a word of lower case letters"),
    (azure(name="Assets"), 'relevo:azure.name is "Assets", but a word of lower case letters'),
    (azure(nmae="x"), "did you mean name."),
    (azure(location="West Europe"), 'relevo:azure.location is "West Europe", but a region as'),
    *(
        (
            azure(**{key: found}),
            f"azure.{key} is {found}, but a region of components/azure/sizing.py is accepted; {remedy}",
        )
        for key in ("location", "secondLocation")
        for found, remedy in (
            ("westeurop", "did you mean westeurope"),
            ("swedencentrl", "did you mean swedencentral"),
            ("usgovvirginia", "take one such as westeurope, or add it there"),
        )
    ),
    (azure(subscription="prod"), 'relevo:azure.subscription is "prod", but an id such as'),
    (azure(resourceManager="http://arm"), 'relevo:azure.resourceManager is "http://arm", but the address'),
    (
        azure(resourceManager="https://management.usgovcloudapi.net"),
        "relevo:azure.resourceManager is https://management.usgovcloudapi.net, but only the public cloud's",
    ),
    (
        azure(database={"sku": "Standard_D2ds_v5", "zone": "4"}),
        'relevo:azure.database.zone is "4", but 1, 2 or 3 in quotes',
    ),
    (azure(addressSpace="10.0.0.0/24"), 'relevo:azure.addressSpace is "10.0.0.0/24", but only a private'),
    (azure(addressSpace="8.8.0.0/16"), 'relevo:azure.addressSpace is "8.8.0.0/16", but only a private'),
    (azure(addressSpace="169.254.0.0/16"), 'relevo:azure.addressSpace is "169.254.0.0/16", but only a'),
    (
        azure(addressSpace="172.31.0.0/22"),
        'relevo:azure.addressSpace is "172.31.0.0/22", but 172.30.0.0/15 is',
    ),
    (azure(secondAddressSpace="10.0.0.0/24"), 'relevo:azure.secondAddressSpace is "10.0.0.0/24", but only'),
    (azure(secondLocation="North Europe"), 'relevo:azure.secondLocation is "North Europe", but a region as'),
    (
        azure(secondLocation="westeurope"),
        "relevo:azure.secondLocation is westeurope, but that is location already; take another region,",
    ),
    (
        azure(secondLocation="northeurope", addressSpace="10.40.0.0/16"),
        "relevo:azure.secondAddressSpace is 10.40.4.0/22, but only a range beside addressSpace",
    ),
    (azure(tags={"a/b": "x"}), 'relevo:azure.tags.a/b is "a/b", but a tag\'s name'),
    (azure(tags={"team": 3}), "relevo:azure.tags.team is 3, but text of at most 256"),
    (azure(tags={"Stack": "x"}), "relevo:azure.tags has Stack, but that tag is the stack's own; rename it."),
    *(
        (
            azure(tags={tag: "x"}),
            f'relevo:azure.tags.{tag} is "{tag}", but a tag\'s name of at most 128 letters',
        )
        for tag in ("cost centre (eu)", "9team", "team#1:a", "größe")
    ),
    (azure(tags={"rotation": "x"}), "relevo:azure.tags has rotation, but that tag is the stack's own;"),
    (azure(tags={f"t{n}": "" for n in range(13)}), "relevo:azure.tags has 13 tags, but 12 are accepted;"),
    (azure(buildImage="yes"), 'relevo:azure.buildImage is "yes", but true or false is accepted;'),
    (
        azure(buildImage=True, guard=True),
        "relevo:azure.buildImage is true, but guard is true as well, and a guarded stack takes what",
    ),
    # never open
    (azure(runnerAddresses=["0.0.0.0/0"]), "relevo:azure.runnerAddresses has 0.0.0.0/0, but ranges wider"),
    (azure(runnerAddresses=["100.64.0.9"]), "relevo:azure.runnerAddresses has 100.64.0.9, but Azure sees"),
    (azure(runnerAddresses=["10.0.0.4"]), "relevo:azure.runnerAddresses has 10.0.0.4, but Azure sees"),
    (azure(runnerAddresses=["me"]), 'relevo:azure.runnerAddresses has "me", but only IPv4 addresses'),
    (azure(runnerAddresses=["198.5.7.9/24"]), 'relevo:azure.runnerAddresses has "198.5.7.9/24", but only'),
    # the database
    (azure(database={}), "relevo:azure.database.sku is missing, but text that is not empty is needed;"),
    (database(sku="GP_Gen5_2"), "relevo:azure.database.sku is GP_Gen5_2, but Standard_B1ms to"),
    (database(sku="Standard_D3ds_v5"), "relevo:azure.database.sku is Standard_D3ds_v5, but Standard_B1ms"),
    (
        database(sku="Standard_B2s"),
        "relevo:azure.database.onDemandBackup is true, but Standard_B2s is Burstable, which has no on-demand",
    ),
    (
        database(**BURSTABLE, highAvailability="SameZone"),
        "relevo:azure.database.highAvailability is SameZone, but Standard_B2s is Burstable, which has no",
    ),
    (database(highAvailability="Zone"), 'relevo:azure.database.highAvailability is "Zone", but Disabled'),
    (database(storageGb=100), "relevo:azure.database.storageGb is 100, but only 32, 64, 128"),
    (database(version=17), "relevo:azure.database.version is 17, but 14, 15, 16, 17 or 18 in quotes"),
    (database(version="11"), 'relevo:azure.database.version is "11", but 14, 15, 16, 17 or 18'),
    (database(retentionDays=36), "relevo:azure.database.retentionDays is 36, but a number of days from 7"),
    (database(administrators=[{**ADA, "type": "Robot"}]), "administrators[0].type is"),
    (database(administrators=[ADA, ADA]), "relevo:azure.database.administrators names one objectId twice"),
    # regions
    (
        {
            "azure": {
                **AZURE,
                "location": "westus",
                "database": {**AZURE["database"], "highAvailability": "ZoneRedundant"},
            }
        },
        "relevo:azure.database.highAvailability is ZoneRedundant, but westus has no availability zones;",
    ),
    (azure(location="westus"), "relevo:azure.storage.sku is Standard_ZRS, but westus has no availability"),
    (
        {"azure": {**AZURE, "location": "italynorth", "database": {**AZURE["database"], "geoBackup": True}}},
        "italynorth has no paired region; take another region, or set it to false if the stack is no prod.",
    ),
    (
        azure(location="italynorth", storage={"sku": "Standard_GZRS"}),
        "relevo:azure.storage.sku is Standard_GZRS, but italynorth has no paired region;",
    ),
    (azure(storage={"immutableDays": 365}), "relevo:azure.storage.backupsKeptDays is 365, but more than"),
    # the sites
    (app(sku="F1"), "relevo:azure.app.sku is F1, but B1, B2"),
    (app(sku="P1"), "relevo:azure.app.sku is P1, but that size is retired; take P0v3."),
    (app(sku="B1", zoneRedundant=True), "relevo:azure.app.zoneRedundant is true, but B1 is Basic and zones"),
    (app(zoneRedundant=True), "relevo:azure.app.zoneRedundant is true, but relevo:azure.app.workersPerPlan"),
    (
        azure(
            secondLocation="westus",
            app={**AZURE["app"], "sku": "P1v3", "workersPerPlan": 2, "zoneRedundant": True},
        ),
        "relevo:azure.app.zoneRedundant is true, but westus has no availability zones; take another region",
    ),
    (app(sku="B1", workersPerPlan=4), "relevo:azure.app.workersPerPlan is 4, but B1 accepts 1 to 3;"),
    (app(plans="one"), 'relevo:azure.app.plans is "one", but each or shared is accepted;'),
    (
        app(slots=2),
        "relevo:azure.app.slots is not a key, but instances are rolled one after the other, without slots "
        "(Basic has none); remove it.",
    ),
    (azure(jobs={"cores": 0.3}), "relevo:azure.jobs.cores is 0.3, but 0.25 to 4 in steps of 0.25"),
    *(
        (azure(cache={"sku": sku}), f"relevo:azure.cache.sku is {sku}, but only Balanced_B0, Balanced_B1,")
        for sku in ("Premium_P1", "Balanced_B2", "Balanced_B50", "MemoryOptimized_M5", "ComputeOptimized_X1")
    ),
    (azure(cache={"sku": "balanced_B5"}), "which one shard serves; did you mean Balanced_B5."),
    (azure(cache={"sku": ""}), 'relevo:azure.cache.sku is "", but text that is not empty is accepted;'),
    # Front Door
    (azure(frontDoor={"tier": "Classic"}), 'relevo:azure.frontDoor.tier is "Classic", but Standard or'),
    (
        azure(frontDoor={"tier": "Standard", "managedRules": True}),
        "relevo:azure.frontDoor.managedRules is not a key, but they come with the tier Premium, and Standard "
        "has none; set tier.",
    ),
    (
        azure(frontDoor={"tier": "Standard", "privateLink": True}),
        "relevo:azure.frontDoor.privateLink is not a key, but sites take requests of this Front Door by its "
        "id instead (Private Link needs Premium); remove it.",
    ),
    (azure(frontDoor={"tier": "Premium", "domain": "https://x.org"}), "relevo:azure.frontDoor.domain is"),
    (azure(frontDoor={"tier": "Premium", "rateLimit": 5}), "relevo:azure.frontDoor.rateLimit is 5, but"),
    ({"instances": 10}, "relevo:instances is 10, but Front Door Standard has endpoints for 9;"),
    ({"instances": 25, **azure(frontDoor={"tier": "Premium"})}, "relevo:instances is 25, but Front Door"),
    # connections and memory
    (
        {"app": {**APP, "workers": 8, "threads": 16}, **database(**BURSTABLE | {"sku": "Standard_B1ms"})},
        "max_connections of Standard_B1ms is 50, but 2 instances of 8 workers with 16 threads need",
    ),
    # variables of the platform
    (variable("x", "WEBSITES_PORT"), "relevo:app.environment.WEBSITES_PORT is set by Azure or by the target"),
    (variable("x", "AZURE_CLIENT_ID"), "relevo:app.environment.AZURE_CLIENT_ID is set by Azure or by the"),
    (
        variable("x", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"),
        "relevo:app.environment.APPLICATIONINSIGHTS_AUTHENTICATION_STRING is set by Azure or by the target",
    ),
    (variable("x", "PORT"), "relevo:app.environment.PORT is set by Azure or by the target itself; choose"),
    # secrets stay references
    (
        variable("postgres://app:{database.password}@x"),
        "relevo:app.environment.X mixes {database.password} with other text, but only a secret alone",
    ),
    (variable("{secret.SECRET_KEY}!"), "relevo:app.environment.X mixes {secret.SECRET_KEY} with other text"),
    (variable("{insights.connection};x=1"), "relevo:app.environment.X mixes {insights.connection} with"),
    (variable("{cache.url}?x=1"), "relevo:app.environment.X mixes {cache.url} with other text"),
    (
        {"secrets": {"SECRET_KEY": {}, "CACHE_URL": {}}},
        "relevo:secrets.CACHE_URL is cache-url in the vault, which the stack itself has; rename it.",
    ),
    # rotation
    (database(**BURSTABLE | {"login": "c"}), 'relevo:azure.database.login is "c", but a or b is accepted'),
    (
        azure(cache={"sku": "Balanced_B0", "key": "first"}),
        'relevo:azure.cache.key is "first", but primary or',
    ),
    (
        {"database": {"user": "u" * 62}},
        f"relevo:database.user is {'u' * 62}, but a name of at most 61 letters is accepted",
    ),
    # times
    (
        {"limits": {}},
        "relevo:limits.readySeconds is 60, but Azure itself may take 230 s; set it to 230 or more.",
    ),
    (
        {"limits": {"readySeconds": 600}},
        "relevo:limits.drainSeconds is 30, but Azure itself may take 1200 s;",
    ),
    (azure(jobs={"dumpCron": "daily"}), 'relevo:azure.jobs.dumpCron is "daily", but five fields such as'),
    *(
        (
            azure(jobs={"dumpCron": cron}),
            f'relevo:azure.jobs.dumpCron is "{cron}", but its {field}, as 1, 1-5, */2 or a list',
        )
        for cron, field in (
            ("60 2 * * *", "minute accepts 0 to 59"),
            ("*/0 2 * * *", "minute accepts 0 to 59"),
            ("1,,2 2 * * *", "minute accepts 0 to 59"),
            ("30-10 2 * * *", "minute accepts 0 to 59"),
            ("17 24 * * *", "hour accepts 0 to 23"),
            ("17 2 0 * *", "day of the month accepts 1 to 31"),
            ("17 2 1-32 * *", "day of the month accepts 1 to 31"),
            ("17 2 * 13 *", "month accepts 1 to 12"),
            ("17 2 * * 7", "day of the week accepts 0 to 6"),
            ("17 2 * * **", "day of the week accepts 0 to 6"),
        )
    ),
    (azure(jobs={"dumpCron": "17 2 * *"}), 'relevo:azure.jobs.dumpCron is "17 2 * *", but five fields such'),
    (azure(jobs={"dumpCron": "0 17 2 * * *"}), "but five fields such as 17 2 * * * is accepted;"),
    # watching
    (azure(monitoring={"retentionDays": 7}), "relevo:azure.monitoring.retentionDays is 7, but a number of"),
    (azure(monitoring={"emails": ["team"]}), 'relevo:azure.monitoring.emails[0] is "team", but an address'),
]


@pytest.mark.parametrize(("changes", "expected"), HOSTILE, ids=[expected[:60] for _, expected in HOSTILE])
def test_what_azure_would_refuse_gets_one_line_with_key_fault_and_remedy(
    changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(changes)
    message = str(caught.value)
    assert expected in message
    assert re.fullmatch(r"(relevo:|max_connections)[^\n]+; [^\n]+\.", message), "one line, with a remedy"


@pytest.mark.parametrize(
    "cron", ["17 2 * * *", "0,30 0-23/2 1-31 1,12 0-6", "*/15 */6 * * 1-5", "59 23 31 12 6"]
)
def test_what_cron_understands_is_accepted(cron: str) -> None:
    settings = parsed(azure(jobs={"dumpCron": cron}))
    assert settings.azure is not None
    assert settings.azure.jobs.dump_cron == cron


def test_a_small_stack_is_accepted() -> None:
    settings = parsed({**azure(database=BURSTABLE, app={"sku": "B1", "plans": "shared"}), "instances": 3})
    assert settings.azure is not None
    assert settings.azure.database.on_demand_backup is False


def test_secrets_alone_and_text_without_secrets_are_accepted() -> None:
    environment = {"A": "{cache.url}", "B": "https://{public.host}/{{x}}", "C": "{database.host}:5432"}
    settings = parsed({"app": {**APP, "environment": {**APP["environment"], **environment}}})
    assert settings.app.environment["B"] == "https://{public.host}/{{x}}"


def test_ranges_that_overlap_are_refused_only_where_there_are_two_networks() -> None:
    """The default of the one may lie in a range that somebody gives the other."""
    settings = parsed(azure(addressSpace="10.40.0.0/16"))
    assert settings.azure is not None
    assert settings.azure.locations == ("westeurope",)


def test_a_shared_plan_serves_the_instances_of_its_region_alone() -> None:
    """With a plan in each of two regions, an instance gets as many workers as on a plan of its own."""
    sized = {
        (kind, second): capacity(settings, settings.azure).workers
        for kind in ("each", "shared")
        for second in (None, "northeurope")
        if (settings := parsed(azure(app={"sku": "P1v3", "plans": kind}, secondLocation=second))).azure
    }
    assert sized["each", None] == sized["each", "northeurope"] == sized["shared", "northeurope"]
    assert sized["shared", None] < sized["shared", "northeurope"]
