"""What the local target needs of a load balancer. `machine` says which one there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from components.local.environment import HOST

PROGRAM = "edge"
READY_SECONDS = 10.0
UNAVAILABLE = """<!doctype html><html lang="en"><title>Back soon</title>
<h1>Back soon</h1><p>No instance of this site can answer right now. Please try again in a moment.</p></html>
"""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The request by which the balancer asks an instance whether it can serve."""

    path: str = "/"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 2.0


@dataclass(frozen=True, kw_only=True)
class EdgeSettings:
    """`instances`: name → port. `logbook`: the path below which the page server answers; None: nowhere."""

    port: int
    stats_port: int
    instances: Mapping[str, int]
    probe: Probe
    logbook: str | None = None

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


def unready(port: int, settings: EdgeSettings) -> str | None:
    """What the instance on `port` does instead of answering the probe as it should; None if it does."""
    import httpx  # only where it is asked: it takes long

    probe = settings.probe
    try:
        response = httpx.get(
            f"http://{HOST}:{port}{probe.path}",
            headers=settings.probe_headers,
            timeout=probe.timeout_seconds,
            trust_env=False,
        )
    except httpx.TimeoutException:
        return f"does not answer within {probe.timeout_seconds:g} s"
    except httpx.HTTPError as error:
        return f"does not answer ({type(error).__name__})"
    return None if response.status_code == probe.status else f"answers {response.status_code}"
