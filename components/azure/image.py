"""Where things are in an artefact's image, and the command lines that run in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.capacity import GRACEFUL_SECONDS, Capacity

APP = "/app"  # the source; the image works in the folder in it that has manage.py
APP_PYTHON = f"{APP}/.venv/bin/python"
TOOLS_PYTHON = "/relevo/bin/python"  # ours, with components/ and the clients of Azure
# -P: the project's folder, in which all this runs, must not come before our own modules
TOOLS = (TOOLS_PYTHON, "-P", "-m")
PLATFORM = "linux/amd64"  # of App Service and Container Apps
ITSELF = "manifest.json"  # what the image is, in TOOLS_PYTHON's environment
GUNICORN = "/relevo/gunicorn.py"  # its configuration
ALIVE = "/.relevo/alive"  # is answered by that, and says no more than that a process serves
STATIC_ROOT = "/static"  # filled when the image is built
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
MEDIA_ROOT = "/media"  # of the container alone: media belong into the blob container
PORT = 8000
PREPARED, CONTEXT, RECIPE = "image", "context", "recipe.json"  # of an artefact, for a build in `pulumi up`
SCHEDULED = "scheduled-"  # begins the name of a backup that the clock takes


def web(app: Mapping[str, Any]) -> tuple[str, ...]:
    """The start command of a site: gunicorn, after it has said what it is."""
    size = Capacity(workers=app["workers"], threads=app["threads"])
    return started("web", gunicorn(app, size, host="0.0.0.0"))


def aside(app: Mapping[str, Any]) -> tuple[str, ...]:
    """The same in a job, for the job alone. Each thread may hold a connection to the database."""
    return gunicorn(app, Capacity(workers=1, threads=2), host="127.0.0.1")


def gunicorn(app: Mapping[str, Any], size: Capacity, *, host: str) -> tuple[str, ...]:
    asgi = not app.get("wsgi")
    options = {
        "config": GUNICORN,
        "bind": f"{host}:{PORT}",
        "workers": str(size.workers),
        "threads": str(size.threads),
        "worker-class": app.get("worker_class") or ("uvicorn_worker.UvicornWorker" if asgi else "gthread"),
        "graceful-timeout": str(GRACEFUL_SECONDS),
        # Longer than the front end of App Service keeps an idle connection open (240 s), or it may send a
        # request into one that is just being closed.
        "keep-alive": "250",
        "error-logfile": "-",
        "worker-tmp-dir": "/dev/shm",  # "How do I avoid Gunicorn excessively blocking?", gunicorn's FAQ
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return (APP_PYTHON, "-m", "gunicorn", app["asgi"] if asgi else app["wsgi"], *flags)


def process(name: str, command: Sequence[str]) -> tuple[str, ...]:
    """The start command of a further process, whose program is in the project's environment."""
    return started(name, [f"{APP}/.venv/bin/{command[0]}", *command[1:]])


def started(name: str, argv: Sequence[str]) -> tuple[str, ...]:
    return (*TOOLS, "components.azure.start", name, "--", *argv)


def job(words: Sequence[str]) -> tuple[str, ...]:
    """`words`: "manage.py migrate --noinput", "django_facts.py settings SALT", "schema", "role",
    "dump NAME", "restore WORD …" or "aside HOST VERSION ARGV …".
    """
    return (*TOOLS, "components.azure.run", "--", *words)


def scheduled_dump() -> tuple[str, ...]:
    """The dump that the clock starts: no runner waits for it, and as none is ever written over, each run
    makes a name of its own.
    """
    script = f'exec {" ".join(TOOLS)} components.azure.dump "{SCHEDULED}$(date -u +%Y%m%dT%H%M%SZ)"'
    return ("/bin/sh", "-c", script)


def scheduled_review() -> tuple[str, ...]:
    """The review that the clock starts, of the release that was handed over last."""
    return (*TOOLS, "components.azure.handed_over", "components.release.tasks.review")
