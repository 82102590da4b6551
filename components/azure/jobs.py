"""Where one-off commands run: beside the database, in the network, started by a release or by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pulumi
from pulumi_azure_native import app

from components.azure.diagnostics import diagnostics
from components.azure.job_disk import CORES
from components.azure.naming import Names
from components.azure.place import Place
from components.azure.sizing import check_cpu

Kind = Literal["manage", "backup"]
KINDS: tuple[Kind, ...] = ("manage", "backup")
DUMP, REVIEW = "dump", "review"
# Never run: an execution names its own image ("Jobs in Azure Container Apps": start with a template).
PLACEHOLDER_IMAGE = "mcr.microsoft.com/k8se/quickstart-jobs:latest"
CONSUMPTION = "Consumption"


def job_name(names: Names, kind: str) -> str:
    return names.of("caj", kind)


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """What the clock starts, in UTC, e.g. "17 2 * * *": a command in the pinned artefact.

    `image`: its whole reference. `environment`: what the command reads, no secret.
    """

    cron: str
    image: pulumi.Input[str]
    command: tuple[str, ...]
    environment: Mapping[str, pulumi.Input[str]]
    identity_id: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class JobsArgs:
    """`timeout_seconds`: of one execution. Zone redundancy and the subnet are decided at the creation.

    `scheduled`: by the kind of job, e.g. "dump".

    Raises `TargetError` for a size that is none.
    """

    place: Place
    subnet_id: pulumi.Input[str]
    zone_redundant: bool
    identity_id: pulumi.Input[str]
    registry: pulumi.Input[str]  # host
    timeout_seconds: int
    workspace_id: pulumi.Input[str]
    cores: float = 1.0
    scheduled: Mapping[str, Scheduled] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_cpu("relevo:azure.jobs.cores", self.cores)


class Jobs(pulumi.ComponentResource):
    """An environment without a public address, and a job for each kind of command.

    - An execution brings its own image, command and environment, and its key: so it is found again after a
      kill. The job gives the identity, the size and the limit, and has no secret: each execution fetches its
      own (container_secrets.py).
    - Nothing is retried by the platform: whether a command may run again, the release knows.
    - The log goes to the workspace by diagnostic settings, which need no shared key ("Log storage and
      monitoring options in Azure Container Apps").
    """

    def __init__(self, name: str, args: JobsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Jobs", name, None, opts)
        self._args = args
        place = args.place
        self._environment = app.ManagedEnvironment(
            f"{name}-environment",
            environment_name=place.names.of("cae"),
            resource_group_name=place.resource_group,
            infrastructure_resource_group=place.names.of("rg", "jobs"),
            location=place.location,
            app_logs_configuration=app.AppLogsConfigurationArgs(destination="azure-monitor"),
            public_network_access=app.PublicNetworkAccess.DISABLED,
            vnet_configuration=app.VnetConfigurationArgs(
                infrastructure_subnet_id=args.subnet_id, internal=True
            ),
            workload_profiles=[app.WorkloadProfileArgs(name=CONSUMPTION, workload_profile_type=CONSUMPTION)],
            zone_redundant=args.zone_redundant,
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        diagnostics(self, f"{name}-diagnostics", self._environment.id, args.workspace_id)
        self.environment_id = self._environment.id
        self.job_names = {kind: job_name(place.names, kind) for kind in KINDS}
        for kind in KINDS:
            self._job(kind)
        for kind, scheduled in args.scheduled.items():
            self._job(kind, scheduled)
        self.register_outputs({"environment_id": self.environment_id, "job_names": self.job_names})

    def _job(self, kind: str, scheduled: Scheduled | None = None) -> None:
        """A scheduled one is started as it is declared, so it has the artefact and a command of its own."""
        args, place = self._args, self._args.place
        identity_id = scheduled.identity_id if scheduled else args.identity_id
        environment = {CORES: f"{args.cores:g}", **(scheduled.environment if scheduled else {})}
        once = {"parallelism": 1, "replica_completion_count": 1}
        app.Job(
            f"{self.pulumi_resource_name}-{kind}",
            job_name=job_name(place.names, kind),
            resource_group_name=place.resource_group,
            location=place.location,
            environment_id=self.environment_id,
            workload_profile_name=CONSUMPTION,
            identity=app.ManagedServiceIdentityArgs(
                type=app.ManagedServiceIdentityType.USER_ASSIGNED, user_assigned_identities=[identity_id]
            ),
            configuration=app.JobConfigurationArgs(
                trigger_type=app.TriggerType.SCHEDULE if scheduled else app.TriggerType.MANUAL,
                manual_trigger_config=(
                    None if scheduled else app.JobConfigurationManualTriggerConfigArgs(**once)
                ),
                schedule_trigger_config=(
                    app.JobConfigurationScheduleTriggerConfigArgs(cron_expression=scheduled.cron, **once)
                    if scheduled
                    else None
                ),
                replica_retry_limit=0,
                replica_timeout=args.timeout_seconds,
                registries=[app.RegistryCredentialsArgs(server=args.registry, identity=identity_id)],
            ),
            template=app.JobTemplateArgs(
                containers=[
                    app.ContainerArgs(
                        name=kind,
                        image=scheduled.image if scheduled else PLACEHOLDER_IMAGE,
                        command=list(scheduled.command) if scheduled else None,
                        env=[
                            app.EnvironmentVarArgs(name=variable, value=value)
                            for variable, value in environment.items()
                        ],
                        resources=app.ContainerResourcesArgs(
                            cpu=args.cores, memory=check_cpu("relevo:azure.jobs.cores", args.cores)
                        ),
                    )
                ]
            ),
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
