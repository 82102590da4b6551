"""The public address of a stack: a load balancer before the instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local.balancer import PROGRAM, Balancer, EdgeSettings, Probe, balancer
from components.local.environment import HOST
from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Supervisor

__all__ = ["Edge", "EdgeArgs", "Probe"]


class EdgeProvider(LocalProvider):
    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        _balancer(inputs)  # raises on a machine that has none
        return None

    def ensure(self, inputs: Properties) -> Properties:
        settings = EdgeSettings(
            port=inputs["port"],
            stats_port=inputs["stats_port"],
            instances=inputs["instances"],
            probe=Probe(**inputs["probe"]),
        )
        _balancer(inputs).ensure(settings)
        return {"url": f"http://{HOST}:{inputs['port']}"}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        return not _balancer(inputs).answers()

    def remove(self, inputs: Properties) -> None:
        Supervisor(Layout(Path(inputs["state"]))).remove(PROGRAM)


def _balancer(inputs: Properties) -> Balancer:
    layout = Layout(Path(inputs["state"]))
    return balancer(layout, Supervisor(layout))


class LoadBalancer(Resource, module="relevo", name="Edge"):
    url: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class EdgeArgs:
    """`instances`: name → port of each that may get requests."""

    state: pulumi.Input[str]
    port: pulumi.Input[int]
    stats_port: pulumi.Input[int]
    instances: Mapping[str, pulumi.Input[int]]
    probe: Probe


class Edge(pulumi.ComponentResource):
    """The balancer, with active checks. Changing its instances loses no request."""

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Edge", name, None, opts)
        balancer = LoadBalancer(
            EdgeProvider(),
            f"{name}-balancer",
            {
                "state": args.state,
                "port": args.port,
                "stats_port": args.stats_port,
                "instances": dict(args.instances),
                "probe": {**asdict(args.probe), "headers": dict(args.probe.headers)},
                "url": None,
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.url = balancer.url
        self.register_outputs({"url": self.url})
