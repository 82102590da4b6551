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
from components.target import TargetError


class StorageProvider(LocalProvider):
    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        try:
            layout = Layout(Path(inputs["state"]))
        except TargetError as error:
            return "state", str(error)
        for name, port in _wanted(inputs).items():
            if port is not None and not ports.available(layout, port):
                return "wanted", ports.taken(name, port)
        return None

    def ensure(self, inputs: Properties) -> Properties:
        layout = Layout(Path(inputs["state"]))
        layout.make()
        return {"ports": ports.allocate(layout, _wanted(inputs))}

    def drifted(self, inputs: Properties) -> bool:
        layout = Layout(Path(inputs["state"]))
        return not layout.made() or ports.drifted(layout, _wanted(inputs))


def _wanted(inputs: Properties) -> dict[str, int | None]:
    return {name: port or None for name, port in inputs["wanted"].items()}


class Folders(Resource, module="relevo", name="Storage"):
    state: pulumi.Output[str]
    ports: pulumi.Output[dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """`ports`: every name that the stack needs one for; None asks for a free one, which is then kept."""

    state: pulumi.Input[str]
    ports: Mapping[str, int | None]


class Storage(pulumi.ComponentResource):
    """What a stack keeps between releases. Destroying it leaves the data; `relevo purge` deletes it."""

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Storage", name, None, opts)
        folders = Folders(
            StorageProvider(),
            f"{name}-folders",
            # the engine drops nulls: 0 stands for a free port
            {
                "state": args.state,
                "wanted": {key: port or 0 for key, port in args.ports.items()},
                "ports": None,
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.state = folders.state
        self.ports = folders.ports
        self.register_outputs({"state": self.state, "ports": self.ports})
