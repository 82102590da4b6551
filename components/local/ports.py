"""The ports of a stack: free ones unless configured, and the same for as long as the state folder lives."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping

import psutil

from components.local import durable
from components.local.layout import Layout
from components.local.marker import marker
from components.target import TargetError

# Below the range from which kernels give outgoing connections their ports (32768 on Linux, 49152 on macOS).
FIRST, COUNT = 20000, 10000


def saved(layout: Layout) -> dict[str, int]:
    try:
        return json.loads(layout.ports.read_text())
    except FileNotFoundError:
        return {}


def allocate(layout: Layout, name: str, configured: int | None) -> int:
    """The port of `name`, kept in the state folder. Raises `TargetError` if a configured one is taken."""
    with durable.locked(layout.run / "ports.lock"):
        ports = saved(layout)
        if configured is not None:
            if not available(layout, configured):
                raise TargetError(taken(name, configured))
            port = configured
        else:
            others = {port for other, port in ports.items() if other != name}
            before = [ports[name]] if name in ports else []
            port = next(
                port
                for port in (*before, *_candidates(layout, name))
                if port not in others and available(layout, port)
            )
        if ports.get(name) != port:
            _save(layout, {**ports, name: port})
    return port


def free(layout: Layout) -> int:
    """One that nobody has now, for what soon ends."""
    given = saved(layout).values()
    return next(port for port in _candidates(layout, "free") if port not in given and available(layout, port))


def drifted(layout: Layout, name: str, port: int) -> bool:
    """Whether the port that was given to `name` is lost, or somebody else's now."""
    return saved(layout).get(name) != port or not available(layout, port)


def _save(layout: Layout, ports: Mapping[str, int]) -> None:
    durable.write(layout.ports, json.dumps(ports, indent=2, sort_keys=True) + "\n")


def taken(name: str, port: int) -> str:
    key = {"public": "relevo:port"}.get(name, f"relevo:{name}.port")
    return f"{key} is {port}, but another process listens there; choose another port or stop that process."


def available(layout: Layout, port: int) -> bool:
    """Whether nobody listens on the loopback port, or one of this stack's own programs does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return _ours(layout, port)
    return True


def _ours(layout: Layout, port: int) -> bool:
    for process in psutil.process_iter():
        try:
            if not marker(process, layout).startswith(layout.marker("")):
                continue
            if any(
                connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
                for connection in process.net_connections("tcp")
            ):
                return True
        except psutil.Error:
            continue
    return False


def _candidates(layout: Layout, name: str) -> Iterator[int]:
    """All ports of our range, from a point that differs by stack and name, so that two stacks seldom meet."""
    start = int.from_bytes(hashlib.sha256(layout.marker(name).encode()).digest()[:4], "big")
    return (FIRST + (start + step) % COUNT for step in range(COUNT))
