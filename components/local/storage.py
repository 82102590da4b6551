"""The state folder of a stack: its folders, its ports, the record, media, static files and backups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local import ports
from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties


class FoldersProvider(LocalProvider):
    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        Layout(Path(inputs["state"]))  # raises for a path that the servers cannot use
        return None

    def ensure(self, inputs: Properties) -> Properties:
        Layout(Path(inputs["state"])).make()
        return {}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        return not Layout(Path(inputs["state"])).made()


class PortProvider(LocalProvider):
    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        configured = inputs["configured"]
        if configured and not ports.available(Layout(Path(inputs["state"])), configured):
            return "configured", ports.taken(inputs["server"], configured)
        return None

    def ensure(self, inputs: Properties) -> Properties:
        layout = Layout(Path(inputs["state"]))
        return {"port": ports.allocate(layout, inputs["server"], inputs["configured"] or None)}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        return ports.drifted(Layout(Path(inputs["state"])), inputs["server"], outputs["port"])


class Folders(Resource, module="relevo", name="Folders"):
    state: pulumi.Output[str]


class Port(Resource, module="relevo", name="Port"):
    port: pulumi.Output[int]


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """`ports`: every name that the stack needs one for; None asks for a free one, which is then kept."""

    state: pulumi.Input[str]
    ports: Mapping[str, int | None]


class Storage(pulumi.ComponentResource):
    """What a stack keeps between releases. Destroying it leaves all of it; `relevo purge` deletes it.

    Each port is a resource, so that a preview which adds an instance still knows the ports of the others.
    """

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Storage", name, None, opts)
        folders = Folders(
            FoldersProvider(),
            f"{name}-folders",
            {"state": args.state},
            pulumi.ResourceOptions(parent=self),
        )
        self._ports = {
            server: Port(
                PortProvider(),
                f"{name}-port-{server}",
                # the engine drops nulls: 0 asks for a free one
                {"state": args.state, "server": server, "configured": configured or 0, "port": None},
                pulumi.ResourceOptions(parent=self, depends_on=[folders]),
            ).port
            for server, configured in args.ports.items()
        }
        self.state = folders.state
        self.ports: pulumi.Output[dict[str, int]] = pulumi.Output.all(**self._ports)
        self.register_outputs({"state": self.state, "ports": self.ports})

    def port(self, server: str) -> pulumi.Output[int]:
        """One of `ports`, known also while another one is not."""
        return self._ports[server]
