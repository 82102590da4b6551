"""Media, static files, backups and the logbook: one storage account, a container for each."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage

from components.azure import firewall
from components.azure.diagnostics import diagnostics
from components.azure.guard import guarded, lock
from components.azure.naming import Names
from components.azure.place import Place
from components.azure.private_endpoint import private_endpoint

MEDIA = "media"
STATIC = "static"
BACKUPS = "backups"
LOGBOOK = "logbook"
LOCK = "logbook-lock"
PAGES = "logbook-pages"
CONTAINERS = (MEDIA, STATIC, BACKUPS, LOGBOOK, LOCK, PAGES)
COOL_AFTER_DAYS = 7
JOB_LOGS_KEPT_DAYS = 30


def blob_host(names: Names) -> str:
    """Host of the account's blobs, e.g. "stassetsprod.blob.core.windows.net"."""
    return f"{names.of('st')}.blob.core.windows.net"


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """`sku` such as Standard_GZRS. All others are days.

    `recoverable`: how long what was deleted or overwritten can be had back. `immutable`: how long a backup
    and a line of the logbook can be neither changed nor deleted. `backups_kept`: when a backup goes.
    """

    place: Place
    endpoints_subnet_id: pulumi.Input[str]
    zone_id: pulumi.Input[str]
    workspace_id: pulumi.Input[str]
    sku: str
    recoverable_days: int
    immutable_days: int
    backups_kept_days: int


class Storage(pulumi.ComponentResource):
    """Identities only: no account keys, no anonymous access, reachable from inside the network.

    - media: versioned; deleted and overwritten files can be had back, also all of them at a point in time.
    - static: private like all others. Static files are served by the app and cached at the edge; a public
      container would be a second, open way in, and Front Door reaches a private one on its Premium tier only.
    - backups: write once. Access tier and end by a lifecycle rule, not by whoever has a key to the stack.
    - logbook: append-only; what was appended stays.
    - logbook-lock: a blob to hold a lease on, which an immutable container would refuse; and the jobs' logs,
      which a lifecycle rule ends.
    - logbook-pages: the logbook as pages, which are written anew from the record each time it changes.

    The immutability policies are made unlocked: they bind every client, but an owner of the account can
    still remove them. To lock one cannot be undone, so a person does it ("Container-level WORM policies").
    """

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Storage", name, None, opts)
        self._args = args
        place = args.place
        self._account = storage.StorageAccount(
            f"{name}-account",
            account_name=place.names.of("st"),
            resource_group_name=place.resource_group,
            location=place.location,
            kind=storage.Kind.STORAGE_V2,
            sku=storage.SkuArgs(name=args.sku),
            access_tier=storage.AccessTier.HOT,
            allow_shared_key_access=False,
            default_to_o_auth_authentication=True,
            allow_blob_public_access=False,
            allow_cross_tenant_replication=False,
            allowed_copy_scope=storage.AllowedCopyScope.AAD,
            enable_https_traffic_only=True,
            minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
            is_local_user_enabled=False,
            is_sftp_enabled=False,
            public_network_access=firewall.public_access(place),
            network_rule_set=storage.NetworkRuleSetArgs(
                default_action=storage.DefaultAction.DENY,
                bypass=storage.Bypass.AZURE_SERVICES,
                ip_rules=[
                    storage.IPRuleArgs(action=storage.Action.ALLOW, i_p_address_or_range=address)
                    for address in firewall.addresses(place)
                ],
            ),
            tags=place.tags,
            opts=guarded(self, place),
        )
        lock(self, f"{name}-lock", place, self._account, "Holds media, backups and the logbook.")
        service = self._service()
        self._containers = {container: self._container(container, service) for container in CONTAINERS}
        self._lifecycle(service)
        private_endpoint(
            self,
            f"{name}-endpoint",
            place,
            args.endpoints_subnet_id,
            self._account.id,
            "blob",
            args.zone_id,
        )
        for role, resource_id in (
            ("account", self._account.id),
            ("blobs", pulumi.Output.concat(self._account.id, "/blobServices/default")),
        ):
            diagnostics(
                self,
                f"{name}-{role}-diagnostics",
                resource_id,
                args.workspace_id,
                logs=role == "blobs",
                metrics=("Transaction",),
            )

        self.account_id = self._account.id
        self.account_name = place.names.of("st")
        self.blob_host = blob_host(place.names)
        self.register_outputs({"account_id": self.account_id, "account_name": self.account_name})

    def container_id(self, container: str) -> pulumi.Output[str]:
        """The narrowest scope of a role: one container, once it is there."""
        return self._containers[container].id

    def _service(self) -> storage.BlobServiceProperties:
        days = self._args.recoverable_days
        return storage.BlobServiceProperties(
            f"{self.pulumi_resource_name}-blobs",
            account_name=self._account.name,
            resource_group_name=self._args.place.resource_group,
            blob_services_name="default",
            is_versioning_enabled=True,
            change_feed=storage.ChangeFeedArgs(enabled=True, retention_in_days=days),
            delete_retention_policy=storage.DeleteRetentionPolicyArgs(enabled=True, days=days),
            container_delete_retention_policy=storage.DeleteRetentionPolicyArgs(enabled=True, days=days),
            # Less than the retention of what was deleted ("Point-in-time restore for block blobs").
            restore_policy=storage.RestorePolicyPropertiesArgs(enabled=True, days=days - 1),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _container(self, container: str, service: pulumi.Resource) -> storage.BlobContainer:
        place = self._args.place
        name = f"{self.pulumi_resource_name}-{container}"
        made = storage.BlobContainer(
            name,
            account_name=self._account.name,
            resource_group_name=place.resource_group,
            container_name=container,
            public_access=storage.PublicAccess.NONE,
            opts=pulumi.ResourceOptions.merge(
                guarded(self, place), pulumi.ResourceOptions(depends_on=[service])
            ),
        )
        if container not in (BACKUPS, LOGBOOK):
            return made
        storage.BlobContainerImmutabilityPolicy(
            f"{name}-immutable",
            account_name=self._account.name,
            resource_group_name=place.resource_group,
            container_name=made.name,
            immutability_policy_name="default",
            immutability_period_since_creation_in_days=self._args.immutable_days,
            allow_protected_append_writes=container == LOGBOOK,
            # It goes with its container: to delete it, the provider would have to show its ETag, and does not
            # (pulumi/pulumi-azure-native#2156).
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )
        return made

    def _lifecycle(self, service: pulumi.Resource) -> None:
        args = self._args
        storage.ManagementPolicy(
            f"{self.pulumi_resource_name}-lifecycle",
            account_name=self._account.name,
            resource_group_name=args.place.resource_group,
            management_policy_name="default",
            policy=storage.ManagementPolicySchemaArgs(
                rules=[
                    _rule(
                        "backups-end",
                        f"{BACKUPS}/",
                        base_blob=storage.ManagementPolicyBaseBlobArgs(
                            tier_to_cool=_after_change(COOL_AFTER_DAYS),
                            delete=_after_change(args.backups_kept_days),
                        ),
                    ),
                    _rule(
                        "job-logs-end",
                        f"{LOCK}/jobs/",
                        blob_type="appendBlob",
                        base_blob=storage.ManagementPolicyBaseBlobArgs(
                            delete=_after_change(JOB_LOGS_KEPT_DAYS)
                        ),
                        version=_versions_end(JOB_LOGS_KEPT_DAYS),
                    ),
                    *(
                        _rule(
                            f"{container}-versions-end",
                            f"{container}/",
                            version=_versions_end(args.recoverable_days),
                        )
                        for container in (MEDIA, STATIC, BACKUPS, PAGES)
                    ),
                ]
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
        )


def _after_change(days: int) -> storage.DateAfterModificationArgs:
    return storage.DateAfterModificationArgs(days_after_modification_greater_than=days)


def _versions_end(days: int) -> storage.ManagementPolicyVersionArgs:
    return storage.ManagementPolicyVersionArgs(
        delete=storage.DateAfterCreationArgs(days_after_creation_greater_than=days)
    )


def _rule(
    name: str,
    prefix: str,
    *,
    blob_type: str = "blockBlob",
    base_blob: storage.ManagementPolicyBaseBlobArgs | None = None,
    version: storage.ManagementPolicyVersionArgs | None = None,
) -> storage.ManagementPolicyRuleArgs:
    return storage.ManagementPolicyRuleArgs(
        name=name,
        type=storage.RuleType.LIFECYCLE,
        enabled=True,
        definition=storage.ManagementPolicyDefinitionArgs(
            actions=storage.ManagementPolicyActionArgs(base_blob=base_blob, version=version),
            filters=storage.ManagementPolicyFilterArgs(blob_types=[blob_type], prefix_match=[prefix]),
        ),
    )
