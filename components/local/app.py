"""The places where the project's processes run. What runs in them is the release's business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local.layout import Layout
from components.local.machine import balancer
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Supervisor


class SlotProvider(LocalProvider):
    """The release's roll step puts the program into a slot; here it is only started again, or removed."""

    def ensure(self, inputs: Properties) -> Properties:
        supervisor = Supervisor(Layout(Path(inputs["state"])))
        if supervisor.configured(inputs["slot"]):
            supervisor.start(inputs["slot"])
        return {}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        supervisor = Supervisor(Layout(Path(inputs["state"])))
        status = supervisor.status(inputs["slot"])
        return supervisor.configured(inputs["slot"]) and not (status and status.running)

    def remove(self, inputs: Properties) -> None:
        layout = Layout(Path(inputs["state"]))
        supervisor = Supervisor(layout)
        supervisor.remove(inputs["slot"])
        balancer(layout, supervisor).forget(inputs["slot"])


class Slot(Resource, module="relevo", name="Slot"):
    slot: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class AppArgs:
    """`instances`: name → port, in rolling order. `processes`: names of those without a port."""

    state: pulumi.Input[str]
    instances: Mapping[str, pulumi.Input[int]]
    processes: Sequence[str] = field(default=())


class App(pulumi.ComponentResource):
    """A slot for each instance and each further process."""

    def __init__(self, name: str, args: AppArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:App", name, None, opts)
        ports: dict[str, pulumi.Input[int]] = {**args.instances, **dict.fromkeys(args.processes, 0)}
        slots = {
            slot: Slot(
                SlotProvider(),
                f"{name}-{slot}",
                {"state": args.state, "slot": slot, "port": port},
                pulumi.ResourceOptions(parent=self),
            )
            for slot, port in ports.items()
        }
        self.instances = pulumi.Output.all(*(slots[slot].slot for slot in args.instances))
        self.processes = pulumi.Output.all(*(slots[slot].slot for slot in args.processes))
        self.register_outputs({"instances": self.instances, "processes": self.processes})
