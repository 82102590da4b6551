"""The vault of a stack: every credential, each with its expiry and the way to rotate it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import keyvault

from components.azure import firewall
from components.azure.diagnostics import diagnostics
from components.azure.generated import Generated
from components.azure.guard import guarded, lock
from components.azure.identity import grant
from components.azure.naming import Names
from components.azure.place import Place
from components.azure.private_endpoint import private_endpoint
from components.azure.secret_names import OWN, VERIFY, secret_name
from components.target import TargetError

DAY = 24 * 60 * 60
MISSING = re.compile(r"\b404\b|SecretNotFound")  # in the provider's words


def uri(names: Names) -> str:
    """The vault's address, e.g. "https://kv-assets-prod.vault.azure.net"."""
    return f"https://{names.of('kv')}.vault.azure.net"


def stored_version(secret: keyvault.Secret) -> pulumi.Output[str]:
    """Of what a component stored: another one with every new value, of which it tells nothing."""
    return pulumi.Output.unsecret(secret.properties).apply(
        lambda stored: _last_segment(stored.secret_uri_with_version)
    )


def _last_segment(uri: str) -> str:
    return uri.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class VaultArgs:
    """`secrets`: a project's name → whether a random value is made when there is none.

    `readers`: name → principal id of an identity that reads all of them. `expiry_days`: of a generated one.
    """

    place: Place
    secrets: Mapping[str, bool]
    expiry_days: int
    readers: Mapping[str, pulumi.Input[str]]
    endpoints_subnet_id: pulumi.Input[str]
    zone_id: pulumi.Input[str]
    workspace_id: pulumi.Input[str]


class Vault(pulumi.ComponentResource):
    """Roles instead of access policies, purge protection, reachable from inside the network.

    A secret past its expiry is still served ("About Azure Key Vault secrets"): the date is for the alert, and
    nothing stops when it is missed. A soft-deleted vault keeps its name: for 90 days where it was made with a
    guard, for 7 (the least that Azure takes) elsewhere, so that a stack for trials can be made again.

    Raises `TargetError` if a project's secret would have the name of the stack's own.
    """

    def __init__(self, name: str, args: VaultArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Vault", name, None, opts)
        self._args = args
        place = args.place
        _refuse_own_names(args.secrets)
        self._vault = keyvault.Vault(
            f"{name}-vault",
            vault_name=place.names.of("kv"),
            resource_group_name=place.resource_group,
            location=place.location,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=place.tenant,
                sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=90 if place.guard else 7,
                enable_purge_protection=True,
                enabled_for_deployment=False,
                enabled_for_disk_encryption=False,
                enabled_for_template_deployment=False,
                public_network_access=firewall.public_access(place),
                network_acls=keyvault.NetworkRuleSetArgs(
                    default_action=keyvault.NetworkRuleAction.DENY,
                    bypass=keyvault.NetworkRuleBypassOptions.AZURE_SERVICES,
                    ip_rules=[keyvault.IPRuleArgs(value=found) for found in firewall.ranges(place)],
                ),
            ),
            tags=place.tags,
            # "Once the retention policy interval is set, it can't be changed" ("Azure Key Vault soft-delete
            # overview"): a guard that comes or goes later leaves it.
            opts=guarded(self, place, ignore_changes=["properties.softDeleteRetentionInDays"]),
        )
        lock(self, f"{name}-lock", place, self._vault, "Holds the stack's secrets.")
        self.id = self._vault.id
        self.uri = uri(place.names)
        private_endpoint(
            self, f"{name}-endpoint", place, args.endpoints_subnet_id, self.id, "vault", args.zone_id
        )
        for reader, principal in args.readers.items():
            grant(
                self,
                f"{name}-{reader}-reads",
                place,
                principal=principal,
                role="Key Vault Secrets User",
                scope=self.id,
            )
        diagnostics(self, f"{name}-diagnostics", self.id, args.workspace_id)

        self.verify_value = self._own(VERIFY)
        made = {secret: self._project_secret(secret) for secret, generate in args.secrets.items() if generate}
        self.versions = pulumi.Output.from_input(
            {secret: self._current(secret, made.get(secret)) for secret in args.secrets}
        ).apply(lambda current: {secret: version for secret, version in current.items() if version})
        self.register_outputs({"id": self.id, "uri": self.uri, "versions": self.versions})

    def store(
        self,
        parent: pulumi.Resource,
        name: str,
        secret: str,
        value: pulumi.Input[str],
        *,
        since: pulumi.Input[int],
        rotation: str,
        ignore_changes: Sequence[str] = (),
    ) -> keyvault.Secret:
        """Keep `value` as `secret`, through ARM: neither runner nor network needs to reach the vault for it.

        `since`: when the value was made, from which its expiry counts. `rotation`: how it is replaced.
        """
        place = self._args.place
        lifetime = self._args.expiry_days * DAY
        return keyvault.Secret(
            name,
            secret_name=secret,
            vault_name=self._vault.name,
            resource_group_name=place.resource_group,
            properties=keyvault.SecretPropertiesArgs(
                value=pulumi.Output.secret(value),
                content_type="text/plain",
                attributes=keyvault.SecretAttributesArgs(
                    enabled=True,
                    expires=pulumi.Output.from_input(since).apply(lambda made: int(made) + lifetime),
                ),
            ),
            tags={**place.tags, "rotation": rotation},
            # ARM cannot delete a secret, and the engine's way past it needs to reach the vault. A secret goes
            # with its vault.
            opts=pulumi.ResourceOptions(
                parent=parent, retain_on_delete=True, ignore_changes=list(ignore_changes)
            ),
        )

    def _own(self, secret: str) -> pulumi.Output[str]:
        generated = Generated(f"{self.pulumi_resource_name}-{secret}-value", self)
        self.store(
            self,
            f"{self.pulumi_resource_name}-{secret}",
            secret,
            generated.value,
            since=generated.since,
            rotation=f"pulumi up --replace '**::{self.pulumi_resource_name}-{secret}-value'",
        )
        return generated.value

    def _project_secret(self, name: str) -> keyvault.Secret:
        secret = secret_name(name)
        generated = Generated(
            f"{self.pulumi_resource_name}-{secret}-value", self, protect=self._args.place.guard
        )
        return self.store(
            self,
            f"{self.pulumi_resource_name}-{secret}",
            secret,
            generated.value,
            since=generated.since,
            rotation=f"relevo secret set {name}",
            # Only ever created: an update would write the first value over one that was set since.
            ignore_changes=["properties", "tags"],
        )

    def _current(self, name: str, made: keyvault.Secret | None) -> pulumi.Output[str]:
        """The version in the vault now, whoever wrote it; "" where there is none yet."""
        return (made or self._vault).id.apply(lambda _: self._look_up(name))

    def _look_up(self, name: str) -> str:
        place = self._args.place
        try:
            found = keyvault.get_secret(
                secret_name=secret_name(name),
                vault_name=place.names.of("kv"),
                resource_group_name=place.names.of("rg"),
                opts=pulumi.InvokeOptions(parent=self),
            )
        except Exception as error:
            # One that nobody has set yet is a fault for the preflight, which says how to set it.
            if MISSING.search(str(error)):
                return ""
            raise
        return _last_segment(found.properties.secret_uri_with_version)


def _refuse_own_names(secrets: Mapping[str, bool]) -> None:
    for name in secrets:
        if secret_name(name) in OWN:
            raise TargetError(
                f"relevo:secrets has {name}, but {secret_name(name)} in the vault is the stack's own; "
                f"give it another name."
            )
