"""How secrets are called in the vault. Pure, so that a step need not load the engine's SDK for a name."""

from __future__ import annotations

from components.azure.logins import LOGINS, password_secret, url_secret

# The stack's own. A project's secret may not be called so.
VERIFY = "relevo-verify"  # sent by whoever may call an instance directly
VERIFY_HEADER = "X-Relevo-Verify"  # in which it is sent
CACHE_PASSWORD = "cache-password"
CACHE_URL = "cache-url"
INSIGHTS = "insights-connection-string"
OWN = (
    VERIFY,
    *map(password_secret, LOGINS),
    *map(url_secret, LOGINS),
    CACHE_PASSWORD,
    CACHE_URL,
    INSIGHTS,
)


def secret_name(name: str) -> str:
    """How a project's secret is called in the vault, where names have no underscore: "secret-key"."""
    return name.lower().replace("_", "-")


def project_name(secret: str) -> str:
    """How a project calls a secret of the vault, as far as that tells: "SECRET_KEY"."""
    return secret.upper().replace("-", "_")
