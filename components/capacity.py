"""How many gunicorn workers and threads a machine takes, so that each thread has its database connection."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.target import TargetError

THREADS = 4
# Connections that PostgreSQL keeps for superusers (3), plus a manage.py command and a backup beside the site.
RESERVED_CONNECTIONS = 8
# Assumed of a worker, the project loaded and its threads at work.
WORKER_MB = 256
GRACEFUL_SECONDS = 30  # for the requests that a worker still has when it is stopped


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Of each instance."""

    workers: int
    threads: int


def capacity(
    *,
    cores: int,
    instances: int,
    max_connections: int,
    machines: int = 1,
    memory_mb: int | None = None,
    reserved: int = RESERVED_CONNECTIONS,
    processes: int = 0,
    workers: int | None = None,
    threads: int | None = None,
    limit: str = "relevo:database.maxConnections",
) -> Capacity:
    """Workers and threads of each instance, such that every thread can have its database connection.

    (2 x cores) + 1 workers on each of the `machines`, shared by the instances there; the rule is gunicorn's
    own (https://docs.gunicorn.org/en/stable/design.html#how-many-workers). `memory_mb`: what a machine has
    for workers, None where it is no concern. Raises `TargetError` if configured numbers need more connections
    or memory than there are; `limit` is what it calls the number of connections.
    """
    sharing = math.ceil(instances / machines)
    available = max_connections - reserved - processes
    fitting = None if memory_mb is None else max(1, memory_mb // (WORKER_MB * sharing))
    if workers is not None and fitting is not None and workers > fitting:
        raise TargetError(
            f"relevo:app.workers is {workers}, but the memory of a machine ({memory_mb} MB for {sharing} "
            f"instances, {WORKER_MB} MB a worker) is enough for {fitting} "
            f"each; lower it, or take a larger size."
        )
    count = workers if workers is not None else max(1, math.ceil((2 * cores + 1) / sharing))
    width = threads if threads is not None else THREADS
    if workers is None:
        count = max(1, min(count, available // (instances * (width if threads is not None else 1))))
        count = count if fitting is None else min(count, fitting)
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
