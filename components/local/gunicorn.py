"""How gunicorn is run on an instance: its command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.capacity import GRACEFUL_SECONDS, Capacity
from components.target import TargetError

CONFIGURATION = Path(__file__).parents[1] / "gunicorn_config.py"


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def command(
    app: Mapping[str, Any], size: Capacity, *, environment_folder: Path, port: int
) -> tuple[str, ...]:
    """The argv that serves the project on a loopback port. Raises `TargetError` without a gunicorn."""
    entry_point = app.get("wsgi") or app["asgi"]
    worker_class = app.get("worker_class") or (
        "gthread" if app.get("wsgi") else "uvicorn_worker.UvicornWorker"
    )
    options = {
        "config": str(CONFIGURATION),
        "bind": f"127.0.0.1:{port}",
        "workers": str(size.workers),
        "threads": str(size.threads),
        "worker-class": worker_class,
        "graceful-timeout": str(GRACEFUL_SECONDS),
        # The balancer closes its side after each response (see haproxy.py): no connection lies idle here.
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
