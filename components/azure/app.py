"""The places where the project's processes run: a site for each instance, a container app for the others.

What runs in them is the release's business: the roll step writes image, start command and environment in
one request. A site's are left out here, since ARM keeps what a PUT omits; a container app's are declared as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pulumi
from pulumi_azure_native import app, web

from components.azure import image
from components.azure.diagnostics import diagnostics
from components.azure.naming import LIMITS, WORD, Names
from components.azure.place import Place, in_name
from components.azure.revisions import Running
from components.azure.sizing import check_cpu, check_plan, plan_size
from components.target import TargetError

T = TypeVar("T")

# What a container app runs until its first release ("Quickstart: Deploy your first container app").
PLACEHOLDER_IMAGE = "mcr.microsoft.com/k8se/quickstart:latest"
PLACEHOLDER = Running(image=PLACEHOLDER_IMAGE, command=(), environment={}, cores=0, suffix=None)
LOG_DAYS = 3
LOG_MEGABYTES = 100  # the most that "Enable diagnostics logging for apps in Azure App Service" accepts


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where sites run. `subnet_id`: of this region, delegated to Microsoft.Web/serverFarms."""

    location: str
    subnet_id: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class AppArgs:
    """`instances`: name → where, in rolling order. `workers`: machines of each plan.

    Raises `TargetError` for a plan that Azure refuses.
    """

    place: Place
    sku: str
    workers: int
    zone_redundant: bool
    shared_plan: bool  # the instances of a region share one, else each has its own
    instances: Mapping[str, Region]
    identity_id: pulumi.Input[str]
    identity_client_id: pulumi.Input[str]
    registry: pulumi.Input[str]  # host
    front_door_id: pulumi.Input[str]
    workspace_id: pulumi.Input[str]
    environment_id: pulumi.Input[str] | None = None  # of Container Apps; needed where there are processes
    processes: Sequence[str] = ()
    process_cores: float = 0.5
    running: Mapping[str, Running] = field(default_factory=dict)  # process → what it runs by now

    def __post_init__(self) -> None:
        check_plan(
            self.sku,
            workers=self.workers,
            zone_redundant=self.zone_redundant,
            regions=[region.location for region in self.instances.values()],
        )
        check_cpu("relevo:azure.app.processCores", self.process_cores)


def site_name(names: Names, instance: str, location: str, *, first: str) -> str:
    """`first`: the stack's region, which a name does not say."""
    return names.of("app", instance, *in_name(location, first=first))


def site_host(place: Place, instance: str, location: str) -> str:
    """The default host of a site, e.g. "app-assets-prod-instance-1.azurewebsites.net"."""
    return f"{site_name(place.names, instance, location, first=place.location)}.azurewebsites.net"


def process_name(names: Names, process: str) -> str:
    """Raises `TargetError` where Container Apps refuses it."""
    longest = LIMITS["ca"] - len(names.of("ca")) - 1
    if len(process) > longest or not WORD.fullmatch(process):
        raise TargetError(
            f"relevo:app.processes.{process} is not a name that Container Apps takes, but at most {longest} "
            f"lower case letters, digits and single hyphens are accepted beside "
            f"{names.workload}-{names.stack}; rename it."
        )
    return names.of("ca", process)


def spread(instances: Sequence[str], regions: Sequence[T]) -> dict[str, T]:
    """The instances over the regions in turn, so that a roll never takes two of one region in a row.

    Nor does a roll empty one of two regions, from four instances on. With two or three, the other region
    alone serves while a region's only instance is replaced.
    """
    return {name: regions[index % len(regions)] for index, name in enumerate(instances)}


class App(pulumi.ComponentResource):
    """N sites for one custom container each, reachable through this stack's Front Door only.

    - Plans of their own share a subnet ("Integrate your app with an Azure virtual network": multi-plan subnet
      join), so that the instances of a region need one subnet.
    - No slots: the instances are rolled one after the other, and auto-swap does not exist for containers.
    - Access needs both the service tag and the profile's id: the tag alone lets every Front Door in.
    """

    def __init__(self, name: str, args: AppArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:App", name, None, opts)
        self._args = args
        plans = self._plans()
        self.site_names = {
            instance: site_name(args.place.names, instance, region.location, first=args.place.location)
            for instance, region in args.instances.items()
        }
        self.site_hosts = {
            instance: site_host(args.place, instance, region.location)
            for instance, region in args.instances.items()
        }
        self.process_names = {process: process_name(args.place.names, process) for process in args.processes}
        self.sites = {
            instance: self._site(instance, region, plans[self._plan_of(instance)])
            for instance, region in args.instances.items()
        }
        for process in args.processes:
            self._process(process)
        self.register_outputs(
            {
                "site_names": self.site_names,
                "site_hosts": self.site_hosts,
                "process_names": self.process_names,
            }
        )

    def _plan_of(self, instance: str) -> str:
        return self._args.instances[instance].location if self._args.shared_plan else instance

    def _plans(self) -> dict[str, web.AppServicePlan]:
        args, place = self._args, self._args.place
        size = plan_size(args.sku)
        located = {self._plan_of(instance): region.location for instance, region in args.instances.items()}
        plans = {}
        for plan, location in located.items():
            region = () if args.shared_plan else place.region(location)
            plans[plan] = web.AppServicePlan(
                f"{self.pulumi_resource_name}-plan-{plan}",
                name=place.names.of("asp", plan, *region),
                resource_group_name=place.resource_group,
                location=location,
                kind="linux",
                reserved=True,  # Linux
                sku=web.SkuDescriptionArgs(name=args.sku, tier=size.tier, capacity=args.workers),
                zone_redundant=args.zone_redundant,
                tags=place.tags,
                opts=pulumi.ResourceOptions(parent=self),
            )
            diagnostics(
                self,
                f"{self.pulumi_resource_name}-plan-{plan}-diagnostics",
                plans[plan].id,
                args.workspace_id,
                logs=False,
            )
        return plans

    def _site(self, instance: str, region: Region, plan: web.AppServicePlan) -> web.WebApp:
        args, place = self._args, self._args.place
        child = pulumi.ResourceOptions(parent=self)
        site = web.WebApp(
            f"{self.pulumi_resource_name}-{instance}",
            name=self.site_names[instance],
            resource_group_name=place.resource_group,
            location=region.location,
            kind="app,linux,container",
            reserved=True,
            server_farm_id=plan.id,
            identity=web.ManagedServiceIdentityArgs(
                type=web.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[args.identity_id],
            ),
            key_vault_reference_identity=args.identity_id,
            https_only=True,
            client_affinity_enabled=False,
            public_network_access="Enabled",  # and restricted below: Front Door comes from outside
            ssh_enabled=False,
            virtual_network_subnet_id=region.subnet_id,
            outbound_vnet_routing=web.OutboundVnetRoutingArgs(all_traffic=True),
            site_config=self._site_config(),
            tags=place.tags,
            opts=child,
        )
        for channel, policy in (("ftp", web.WebAppFtpAllowed), ("scm", web.WebAppScmAllowed)):
            policy(
                f"{self.pulumi_resource_name}-{instance}-{channel}-credentials",
                name=site.name,
                resource_group_name=place.resource_group,
                allow=False,
                opts=child,
            )
        web.WebAppDiagnosticLogsConfiguration(
            f"{self.pulumi_resource_name}-{instance}-logs",
            name=site.name,
            resource_group_name=place.resource_group,
            # For a container these are its stdout and stderr: from them the roll step learns what runs.
            http_logs=web.HttpLogsConfigArgs(
                file_system=web.FileSystemHttpLogsConfigArgs(
                    enabled=True, retention_in_days=LOG_DAYS, retention_in_mb=LOG_MEGABYTES
                )
            ),
            detailed_error_messages=web.EnabledConfigArgs(enabled=True),
            failed_requests_tracing=web.EnabledConfigArgs(enabled=True),
            opts=child,
        )
        diagnostics(self, f"{self.pulumi_resource_name}-{instance}-diagnostics", site.id, args.workspace_id)
        return site

    def _site_config(self) -> web.SiteConfigArgs:
        args = self._args
        return web.SiteConfigArgs(
            acr_use_managed_identity_creds=True,
            acr_user_managed_identity_id=args.identity_client_id,
            always_on=True,
            auto_heal_enabled=True,
            auto_heal_rules=_auto_heal(),
            detailed_error_logging_enabled=True,
            ftps_state=web.FtpsState.DISABLED,
            # Not the readiness that Front Door asks: when the database is ill, App Service would find every
            # worker so and replace them all ("Monitor App Service instances by using Health check").
            health_check_path=image.ALIVE,
            http20_enabled=True,
            http_logging_enabled=True,
            ip_security_restrictions=[
                web.IpSecurityRestrictionArgs(
                    name="front-door",
                    description="This stack's Front Door, told from others by its id",
                    priority=100,
                    action="Allow",
                    tag=web.IpFilterTag.SERVICE_TAG,
                    ip_address="AzureFrontDoor.Backend",
                    headers={"x-azure-fdid": [args.front_door_id]},
                )
            ],
            ip_security_restrictions_default_action=web.DefaultAction.DENY,
            # Nothing is deployed through the SCM site; ARM hands out the logs.
            scm_ip_security_restrictions=[],
            scm_ip_security_restrictions_default_action=web.DefaultAction.DENY,
            scm_ip_security_restrictions_use_main=False,
            # The minimum. Front Door and App Service agree on 1.3 by themselves.
            min_tls_version=web.SupportedTlsVersions.SUPPORTED_TLS_VERSIONS_1_2,
            scm_min_tls_version=web.SupportedTlsVersions.SUPPORTED_TLS_VERSIONS_1_2,
            remote_debugging_enabled=False,
            request_tracing_enabled=True,
            vnet_route_all_enabled=True,
        )

    def _process(self, process: str) -> None:
        args, place = self._args, self._args.place
        made = app.ContainerApp(
            f"{self.pulumi_resource_name}-{process}",
            container_app_name=process_name(place.names, process),
            resource_group_name=place.resource_group,
            location=place.location,
            environment_id=args.environment_id,
            workload_profile_name="Consumption",
            identity=app.ManagedServiceIdentityArgs(
                type=app.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[args.identity_id],
            ),
            configuration=app.ConfigurationArgs(
                active_revisions_mode=app.ActiveRevisionsMode.SINGLE,
                registries=[app.RegistryCredentialsArgs(server=args.registry, identity=args.identity_id)],
            ),
            template=self._template(process),
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        # What it prints comes by its environment's setting.
        diagnostics(
            self,
            f"{self.pulumi_resource_name}-{process}-diagnostics",
            made.id,
            args.workspace_id,
            logs=False,
        )

    def _template(self, process: str) -> app.TemplateArgs:
        """With the revision's name as long as the revision stays what it is: no two may have one."""
        args = self._args
        running = args.running.get(process, PLACEHOLDER)
        container = app.ContainerArgs(
            name=process,
            image=running.image,
            command=list(running.command) or None,
            env=[
                app.EnvironmentVarArgs(name=name, value=value) for name, value in running.environment.items()
            ]
            or None,
            resources=app.ContainerResourcesArgs(
                cpu=args.process_cores,
                memory=check_cpu("relevo:azure.app.processCores", args.process_cores),
            ),
        )
        return app.TemplateArgs(
            containers=[container],
            scale=app.ScaleArgs(min_replicas=1, max_replicas=1),
            revision_suffix=running.suffix if running.cores == args.process_cores else None,
        )


def _auto_heal() -> web.AutoHealRulesArgs:
    """A worker that does not answer, or only with errors, is started again; not in its first minutes.

    Memory is no trigger here: that of private bytes belongs to Windows workers. A process that outgrows the
    container is ended by the kernel, and gunicorn starts another.
    """
    return web.AutoHealRulesArgs(
        triggers=web.AutoHealTriggersArgs(
            slow_requests=web.SlowRequestsBasedTriggerArgs(
                time_taken="00:00:30", count=50, time_interval="00:05:00"
            ),
            status_codes_range=[
                web.StatusCodesRangeBasedTriggerArgs(
                    status_codes="500-599", count=100, time_interval="00:05:00"
                )
            ],
        ),
        actions=web.AutoHealActionsArgs(
            action_type=web.AutoHealActionType.RECYCLE, min_process_execution_time="00:10:00"
        ),
    )
