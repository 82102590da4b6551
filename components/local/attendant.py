"""The attendant of a stack as a resource: a supervised program that watches and reviews what was released.

It is there from `up` to `destroy`, also when nobody has a terminal open. What it does is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Program, Supervisor

PROGRAM = "attendant"


class AttendantProvider(LocalProvider):
    def ensure(self, inputs: Properties) -> Properties:
        program = Program(name=PROGRAM, command=tuple(inputs["command"]), directory=inputs["directory"])
        Supervisor(Layout(Path(inputs["state"]))).apply(program)
        return {}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        status = Supervisor(Layout(Path(inputs["state"]))).status(PROGRAM)
        return not (status and status.running)

    def remove(self, inputs: Properties) -> None:
        layout = Layout(Path(inputs["state"]))
        Supervisor(layout).remove(PROGRAM)
        layout.handed_over.unlink(missing_ok=True)


class Watchkeeper(Resource, module="relevo", name="Attendant"):
    state: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class AttendantArgs:
    """`command`, run in `directory`, looks after what is handed over (`Layout.handed_over`)."""

    state: pulumi.Input[str]
    command: Sequence[str]
    directory: str


class Attendant(pulumi.ComponentResource):
    """Keeps its process when nothing of it changes, so that a release of its own making is not cut off."""

    def __init__(self, name: str, args: AttendantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Attendant", name, None, opts)
        program = Watchkeeper(
            AttendantProvider(),
            f"{name}-program",
            {"state": args.state, "command": list(args.command), "directory": args.directory},
            pulumi.ResourceOptions(parent=self),
        )
        self.state = program.state
        self.register_outputs({"state": self.state})
