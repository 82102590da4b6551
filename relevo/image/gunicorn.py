"""gunicorn's configuration inside the image: that of every target, and what the platform asks of a container.

App Service asks whether a container is warm by a link-local address as Host and by plain http. Strict
settings would answer 400 (ALLOWED_HOSTS) or 301 (SECURE_SSL_REDIRECT), and the site would never start: such a
request becomes one of a visitor. Nobody else can send such a Host, since the front end finds the site by it.

Whether the process lives is answered here, without the project: a site that is taken for ill when its
database is would have all its workers replaced at once, which heals nothing.
"""

import inspect
import ipaddress
import os
import runpy

ALIVE = "/.relevo/alive"  # as components/azure/image.py has it
BESIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gunicorn_config.py")  # noqa: PTH100, PTH118, PTH120

# Read by gunicorn, under any Python and without our modules. It has what the project's own says as well.
_common = runpy.run_path(BESIDE)
globals().update({name: value for name, value in _common.items() if not name.startswith("_")})


def post_worker_init(worker):
    """Once the worker has loaded the project, before it serves ("Server Hooks" of gunicorn)."""
    _common["post_worker_init"](worker)
    place = "asgi" if hasattr(worker, "asgi") else "wsgi"  # gunicorn's own worker for ASGI; all others
    project = getattr(worker, place)
    setattr(worker, place, Asgi(project) if _is_asgi(project) else Wsgi(project))


class Wsgi:
    def __init__(self, project):
        self._project = project

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == ALIVE:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
            return [b"alive\n"]
        if _is_ping(environ.get("HTTP_HOST", "")):
            environ["HTTP_HOST"] = os.environ["WEBSITE_HOSTNAME"]
            environ["HTTP_X_FORWARDED_PROTO"] = "https"
        return self._project(environ, start_response)


class Asgi:
    def __init__(self, project):
        self._project = project

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._project(scope, receive, send)
            return
        if scope["path"] == ALIVE:
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"6")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"alive\n"})
            return
        headers = dict(scope["headers"])
        if _is_ping(headers.get(b"host", b"").decode("latin-1")):
            headers[b"host"] = os.environ["WEBSITE_HOSTNAME"].encode()
            headers[b"x-forwarded-proto"] = b"https"
            scope = {**scope, "headers": list(headers.items())}
        await self._project(scope, receive, send)


def _is_asgi(project):
    """As uvicorn tells it (`interface="auto"`)."""
    return any(map(inspect.iscoroutinefunction, (project, project.__call__)))


def _is_ping(host):
    try:
        return "WEBSITE_HOSTNAME" in os.environ and ipaddress.ip_address(host.partition(":")[0]).is_link_local
    except ValueError:
        return False
