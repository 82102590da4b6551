"""The public address of a stack: a load balancer before the instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local.balancer import PROGRAM, Balancer, EdgeSettings, Probe, unready
from components.local.environment import HOST
from components.local.launch import Launch
from components.local.layout import Layout
from components.local.machine import balancer
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Supervisor

__all__ = ["Edge", "EdgeArgs", "Probe"]


class EdgeProvider(LocalProvider):
    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        fault = probe_fault(
            _balancer(inputs), _settings(inputs), lambda name: _version(Path(inputs["state"]), name)
        )
        return ("", fault) if fault else None

    def ensure(self, inputs: Properties) -> Properties:
        _balancer(inputs).ensure(_settings(inputs))
        return {"url": f"http://{HOST}:{inputs['port']}"}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        return not _balancer(inputs).answers()

    def remove(self, inputs: Properties) -> None:
        Supervisor(Layout(Path(inputs["state"]))).remove(PROGRAM)


def probe_fault(balancer: Balancer, wanted: EdgeSettings, version: Callable[[str], str | None]) -> str | None:
    """Why the balancer cannot be given another probe: it uses it at once, before any new version runs."""
    running = balancer.running()
    if running is None or running.probe == wanted.probe:
        return None
    for name, port in running.instances.items():
        if name not in wanted.instances or not balancer.in_rotation(name):
            continue
        fault = unready(port, wanted)
        if fault is not None:
            return (
                f"relevo:app.probe expects {wanted.probe.status} of {wanted.probe.path}, but "
                f"{version(name) or 'what runs'} on {name} {fault}; release with the probe that both "
                f"versions answer, then change it."
            )
    return None


def _version(state: Path, name: str) -> str | None:
    try:
        return Launch.from_json(Layout(state).launch(name).read_text()).deployment.version
    except FileNotFoundError:
        return None


def _settings(inputs: Properties) -> EdgeSettings:
    return EdgeSettings(
        port=inputs["port"],
        stats_port=inputs["stats_port"],
        instances=inputs["instances"],
        probe=Probe(**inputs["probe"]),
        logbook=inputs.get("logbook"),
    )


def _balancer(inputs: Properties) -> Balancer:
    layout = Layout(Path(inputs["state"]))
    return balancer(layout, Supervisor(layout))


class LoadBalancer(Resource, module="relevo", name="Edge"):
    url: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class EdgeArgs:
    """`instances`: name → port of each that may get requests. `logbook`: the path of the pages, if any."""

    state: pulumi.Input[str]
    port: pulumi.Input[int]
    stats_port: pulumi.Input[int]
    instances: Mapping[str, pulumi.Input[int]]
    probe: Probe
    logbook: str | None = None


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
                "logbook": args.logbook,
                "url": None,
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.url = balancer.url
        self.register_outputs({"url": self.url})
