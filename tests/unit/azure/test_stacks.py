"""The committed stacks as the engine gets them: what is made, what waits, and what the release knows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.azure import availability, database_server, origins, revisions
from components.azure.environment import Reference, process_environment
from components.target import Deployment, Target, TargetError, load_operations
from stacks import azure
from stacks.release import release_spec
from stacks.settings import Settings, SettingsError, load_file
from tests.unit.azure.stand_in import StandInEngine

ROOT = Path(__file__).parents[3]
SUBSCRIPTION, TENANT = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
DIGEST = "sha256:" + "0" * 64
JOBS = ("jobs-manage", "jobs-backup", "jobs-dump", "jobs-review")
SINCE = 1_800_000_000
# How many resources of a type each stack has, where it is not the same in all: dev, qa, prod.
DIFFERING = {
    "authorization:ManagementLockByScope": (0, 0, 4),
    "cdn:AFDEndpoint": (3, 3, 4),
    "cdn:AFDOrigin": (4, 4, 6),
    "cdn:AFDOriginGroup": (3, 3, 4),
    "cdn:Route": (4, 4, 5),
    "monitor:DiagnosticSetting": (18, 19, 21),
    "web:AppServicePlan": (1, 2, 3),
    "web:WebApp": (2, 2, 3),
    "web:WebAppDiagnosticLogsConfiguration": (2, 2, 3),
    "web:WebAppFtpAllowed": (2, 2, 3),
    "web:WebAppScmAllowed": (2, 2, 3),
}
CORES = {"dev": "0.5", "qa": "1", "prod": "2"}  # of a job
SAME = 113  # of all other types, in each stack
PREMIUM_RULES = [
    {"ruleSetType": "Microsoft_DefaultRuleSet", "ruleSetVersion": "2.2", "ruleSetAction": "Block"},
    {"ruleSetType": "Microsoft_BotManagerRuleSet", "ruleSetVersion": "1.1", "ruleSetAction": "Block"},
]
# (Pulumi name, path of an input) → what dev, qa and prod ask of Azure. None: nothing.
SIZES: Mapping[tuple[str, str], tuple[Any, Any, Any]] = {
    ("group", "location"): ("westeurope", "westeurope", "westeurope"),
    ("group", "tags.costCentre"): ("development", "quality", "operations"),
    ("network-vnet", "addressSpace.addressPrefixes"): (["10.40.0.0/22"], ["10.41.0.0/22"], ["10.42.0.0/22"]),
    ("database-server", "sku"): (
        {"name": "Standard_B2s", "tier": "Burstable"},
        {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"},
        {"name": "Standard_D4ds_v5", "tier": "GeneralPurpose"},
    ),
    ("database-server", "storage.storageSizeGB"): (32, 64, 128),
    ("database-server", "version"): ("17", "17", "17"),
    ("database-server", "availabilityZone"): ("1", "1", "1"),
    ("database-server", "highAvailability"): (
        {"mode": "Disabled", "standbyAvailabilityZone": ""},
        {"mode": "SameZone", "standbyAvailabilityZone": "1"},
        {"mode": "ZoneRedundant", "standbyAvailabilityZone": "2"},
    ),
    ("database-server", "backup"): (
        {"backupRetentionDays": 7, "geoRedundantBackup": "Disabled"},
        {"backupRetentionDays": 14, "geoRedundantBackup": "Disabled"},
        {"backupRetentionDays": 35, "geoRedundantBackup": "Enabled"},
    ),
    ("storage-account", "sku.name"): ("Standard_LRS", "Standard_ZRS", "Standard_GZRS"),
    ("storage-blobs", "deleteRetentionPolicy.days"): (7, 14, 35),
    ("storage-blobs", "containerDeleteRetentionPolicy.days"): (7, 14, 35),
    ("storage-blobs", "restorePolicy.days"): (6, 13, 34),
    ("storage-backups-immutable", "immutabilityPeriodSinceCreationInDays"): (7, 14, 35),
    ("storage-logbook-immutable", "immutabilityPeriodSinceCreationInDays"): (7, 14, 35),
    (
        "storage-lifecycle",
        "policy.rules.0.definition.actions.baseBlob.delete.daysAfterModificationGreaterThan",
    ): (30, 90, 365),
    ("cache-cluster", "sku.name"): ("Balanced_B0", "Balanced_B1", "Balanced_B5"),
    ("cache-cluster", "highAvailability"): ("Disabled", "Enabled", "Enabled"),
    ("app-plan-westeurope", "sku"): ({"name": "B1", "tier": "Basic", "capacity": 1}, None, None),
    ("app-plan-westeurope", "zoneRedundant"): (False, None, None),
    **{
        (f"app-plan-instance-{number}", path): (None, qa if number < 3 else None, prod)
        for number in (1, 2, 3)
        for path, qa, prod in (
            (
                "sku",
                {"name": "P0v3", "tier": "PremiumV3", "capacity": 1},
                {"name": "P1v3", "tier": "PremiumV3", "capacity": 2},
            ),
            ("zoneRedundant", False, True),
        )
    },
    ("jobs-environment", "zoneRedundant"): (False, False, True),
    **{
        (job, "template.containers.0.resources"): (
            {"cpu": 0.5, "memory": "1.0Gi"},
            {"cpu": 1, "memory": "2.0Gi"},
            {"cpu": 2, "memory": "4.0Gi"},
        )
        for job in JOBS
    },
    ("front-door-profile", "sku.name"): (
        "Standard_AzureFrontDoor",
        "Premium_AzureFrontDoor",
        "Premium_AzureFrontDoor",
    ),
    ("edge-waf", "policySettings.mode"): ("Prevention", "Prevention", "Prevention"),
    ("edge-waf", "customRules.rules.0.rateLimitThreshold"): (1000, 1000, 1000),
    ("edge-waf", "managedRules.managedRuleSets"): (None, PREMIUM_RULES, PREMIUM_RULES),
    ("edge-waf-verify", "policySettings.mode"): ("Prevention", "Prevention", "Prevention"),
    ("registry-registry", "policies.exportPolicy.status"): ("enabled", "enabled", "disabled"),
    ("logs-workspace", "retentionInDays"): (30, 30, 90),
    ("logs-workspace", "workspaceCapping"): ({"dailyQuotaGb": 1}, {"dailyQuotaGb": 5}, None),
    ("monitoring-people", "emailReceivers.0.emailAddress"): (
        None,
        "qa@example.org",
        "operations@example.org",
    ),
    ("monitoring-database-connections", "criteria.allOf.0.threshold"): (343, 687, 1374),
    **{
        (f"{name}-lock", "lockName"): (None, None, "relevo-keep")
        for name in ("registry", "vault", "storage", "database-role")
    },
}
DATA = (  # Pulumi names of what holds data
    "database-server",
    "database-role-database",
    "vault-vault",
    "storage-account",
    "storage-media",
    "storage-backups",
    "storage-logbook",
    "registry-registry",
    "group",
)


def settings_of(stack: str, **changed: Any) -> Settings:
    image = f"crprestamos{stack}.azurecr.io/prestamos@{DIGEST}"
    return load_file(ROOT / f"Pulumi.{stack}.yaml").model_copy(update={"image": image, **changed})


def stand_in() -> StandInEngine:
    engine = StandInEngine()
    generated = {"value": "made once", "since": SINCE}
    names = ("relevo-verify", "secret-key", "jwt-signing-key", "smoke-password")
    engine.outputs = {
        **{f"vault-{name}-value": generated for name in names},
        "database-administrator-value": generated,
        **{f"database-password-{login}-value": generated for login in ("a", "b")},
        "cache-key": {"since": SINCE},
        "logs-insights": {
            "creationDate": "2026-11-24T18:00:00+00:00",
            "connectionString": "InstrumentationKey=1",
        },
        "logs-workspace": {"customerId": "workspace-customer"},
        "front-door-profile": {"frontDoorId": "front-door-guid"},
        "edge-public": {"hostName": "fde-public.z01.azurefd.net"},
        **{
            f"edge-verify-instance-{number}": {"hostName": f"fde-verify-{number}.z01.azurefd.net"}
            for number in (1, 2, 3, 4)
        },
        **{
            f"{role}-identity-identity": {"clientId": f"{role}-client", "principalId": f"{role}-principal"}
            for role in ("app", "jobs", "review")
        },
    }
    # What Azure answers of an identity is a map, what it is asked for is a list.
    for name in (*(f"app-instance-{number}" for number in (1, 2, 3, 4)), *JOBS, "app-worker"):
        engine.outputs[name] = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {}}}
    engine.answers = {
        "authorization:getClientConfig": {
            "clientId": "",
            "objectId": "",
            "subscriptionId": SUBSCRIPTION,
            "tenantId": TENANT,
        },
        "keyvault:getSecret": lambda asked: {
            "properties": {"secretUri": "", "secretUriWithVersion": f"https://kv/{asked['secretName']}/v1"}
        },
        "redisenterprise:listDatabaseKeys": {"primaryKey": "a key", "secondaryKey": "another"},
    }
    return engine


@dataclass
class Built:
    engine: StandInEngine
    target: Target
    facts: dict[str, Any]
    asked: list[Any]  # what ARM would have been asked before anything was made

    def inputs(self, type_: str) -> list[dict[str, Any]]:
        return [self.engine.plain(name) for name in self.engine.of_type(type_)]

    def before(self, first: str, then: str) -> bool:
        made = list(self.engine.made)
        return made.index(first) < made.index(then)


def build(
    stack: str,
    engine: StandInEngine,
    in_rotation: Mapping[str, origins.Found] | None = None,
    **changed: Any,
) -> Built:
    asked: list[Any] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(availability, "refuse_taken", lambda *named, **where: asked.append((*named, where)))
        patched.setattr(origins, "found", lambda names, **where: in_rotation or {})
        patched.setattr(revisions, "found", lambda names, group, **where: {})
        patched.setattr(database_server, "found", lambda names, **where: None)
        target = engine.build(lambda: azure.compose(stack, ROOT, settings_of(stack, **changed)))
    return Built(engine, target, engine.value(target.facts), asked)


@pytest.fixture(scope="module", params=["dev", "qa", "prod"])
def built(request: pytest.FixtureRequest) -> Built:
    return build(request.param, stand_in())


def test_every_part_is_made_once(built: Built) -> None:
    index = ("dev", "qa", "prod").index(built.target.stack)
    made = Counter(made.type.removeprefix("azure-native:") for made in built.engine.made.values())
    assert {type_: made.pop(type_, 0) for type_ in DIFFERING} == {
        type_: counts[index] for type_, counts in DIFFERING.items()
    }
    assert sum(made.values()) == SAME, made


def _input(inputs: Any, path: str) -> Any:
    """At a path such as rules.0.name. None: nothing is there."""
    for part in path.split("."):
        if isinstance(inputs, list):
            inputs = dict(enumerate(inputs)).get(int(part))
        else:
            inputs = (inputs or {}).get(part)
    return inputs


def test_each_stack_asks_for_its_own_sizes(built: Built) -> None:
    """What Pulumi.<stack>.yaml says arrives at Azure, and is not one component's idea of it."""
    index = ("dev", "qa", "prod").index(built.target.stack)
    found = {
        (name, path): _input(built.engine.plain(name) if name in built.engine.made else None, path)
        for name, path in SIZES
    }
    assert found == {where: sizes[index] for where, sizes in SIZES.items()}


def test_all_is_in_the_stacks_region_and_says_whose_it_is(built: Built) -> None:
    tags = built.engine.plain("group")["tags"]
    assert tags.keys() == {"workload", "stack", "costCentre"}
    assert (tags["workload"], tags["stack"]) == ("prestamos", built.target.stack)
    for name, made in built.engine.made.items():
        assert made.inputs.get("location", "global").lower() in {"westeurope", "global"}, name
        if "tags" in made.inputs:  # not every type has them; the policy pack knows which
            assert made.inputs["tags"].items() >= tags.items(), name


def test_whoever_runs_has_its_roles_and_secrets_before_it_starts(built: Built) -> None:
    for first in (
        "app-identity-pulls",
        "app-identity-writes-media",
        "app-identity-sends",
        "jobs-identity-writes-backups",
        "vault-app-reads",
        "vault-jobs-reads",
        "vault-secret-key",
        "database-url-a",
        "cache-url",
        "logs-insights-connection",
    ):
        for then in ("app-instance-1", "jobs-manage"):
            assert built.before(first, then), (first, then)


def test_each_identity_writes_where_it_must_and_nowhere_else(built: Built) -> None:
    writers = {
        (grant["principalId"], grant["scope"])
        for grant in built.inputs("authorization:RoleAssignment")
        if grant["scope"].startswith("storage-")
    }
    assert writers == {
        ("app-principal", "storage-media-id"),
        ("jobs-principal", "storage-media-id"),
        ("jobs-principal", "storage-backups-id"),
        ("jobs-principal", "storage-logbook-lock-id"),
        ("review-principal", "storage-logbook-id"),
        ("review-principal", "storage-logbook-pages-id"),
    }


def test_application_insights_takes_telemetry_of_processes_and_jobs(built: Built) -> None:
    """It takes no key, so nothing would arrive without the role."""
    senders = {
        (grant["principalId"], grant["roleDefinitionId"].rpartition("/")[2])
        for grant in built.inputs("authorization:RoleAssignment")
        if grant["scope"] == "logs-insights-id"
    }
    assert senders == {
        (f"{role}-principal", "3913510d-42f4-4e42-8a64-420c390055eb") for role in ("app", "jobs")
    }


def test_the_jobs_administer_the_database(built: Built) -> None:
    (administrator,) = built.inputs("dbforpostgresql:AdministratorsMicrosoftEntra")
    assert administrator["objectId"] == "jobs-principal"
    assert administrator["principalName"] == f"id-prestamos-{built.target.stack}-jobs"


def test_the_application_has_its_database_before_anything_is_released(built: Built) -> None:
    for first in ("jobs-manage", "database-administrator-jobs", "database-password-a", "database-password-b"):
        assert built.before(first, "database-role-database"), first
    assert "database-role" in {resource.pulumi_resource_name for resource in built.target.ready}


def test_front_door_leads_to_each_site_and_the_sites_let_only_it_in(built: Built) -> None:
    stack = built.target.stack
    hosts = {f"app-prestamos-{stack}-{name}.azurewebsites.net" for name in built.target.instances}
    assert {origin["hostName"] for origin in built.inputs("cdn:AFDOrigin")} == hosts
    for site in built.inputs("web:WebApp"):
        (rule,) = site["siteConfig"]["ipSecurityRestrictions"]
        assert rule["headers"] == {"x-azure-fdid": ["front-door-guid"]}
        assert site["virtualNetworkSubnetId"] == "network-app-id"


def test_no_job_has_a_secret_and_its_identity_may_read_them(built: Built) -> None:
    """Container Apps may fail to read them for a job: each execution does it itself."""
    for job in built.inputs("app:Job"):
        assert "secrets" not in job["configuration"]
    readers = [
        (grant["principalId"], grant["roleDefinitionId"].rpartition("/")[2])
        for grant in built.inputs("authorization:RoleAssignment")
        if grant["scope"] == "vault-vault-id"
    ]
    assert sorted(readers) == [
        (f"{role}-principal", "4633458b-17de-408a-b874-0445c86b69e6") for role in ("app", "jobs", "review")
    ]


def test_the_scheduled_dump_runs_the_pinned_artefact(built: Built) -> None:
    job = built.engine.plain("jobs-dump")
    (container,) = job["template"]["containers"]
    assert container["image"] == built.facts["image"]
    assert {variable["name"]: variable.get("value") for variable in container["env"]} == {
        "AZURE_CLIENT_ID": "jobs-client",
        "PGHOST": f"psql-prestamos-{built.target.stack}.postgres.database.azure.com",
        "PGPORT": "5432",
        "PGDATABASE": "app",
        "PGUSER": f"id-prestamos-{built.target.stack}-jobs",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/ssl/certs/ca-certificates.crt",
        "RELEVO_CORES": CORES[built.target.stack],
        "RELEVO_BLOBS": f"stprestamos{built.target.stack}.blob.core.windows.net",
        "RELEVO_BACKUPS": "backups",
        "RELEVO_MEDIA": "media",
    }


def test_the_scheduled_review_runs_the_pinned_artefact(built: Built) -> None:
    (container,) = built.engine.plain("jobs-review")["template"]["containers"]
    assert container["image"] == built.facts["image"]
    assert {variable["name"]: variable.get("value") for variable in container["env"]} == {
        "AZURE_CLIENT_ID": "review-client",
        "RELEVO_CORES": CORES[built.target.stack],
        "RELEVO_BLOBS": f"stprestamos{built.target.stack}.blob.core.windows.net",
        "RELEVO_LOGBOOK": "logbook",
    }


def test_a_stack_without_volumes_has_no_review() -> None:
    built = build("qa", stand_in(), review=None)
    assert not any("review" in name for name in built.engine.made if name != "monitoring-review")


def test_what_holds_data_is_guarded_in_prod_alone(built: Built) -> None:
    guarded = {name for name in DATA if built.engine.made[name].guarded}
    assert guarded == (set(DATA) if built.target.stack == "prod" else set())


def test_the_names_are_asked_for_where_the_login_is(built: Built) -> None:
    ((names, web_apps, where),) = built.asked
    assert names.of("kv") == f"kv-prestamos-{built.target.stack}"
    assert sorted(web_apps) == sorted(each["name"] for each in built.inputs("web:WebApp"))
    assert where == {"subscription": SUBSCRIPTION, "resource_manager": "https://management.azure.com"}


def test_the_release_gets_facts_without_secrets_and_can_act_on_them(built: Built) -> None:
    text = json.dumps(built.facts)
    assert "made once" not in text
    assert "a key" not in text
    operations = load_operations(built.target.operations, built.facts)
    assert operations.public_url == "https://fde-public.z01.azurefd.net"
    assert operations.database().host == f"psql-prestamos-{built.target.stack}.postgres.database.azure.com"
    assert built.facts["sites"]["instance-2"] == {
        "name": f"app-prestamos-{built.target.stack}-instance-2",
        "host": f"app-prestamos-{built.target.stack}-instance-2.azurewebsites.net",
        "verify_url": "https://fde-verify-2.z01.azurefd.net",
    }
    assert built.facts["identity"]["jobs"] == {"id": "jobs-identity-identity-id", "client_id": "jobs-client"}
    assert built.facts["secret_versions"] == {
        **dict.fromkeys(("SECRET_KEY", "JWT_SIGNING_KEY", "SMOKE_PASSWORD"), "v1"),
        # Whose rotation takes a restart as well.
        **dict.fromkeys(("database-url-a", "cache-url", "insights-connection-string"), "v7"),
    }


def test_a_process_finds_hosts_in_text_and_secrets_as_references(built: Built) -> None:
    deployment = Deployment(image=built.facts["image"], version="v1", release="r1")
    found = process_environment(built.facts, process="web", name="instance-1", deployment=deployment)
    site = f"app-prestamos-{built.target.stack}-instance-1.azurewebsites.net"
    assert found["ALLOWED_HOSTS"] == f"fde-public.z01.azurefd.net,{site},fde-verify-1.z01.azurefd.net"
    assert found["DATABASE_URL"] == Reference("database-url-a")
    assert found["SECRET_KEY"] == Reference("secret-key")
    telemetry = None if built.target.stack == "dev" else Reference("insights-connection-string")
    assert found.get("APPLICATIONINSIGHTS_CONNECTION_STRING") == telemetry


def test_workers_and_threads_fit_the_connections_of_the_database(built: Built) -> None:
    app, sites = built.facts["app"], built.inputs("web:WebApp")
    workers = max(plan["sku"]["capacity"] for plan in built.inputs("web:AppServicePlan"))
    limit = {"dev": 429, "qa": 859, "prod": 1718}[built.target.stack]
    assert 0 < len(sites) * workers * app["workers"] * app["threads"] < limit


def test_an_instance_is_led_to_as_it_was_and_a_new_one_not_before_its_roll() -> None:
    """An update of an origin sends its state too: any other than the true one would undo a roll."""
    host = "app-prestamos-qa-instance-{}.azurewebsites.net".format
    found = {
        "instance-1": origins.Found(host=host(1), state="Disabled"),
        "instance-2": origins.Found(host=host(2), state="Enabled"),
    }
    built = build("qa", stand_in(), in_rotation=found, instances=3)
    states = {
        number: built.engine.made[f"edge-origin-instance-{number}"].inputs["enabledState"]
        for number in (1, 2, 3)
    }
    assert states == {1: "Disabled", 2: "Enabled", 3: "Disabled"}


def test_an_image_that_the_up_builds_is_what_runs_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".relevo" / "artefacts" / f"app@{DIGEST}" / "image"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps({"tag": "v2", "arguments": {}}))
    monkeypatch.setattr(availability, "refuse_taken", lambda *named, **where: None)
    monkeypatch.setattr(origins, "found", lambda names, **where: {})
    monkeypatch.setattr(revisions, "found", lambda names, group, **where: {})
    monkeypatch.setattr(database_server, "found", lambda names, **where: None)
    engine = stand_in()
    image = f"crprestamosdev.azurecr.io/prestamos@sha256:{7:064d}"
    engine.outputs["image-image"] = {"repoDigest": image}
    target = engine.build(
        lambda: azure.compose(
            "dev", tmp_path, settings_of("dev").model_copy(update={"image": f"app@{DIGEST}"})
        )
    )
    assert target.image is not None
    assert engine.value(target.image) == image
    assert engine.value(target.facts)["image"] == image
    assert engine.made["database-role-database"].inputs["image"] == image
    (container,) = engine.plain("jobs-dump")["template"]["containers"]
    assert container["image"] == image
    assert engine.made["image-image"].inputs["imageName"] == "crprestamosdev.azurecr.io/prestamos:v2"
    made = list(engine.made)
    assert made.index("registry-registry") < made.index("image-image") < made.index("database-role-database")


def test_an_artefact_of_which_no_image_is_prepared_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    engine = stand_in()
    settings = settings_of("dev").model_copy(update={"image": f"app@{DIGEST}"})
    with pytest.raises(TargetError, match=r"but nothing is prepared to build its image from; pin it"):
        engine.build(lambda: azure.compose("dev", tmp_path, settings))
    assert engine.made == {}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"image": f"app@{DIGEST}"},
            f"relevo:image is app@{DIGEST}, but crprestamosqa.azurecr.io/prestamos@",
        ),
        ({"image": f"crprestamosdev.azurecr.io/prestamos@{DIGEST}"}, "from this stack's registry;"),
        (
            {"subscription": "33333333-3333-3333-3333-333333333333"},
            "relevo:azure.subscription is 33333333-3333-3333-3333-333333333333, but the login's is 1111",
        ),
    ],
    ids=["local image", "image of dev", "subscription"],
)
def test_what_is_not_of_this_stack_is_refused_before_anything_is_made(
    changed: dict[str, Any], expected: str
) -> None:
    given = settings_of("qa").azure
    assert given is not None
    if "subscription" in changed:
        changed = {"azure": given.model_copy(update=changed)}
    engine = stand_in()
    with pytest.raises(SettingsError) as caught:
        build("qa", engine, **changed)
    assert expected in str(caught.value)
    assert engine.made == {}


def test_further_processes_are_container_apps_in_the_same_network() -> None:
    app = settings_of("dev").app
    worker = {
        "worker": {"command": ["python", "manage.py", "run_worker"], "environment": {"QUEUE": "default"}}
    }
    changed = type(app).model_validate({**app.model_dump(exclude={"probe", "build"}), "processes": worker})
    built = build("dev", stand_in(), app=changed)
    (process,) = built.inputs("app:ContainerApp")
    assert process["environmentId"] == "jobs-environment-id"
    assert built.target.processes == ("worker",)
    assert built.facts["sites"]["worker"] == {
        "name": "ca-prestamos-dev-worker",
        "host": None,
        "verify_url": None,
    }
    assert built.facts["processes"]["worker"]["environment"] == {"QUEUE": "default"}


def test_without_a_pin_everything_is_made_that_an_artefact_needs_and_nothing_is_released() -> None:
    built = build("prod", stand_in(), image=None)
    assert set(built.engine.of_type("app:Job")) == {"jobs-manage", "jobs-backup"}
    assert "registry-registry" in built.engine.made
    assert not [name for name in built.engine.made if name.startswith("database-role")]
    assert release_spec(settings_of("prod", image=None), ROOT) is None
    assert release_spec(settings_of("prod"), ROOT) is not None


@pytest.fixture(scope="module")
def two_regions() -> Built:
    given = settings_of("prod").azure
    assert given is not None
    changed = given.model_copy(update={"second_location": "northeurope"})
    return build("prod", stand_in(), azure=changed, instances=4)


def test_instances_of_two_regions_alternate_each_with_a_plan_and_a_subnet_there(two_regions: Built) -> None:
    sites = [two_regions.engine.plain(f"app-instance-{number}") for number in (1, 2, 3, 4)]
    assert [(site["location"], site["serverFarmId"], site["virtualNetworkSubnetId"]) for site in sites] == [
        ("westeurope", "app-plan-instance-1-id", "network-app-id"),
        ("northeurope", "app-plan-instance-2-id", "network-second-app-id"),
        ("westeurope", "app-plan-instance-3-id", "network-app-id"),
        ("northeurope", "app-plan-instance-4-id", "network-second-app-id"),
    ]
    plans = [two_regions.engine.plain(f"app-plan-instance-{number}") for number in (1, 2, 3, 4)]
    assert [plan["location"] for plan in plans] == [site["location"] for site in sites]


def test_an_instance_waits_until_its_region_reaches_the_data(two_regions: Built) -> None:
    assert {
        "network-peering",
        "network-second-peering",
        "network-database-zone-second-link",
        "network-vault-zone-second-link",
    } <= two_regions.engine.made["app-instance-2"].depends_on
    assert "network-peering" not in two_regions.engine.made["app-instance-1"].depends_on


def test_data_jobs_and_logs_stay_in_the_first_region(two_regions: Built) -> None:
    elsewhere = {
        made.type.removeprefix("azure-native:")
        for made in two_regions.engine.made.values()
        if made.inputs.get("location") == "northeurope"
    }
    assert elsewhere == {
        "network:NetworkSecurityGroup",
        "network:VirtualNetwork",
        "web:AppServicePlan",
        "web:WebApp",
    }


def test_front_door_takes_the_nearest_region_and_the_release_knows_where_each_instance_is(
    two_regions: Built,
) -> None:
    hosts = {
        name: f"app-prestamos-prod-{name}{'-northeurope' if name[-1] in '24' else ''}.azurewebsites.net"
        for name in two_regions.target.instances
    }
    for name, host in hosts.items():
        origin = two_regions.engine.plain(f"edge-origin-{name}")
        assert (origin["hostName"], origin["originHostHeader"], origin["priority"]) == (host, host, 1)
        assert two_regions.engine.plain(f"edge-verify-origin-{name}")["hostName"] == host
        assert two_regions.facts["sites"][name]["host"] == host
        assert two_regions.facts["sites"][name]["name"] == host.partition(".")[0]


def test_with_a_domain_of_ones_own_that_is_the_address_which_the_release_asks() -> None:
    given = settings_of("qa").azure
    assert given is not None
    front_door = given.front_door.model_copy(update={"domain": "loans.example.org"})
    engine = stand_in()
    engine.outputs["edge-domain"] = {"validationProperties": {"validationToken": "token"}}
    built = build("qa", engine, azure=given.model_copy(update={"front_door": front_door}))
    assert engine.value(built.target.public_url) == "https://loans.example.org"
    assert built.facts["public_host"] == "loans.example.org"
    assert engine.of_type("cdn:AFDCustomDomain").keys() == {"edge-domain"}
    asked = engine.plain("monitoring-certificate-test")["request"]["requestUrl"]
    assert asked == f"https://loans.example.org{settings_of('qa').app.probe.path}"
