"""The supervisor of a stack as a resource: it runs from `up` to `destroy`, whatever happens to Pulumi."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local import control
from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Supervisor as Supervisord


class SupervisorProvider(LocalProvider):
    def ensure(self, inputs: Properties) -> Properties:
        control.ensure(Layout(Path(inputs["state"])))
        return {}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        return not Supervisord(Layout(Path(inputs["state"]))).running()

    def remove(self, inputs: Properties) -> None:
        layout = Layout(Path(inputs["state"]))
        if layout.run.is_dir():
            Supervisord(layout).shutdown()


class Daemon(Resource, module="relevo", name="Supervisor"):
    state: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class SupervisorArgs:
    state: pulumi.Input[str]


class Supervisor(pulumi.ComponentResource):
    """supervisord. Found dead, it is a change: its programs are ended exactly and started again."""

    def __init__(self, name: str, args: SupervisorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Supervisor", name, None, opts)
        daemon = Daemon(
            SupervisorProvider(), f"{name}-daemon", {"state": args.state}, pulumi.ResourceOptions(parent=self)
        )
        self.state = daemon.state
        self.register_outputs({"state": self.state})
