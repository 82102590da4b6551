"""How gunicorn is run on an instance: how many workers and threads, and its command line."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.target import TargetError

THREADS = 4
GRACEFUL_SECONDS = 30
# Connections that PostgreSQL keeps for superusers (3), plus a manage.py command and a backup beside the site.
RESERVED_CONNECTIONS = 8


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Of each instance."""

    workers: int
    threads: int


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def capacity(
    *,
    cores: int,
    instances: int,
    max_connections: int,
    processes: int = 0,
    workers: int | None = None,
    threads: int | None = None,
    limit: str = "relevo:database.maxConnections",
) -> Capacity:
    """Workers and threads of each instance, such that every thread can have its database connection.

    (2 x cores) + 1 workers in all, shared by the instances; the rule is gunicorn's own
    (https://docs.gunicorn.org/en/stable/design.html#how-many-workers). Raises `TargetError` if configured
    numbers need more connections than there are; `limit` is what it calls their number.
    """
    available = max_connections - RESERVED_CONNECTIONS - processes
    count = workers if workers is not None else max(1, math.ceil((2 * cores + 1) / instances))
    width = threads if threads is not None else THREADS
    if workers is None:
        count = max(1, min(count, available // (instances * (width if threads is not None else 1))))
    if threads is None:
        width = max(1, min(width, available // (instances * count)))
    needed = instances * count * width
    if needed > available:
        raise TargetError(
            f"{limit} is {max_connections}, but {instances} instances of {count} "
            f"workers with {width} threads need {needed + max_connections - available}; "
            f"raise it, or lower relevo:app.workers or relevo:app.threads."
        )
    return Capacity(workers=count, threads=width)


def command(
    app: Mapping[str, Any], size: Capacity, *, environment_folder: Path, port: int
) -> tuple[str, ...]:
    """The argv that serves the project on a loopback port. Raises `TargetError` without a gunicorn."""
    entry_point = app.get("wsgi") or app["asgi"]
    worker_class = app.get("worker_class") or (
        "gthread" if app.get("wsgi") else "uvicorn_worker.UvicornWorker"
    )
    options = {
        "bind": f"127.0.0.1:{port}",
        "workers": str(size.workers),
        "threads": str(size.threads),
        "worker-class": worker_class,
        "graceful-timeout": str(GRACEFUL_SECONDS),
        # The balancer closes its side after each response (see haproxy.py), so no connection lies idle here.
        "keep-alive": "75",
        "error-logfile": "-",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    if "--no-control-socket" in _source(environment_folder):
        flags.append("--no-control-socket")  # all instances would share the one in HOME
    return (str(environment_folder / "bin" / "python"), "-m", "gunicorn", entry_point, *flags)


def _source(environment_folder: Path) -> str:
    found = next(environment_folder.glob("lib/python*/site-packages/gunicorn/config.py"), None)
    if found is None:
        raise TargetError(
            "the artefact has no gunicorn, but each instance is served by it; "
            "add it to the project's requirements or to relevo:app.build.packages."
        )
    return found.read_text()
