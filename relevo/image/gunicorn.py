"""gunicorn's configuration inside the image: the project's own, and the platform's pings as visitors ask.

App Service asks a container whether it is warm, and healthy, by a link-local address as Host and by plain
http. Strict settings would answer 400 (ALLOWED_HOSTS) or 301 (SECURE_SSL_REDIRECT), and the site would never
start. Nobody else can send such a Host, since the front end finds the site by it.
"""

import ipaddress
import os
import runpy

OWN = "gunicorn.conf.py"  # which gunicorn reads by itself only where it is given no other ("config")

if os.path.exists(OWN):  # noqa: PTH110 - read by gunicorn, under any Python and without our modules
    globals().update(
        {name: value for name, value in runpy.run_path(OWN).items() if not name.startswith("__")}
    )
_theirs = globals().get("pre_request")


def pre_request(worker, request):
    """The site's own host and https, where a request came from the platform ("Server Hooks" of gunicorn)."""
    headers = dict(request.headers)
    if "WEBSITE_HOSTNAME" in os.environ and _is_link_local(headers.get("HOST", "")):
        headers["HOST"] = os.environ["WEBSITE_HOSTNAME"]
        headers["X-FORWARDED-PROTO"] = "https"
        request.headers = list(headers.items())
    if _theirs is not None:
        _theirs(worker, request)


def _is_link_local(host):
    try:
        return ipaddress.ip_address(host.partition(":")[0]).is_link_local
    except ValueError:
        return False
