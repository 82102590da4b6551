"""Which addresses are asked through the environment's proxy, and by its certificates."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def heeds_environment(url: str) -> bool:
    """Whether HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE are heeded: for every host but this machine itself."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
