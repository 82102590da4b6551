"""The vault of a stack, with a random value for each secret that may have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local import vault
from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties


class VaultProvider(LocalProvider):
    def ensure(self, inputs: Properties) -> Properties:
        vault, names = _vault(inputs), sorted(inputs["secrets"])
        vault.generate(_generated(inputs))
        vault.mark(names)
        return {"names": names, "versions": vault.versions(names)}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        vault = _vault(inputs)
        replaced = vault.versions(inputs["secrets"]) != outputs.get("versions")
        return replaced or bool(vault.missing(_generated(inputs)))


def _vault(inputs: Properties) -> vault.Vault:
    return vault.Vault(Layout(Path(inputs["state"])).secrets)


def _generated(inputs: Properties) -> list[str]:
    return [*vault.OWN, *(name for name, generate in inputs["secrets"].items() if generate)]


class Secrets(Resource, module="relevo", name="Vault"):
    names: pulumi.Output[list[str]]
    versions: pulumi.Output[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class VaultArgs:
    """`secrets`: name → whether the vault makes a random value when there is none."""

    state: pulumi.Input[str]
    secrets: Mapping[str, bool]


class Vault(pulumi.ComponentResource):
    """The secrets; the engine sees their names, and of each a version that changes when it is replaced.

    They stay when the stack is destroyed, as data does.
    """

    def __init__(self, name: str, args: VaultArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Vault", name, None, opts)
        secrets = Secrets(
            VaultProvider(),
            f"{name}-secrets",
            {"state": args.state, "secrets": dict(args.secrets), "names": None, "versions": None},
            pulumi.ResourceOptions(parent=self),
        )
        self.names = secrets.names
        self.versions = secrets.versions
        self.register_outputs({"names": self.names, "versions": self.versions})
