"""A stack on Azure: its services composed, and what the release must know of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi_azure_native import authorization, resources

from components.azure import app as sites
from components.azure import availability, database_server, origins, revisions, sizing, storage
from components.azure.app import App, AppArgs, Region
from components.azure.cache import Cache, CacheArgs
from components.azure.database import Administrator, Database, DatabaseArgs
from components.azure.database_role import DatabaseRole, DatabaseRoleArgs
from components.azure.edge import Edge, EdgeArgs, EdgeProbe, FrontDoor, FrontDoorArgs, Origin
from components.azure.identity import Identity, IdentityArgs, Role, grant
from components.azure.image import scheduled_dump, scheduled_review
from components.azure.image_build import ImageBuild, ImageBuildArgs
from components.azure.jobs import DUMP, REVIEW, Jobs, JobsArgs, Scheduled
from components.azure.logins import url_secret
from components.azure.monitoring import Logs, LogsArgs, Monitoring, MonitoringArgs
from components.azure.naming import Names
from components.azure.network import Network, NetworkArgs, Second
from components.azure.place import Place
from components.azure.registry import Registry, RegistryArgs, repository
from components.azure.secret_names import CACHE_URL, INSIGHTS
from components.azure.storage import Storage, StorageArgs
from components.azure.vault import Vault, VaultArgs, stored_version
from components.target import Target
from stacks import azure_facts
from stacks.azure_settings import AzureSection
from stacks.folders import store_folder
from stacks.settings import Settings, SettingsError

ARTEFACT = "app@"  # begins the name of one in the store
OPERATIONS = "components.azure.operations:AzureOperations"
# The containers into which an identity writes: the project's media, the jobs' dumps and logs, and what the
# review has to say. That runs by itself, and no other code in the network may write the record.
WRITES = {
    "app": (storage.MEDIA,),
    "jobs": (storage.MEDIA, storage.BACKUPS, storage.LOCK),
    REVIEW: (storage.LOGBOOK, storage.PAGES),
}
REVIEW_CRON = "41 * * * *"


def compose(stack: str, root: Path, settings: Settings) -> Target:
    """Raises `TargetError` and `SettingsError` before anything is made.

    A second region has instances alone; all that they use, data and the further processes, is in the first.
    """
    azure = settings.azure
    assert azure is not None, "the settings have it where target is azure"
    names = Names(azure.name, stack)
    image: pulumi.Input[str] | None = pinned(settings, names)
    to_build = prepared(root, settings, names)
    login = _login(azure)
    asked: dict[str, Any] = {
        "subscription": login.subscription_id,
        "resource_manager": azure.resource_manager,
    }
    availability.refuse_taken(names, _web_apps(settings, azure, names), **asked)
    in_rotation = origins.found(names, **asked)
    apps = {process: sites.process_name(names, process) for process in settings.app.processes}
    running = revisions.found(apps, names.of("rg"), **asked)
    server = database_server.found(names, **asked)
    place = _place(names, azure, login)
    known = azure_facts.known(stack, settings, place)
    instances, processes = settings.instance_names, tuple(settings.app.processes)

    logs = Logs(
        "logs",
        LogsArgs(
            place=place,
            retention_days=azure.monitoring.retention_days,
            daily_cap_gb=azure.monitoring.daily_cap_gb,
        ),
    )
    network = Network(
        "network",
        NetworkArgs(
            place=place,
            address_space=azure.address_space,
            workspace_id=logs.workspace_id,
            second=(
                Second(location=azure.second_location, address_space=azure.second_address_space)
                if azure.second_location
                else None
            ),
        ),
    )
    inside: dict[str, Any] = {
        "place": place,
        "endpoints_subnet_id": network.endpoints_subnet_id,
        "workspace_id": logs.workspace_id,
    }
    identities = {
        role: Identity(f"{role}-identity", IdentityArgs(place=place, role=role))
        for role in ("app", "jobs", *((REVIEW,) if settings.review else ()))
    }
    registry = Registry("registry", RegistryArgs(**inside, zone_id=network.zone("registry")))
    built = None
    if to_build is not None:
        after_registry = pulumi.ResourceOptions(depends_on=[registry])
        image = built = ImageBuild("image", to_build, after_registry).reference
    vault = Vault(
        "vault",
        VaultArgs(
            **inside,
            zone_id=network.zone("vault"),
            secrets={name: secret.generate for name, secret in settings.secrets.items()},
            expiry_days=azure.vault.expiry_days,
            readers={role: identity.principal_id for role, identity in identities.items()},
        ),
    )
    blobs = Storage(
        "storage", StorageArgs(**inside, zone_id=network.zone("blob"), **azure.storage.model_dump())
    )
    granted = [
        granted
        for role, identity in identities.items()
        for granted in _grants(role, identity, place, registry, blobs)
    ]
    granted += [
        grant(
            identity,
            f"{role}-identity-sends",
            place,
            principal=identity.principal_id,
            role="Monitoring Metrics Publisher",  # of logs and traces as well, whatever its name
            scope=logs.insights_id,
        )
        for role, identity in identities.items()
        if role != REVIEW  # the project's code in it gets no token
    ]
    db = Database(
        "database",
        DatabaseArgs(
            place=place,
            sku=azure.database.sku,
            storage_gb=azure.database.storage_gb,
            version=azure.database.version,
            ha=azure.database.high_availability,
            zone=azure.database.zone,
            geo_backup=azure.database.geo_backup,
            retention_days=azure.database.retention_days,
            name=settings.database.name,
            user=settings.database.user,
            login=azure.database.login,
            administrators=_administrators(azure, names, identities["jobs"]),
            max_connections=None,
            subnet_id=network.database_subnet_id,
            zone_id=network.database_zone_id,
            workspace_id=logs.workspace_id,
            vault=vault,
            server=server,
        ),
    )
    cache = Cache(
        "cache",
        CacheArgs(**inside, zone_id=network.zone("cache"), vault=vault, **azure.cache.model_dump()),
    )
    front_door = FrontDoor(
        "front-door",
        FrontDoorArgs(place=place, tier=azure.front_door.tier, workspace_id=logs.workspace_id),
    )
    insights = vault.store(
        logs,
        "logs-insights-connection",
        INSIGHTS,
        logs.connection_string,
        since=logs.created,
        rotation="a new Application Insights; it holds no credential, as only identities may send",
    )
    # Whoever runs has its secrets, and the roles to read them, before it starts.
    readable = pulumi.ResourceOptions(depends_on=[vault, db, cache, insights, *granted])
    jobs = Jobs(
        "jobs",
        JobsArgs(
            place=place,
            subnet_id=network.jobs_subnet_id,
            zone_redundant=azure.app.zone_redundant,
            identity_id=identities["jobs"].id,
            registry=registry.login_server,
            timeout_seconds=int(settings.limits.command_seconds),
            workspace_id=logs.workspace_id,
            cores=azure.jobs.cores,
            scheduled=_scheduled(azure, known, image, identities),
        ),
        readable,
    )
    app = App(
        "app",
        AppArgs(
            place=place,
            sku=azure.app.sku,
            workers=azure.app.workers_per_plan,
            zone_redundant=azure.app.zone_redundant,
            shared_plan=azure.app.plans == "shared",
            instances=sites.spread(
                instances,
                [
                    Region(location=location, subnet_id=subnet)
                    for location, subnet in network.app_subnet_ids.items()
                ],
            ),
            identity_id=identities["app"].id,
            identity_client_id=identities["app"].client_id,
            registry=registry.login_server,
            front_door_id=front_door.front_door_id,
            workspace_id=logs.workspace_id,
            environment_id=jobs.environment_id,
            processes=processes,
            process_cores=azure.app.process_cores,
            running=running,
        ),
        readable,
    )
    edge = Edge(
        "edge",
        EdgeArgs(
            place=place,
            tier=azure.front_door.tier,
            profile_name=front_door.profile_name,
            # Of one priority: a request goes to the nearest region that is healthy.
            origins={
                name: Origin(host=app.site_hosts[name], site=app.sites[name], state=state)
                for name, state in origins.states(app.site_hosts, in_rotation).items()
            },
            probe=EdgeProbe(path=settings.app.probe.path),
            rate_limit=azure.front_door.rate_limit,
            verify_value=vault.verify_value,
            custom_domain=azure.front_door.domain,
        ),
        pulumi.ResourceOptions(depends_on=[app]),
    )
    monitoring = Monitoring(
        "monitoring",
        MonitoringArgs(
            place=place,
            workspace_id=logs.workspace_id,
            front_door_id=front_door.id,
            endpoint_host=edge.endpoint_host,
            database_id=db.server_id,
            max_connections=sizing.server_size(azure.database.sku).max_connections,
            emails=azure.monitoring.emails,
            insights_id=logs.insights_id,
            domain=azure.front_door.domain,
            probe_path=settings.app.probe.path,
            probe_status=settings.app.probe.status,
        ),
    )
    ready: list[pulumi.Resource] = [registry, vault, blobs, db, cache, jobs, app, edge, monitoring]
    if image is not None:
        # Made by a job, which runs an artefact's tools: before there is one, nothing asks for a database.
        role = DatabaseRole(
            "database-role",
            DatabaseRoleArgs(
                place=place,
                database=settings.database.name,
                user=settings.database.user,
                password_versions=db.secret_versions,
                image=image,
                facts=pulumi.Output.all(
                    workspace=logs.workspace_customer_id, client_id=identities["jobs"].client_id
                ).apply(
                    lambda made: {
                        **known,
                        "workspace": made["workspace"],
                        "identity": {"jobs": {"client_id": made["client_id"]}},
                    }
                ),
            ),
            pulumi.ResourceOptions(depends_on=[jobs]),
        )
        ready.append(role)
    if edge.validation is not None:
        pulumi.export("dns", edge.validation)
    return Target(
        stack=stack,
        instances=instances,
        processes=processes,
        operations=OPERATIONS,
        facts=pulumi.Output.all(
            image=image,
            public_host=edge.host,
            endpoint_host=edge.endpoint_host,
            verify_hosts=edge.verify_hosts,
            workspace=logs.workspace_customer_id,
            secret_versions=pulumi.Output.all(
                vault.versions,
                {
                    url_secret(azure.database.login): db.secret_versions[azure.database.login],
                    CACHE_URL: cache.secret_version,
                    INSIGHTS: stored_version(insights),
                },
            ).apply(lambda versions: {**versions[0], **versions[1]}),
            identities={
                role: {"id": identity.id, "client_id": identity.client_id}
                for role, identity in identities.items()
            },
        ).apply(lambda made: azure_facts.complete(known, made)),
        public_url=edge.url,
        image=built,
        ready=tuple(ready),
    )


def _web_apps(settings: Settings, azure: AzureSection, names: Names) -> list[str]:
    located = sites.spread(settings.instance_names, azure.locations)
    return [
        sites.site_name(names, instance, location, first=azure.location)
        for instance, location in located.items()
    ]


def pinned(settings: Settings, names: Names) -> str | None:
    """`relevo:image`, once it is known to be of this stack's registry, or to be built for it.

    None: that is still to be made.
    """
    accepted = f"{repository(names)}@sha256:<64 hex digits>"
    if settings.image is None or settings.image.startswith(accepted.partition("<")[0]) or builds(settings):
        return settings.image
    raise SettingsError(
        f"relevo:image is {settings.image}, but {accepted} is accepted, from this stack's registry; "
        "run relevo push or relevo promote, and pin what it prints."
    )


def builds(settings: Settings) -> bool:
    """Whether this `up` makes the image, of an artefact that is pinned as relevo build names it."""
    return (
        settings.azure is not None
        and settings.azure.build_image
        and settings.image is not None
        and settings.image.startswith(ARTEFACT)
    )


def prepared(root: Path, settings: Settings, names: Names) -> ImageBuildArgs | None:
    """Raises `TargetError` where relevo build has not prepared it."""
    if not builds(settings):
        return None
    artefact = store_folder(root).relative_to(root) / str(settings.image)
    return ImageBuildArgs(artefact=artefact, repository=repository(names))


def _login(azure: AzureSection) -> authorization.GetClientConfigResult:
    """Who runs this. Raises `SettingsError` if that is not where the stack is to be."""
    login = authorization.get_client_config()
    if azure.subscription is not None and azure.subscription.lower() != login.subscription_id.lower():
        raise SettingsError(
            f"relevo:azure.subscription is {azure.subscription}, but the login's is {login.subscription_id}; "
            f"run az account set --subscription {azure.subscription}, or set ARM_SUBSCRIPTION_ID."
        )
    return login


def _place(names: Names, azure: AzureSection, login: authorization.GetClientConfigResult) -> Place:
    tags = {"workload": names.workload, "stack": names.stack, **azure.tags}
    group = resources.ResourceGroup(
        "group",
        resource_group_name=names.of("rg"),
        location=azure.location,
        tags=tags,
        opts=pulumi.ResourceOptions(protect=azure.guard, retain_on_delete=azure.guard),
    )
    return Place(
        names=names,
        subscription=login.subscription_id,
        tenant=login.tenant_id,
        resource_group=group.name,
        location=azure.location,
        zones=sizing.zones(azure.location),
        tags=tags,
        runner_addresses=azure.runner_addresses,
        guard=azure.guard,
    )


def _grants(
    role: str, identity: Identity, place: Place, registry: Registry, blobs: Storage
) -> list[authorization.RoleAssignment]:
    """Beside the vault's secrets, which the vault grants itself."""
    scopes: dict[str, tuple[Role, pulumi.Input[str]]] = {
        "pulls": ("AcrPull", registry.id),
        **{
            f"writes-{container}": ("Storage Blob Data Contributor", blobs.container_id(container))
            for container in WRITES[role]
        },
    }
    return [
        grant(
            identity,
            f"{role}-identity-{purpose}",
            place,
            principal=identity.principal_id,
            role=allowed,
            scope=scope,
        )
        for purpose, (allowed, scope) in scopes.items()
    ]


def _scheduled(
    azure: AzureSection,
    known: Mapping[str, Any],
    image: pulumi.Input[str] | None,
    identities: Mapping[str, Identity],
) -> dict[str, Scheduled]:
    """What the clock starts, each as an identity: nothing before there is an artefact to run."""
    if image is None:
        return {}
    jobs, review = identities["jobs"], identities.get(REVIEW)
    found = {
        DUMP: Scheduled(
            cron=azure.jobs.dump_cron,
            image=image,
            command=scheduled_dump(),
            environment=azure_facts.dump_environment(known, jobs.client_id),
            identity_id=jobs.id,
        )
    }
    if review is not None:
        found[REVIEW] = Scheduled(
            cron=REVIEW_CRON,
            image=image,
            command=scheduled_review(),
            environment=azure_facts.review_environment(known, review.client_id),
            identity_id=review.id,
        )
    return found


def _administrators(azure: AzureSection, names: Names, jobs: Identity) -> list[Administrator]:
    """Those of the configuration, and the jobs, which make the application's role."""
    return [
        Administrator(
            key="jobs", object_id=jobs.principal_id, name=names.of("id", "jobs"), type="ServicePrincipal"
        ),
        *(
            Administrator(
                key=person.object_id, object_id=person.object_id, name=person.name, type=person.type
            )
            for person in azure.database.administrators
        ),
    ]
