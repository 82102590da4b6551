"""The registry that holds the artefacts: images, pinned by digest."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import containerregistry

from components.azure import firewall
from components.azure.diagnostics import diagnostics
from components.azure.guard import guarded, lock
from components.azure.naming import Names
from components.azure.place import Place
from components.azure.private_endpoint import private_endpoint

ENABLED, DISABLED = containerregistry.PolicyStatus.ENABLED, containerregistry.PolicyStatus.DISABLED
UNTAGGED_DAYS = 30


def server(names: Names) -> str:
    """Host of the registry, e.g. "crassetsprod.azurecr.io"."""
    return f"{names.of('cr')}.azurecr.io"


def repository(names: Names) -> str:
    """Where the artefacts are, with the host, e.g. "crassetsprod.azurecr.io/assets"."""
    return f"{server(names)}/{names.workload}"


def registry_id(names: Names, subscription: str) -> str:
    return (
        f"/subscriptions/{subscription}/resourceGroups/{names.of('rg')}"
        f"/providers/Microsoft.ContainerRegistry/registries/{names.of('cr')}"
    )


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    place: Place
    endpoints_subnet_id: pulumi.Input[str]
    zone_id: pulumi.Input[str]
    workspace_id: pulumi.Input[str]


class Registry(pulumi.ComponentResource):
    """Premium: private endpoints and retention need it ("Azure Container Registry SKU features and limits").

    - Who pulls or pushes is an identity: no admin user, no anonymous pull.
    - Untagged manifests go after 30 days. An artefact keeps its tag, so what a record can still roll back to
      is never one of them.
    - Quarantine is off: it hides an image until a scanner releases it, and none is a part of this stack.
    - Content trust is off: it is being retired ("Transition from Docker Content Trust to Notary Project"),
      and a digest pin already says what runs.
    - Where data is guarded and no runner comes from outside, nothing can be exported; elsewhere export stays
      on, since an artefact is promoted by importing it from here. Azure allows its being off only then.
    """

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Registry", name, None, opts)
        place = args.place
        exports = not place.guard or bool(place.runner_addresses)
        registry = containerregistry.Registry(
            f"{name}-registry",
            registry_name=place.names.of("cr"),
            resource_group_name=place.resource_group,
            location=place.location,
            sku=containerregistry.SkuArgs(name=containerregistry.SkuName.PREMIUM),
            admin_user_enabled=False,
            anonymous_pull_enabled=False,
            # Layers come from an address of this registry, not from one of all of Azure's storage.
            data_endpoint_enabled=True,
            public_network_access=firewall.public_access(place),
            network_rule_bypass_options=containerregistry.NetworkRuleBypassOptions.AZURE_SERVICES,
            network_rule_set=containerregistry.NetworkRuleSetArgs(
                default_action=containerregistry.DefaultAction.DENY,
                ip_rules=[
                    containerregistry.IPRuleArgs(
                        action=containerregistry.Action.ALLOW, i_p_address_or_range=address
                    )
                    for address in firewall.addresses(place)
                ],
            ),
            zone_redundancy=(
                containerregistry.ZoneRedundancy.ENABLED
                if place.zones
                else containerregistry.ZoneRedundancy.DISABLED
            ),
            policies=containerregistry.PoliciesArgs(
                retention_policy=containerregistry.RetentionPolicyArgs(status=ENABLED, days=UNTAGGED_DAYS),
                quarantine_policy=containerregistry.QuarantinePolicyArgs(status=DISABLED),
                trust_policy=containerregistry.TrustPolicyArgs(
                    status=DISABLED, type=containerregistry.TrustPolicyType.NOTARY
                ),
                export_policy=containerregistry.ExportPolicyArgs(
                    status=(
                        containerregistry.ExportPolicyStatus.ENABLED
                        if exports
                        else containerregistry.ExportPolicyStatus.DISABLED
                    )
                ),
            ),
            tags=place.tags,
            opts=guarded(self, place),
        )
        lock(self, f"{name}-lock", place, registry, "Holds the artefacts that a release can go back to.")
        private_endpoint(
            self,
            f"{name}-endpoint",
            place,
            args.endpoints_subnet_id,
            registry.id,
            "registry",
            args.zone_id,
        )
        diagnostics(self, f"{name}-diagnostics", registry.id, args.workspace_id)
        self.id = registry.id
        self.login_server = server(place.names)
        self.register_outputs({"id": self.id, "login_server": self.login_server})
