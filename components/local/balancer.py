"""What the local target needs of a load balancer, and which one this machine has."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from components.local.environment import HOST
from components.local.layout import Layout
from components.local.supervisor import Supervisor
from components.target import TargetError

PROGRAM = "edge"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The request by which the balancer asks an instance whether it can serve."""

    path: str = "/"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 2.0


@dataclass(frozen=True, kw_only=True)
class EdgeSettings:
    """`instances`: name → port."""

    port: int
    stats_port: int
    instances: Mapping[str, int]
    probe: Probe

    @property
    def probe_headers(self) -> dict[str, str]:
        """What the balancer sends with the probe."""
        return {"Host": f"{HOST}:{self.port}", **self.probe.headers}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EdgeSettings:
        return cls(**{**data, "probe": Probe(**data["probe"])})


class Balancer(Protocol):
    """A load balancer of named instances. Rotation outlives its restarts; new instances are out of it."""

    def ensure(self, settings: EdgeSettings) -> None:
        """Have it running as set; a change loses no request. Raises `TargetError`."""
        ...

    def running(self) -> EdgeSettings | None:
        """The settings it was last given; None when it does not run."""
        ...

    def answers(self) -> bool:
        """Whether it runs with the settings it was last given."""
        ...

    def drain(self, name: str, *, timeout: float) -> None:
        """Out of rotation; returns when no request is left in it. Raises `TargetError` at the timeout."""
        ...

    def admit(self, name: str, *, timeout: float) -> None:
        """Into rotation; returns when its own check sees it healthy. Raises `TargetError` at the timeout."""
        ...

    def in_rotation(self, name: str) -> bool:
        """Whether it gets requests now."""
        ...

    def forget(self, name: str) -> None:
        """An instance that is gone: should one of that name come back, it starts out of rotation."""
        ...


def balancer(layout: Layout, supervisor: Supervisor) -> Balancer:
    """This machine's. Raises `TargetError` where there is none."""
    if sys.platform == "linux":
        from components.local.haproxy import HAProxy

        return HAProxy(layout, supervisor)
    raise TargetError(
        f"the platform is {sys.platform} on {platform.machine()}, but the local target's balancer runs on "
        f"Linux only; use a Linux machine or virtual machine."
    )
