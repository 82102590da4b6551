"""The environment of a project's processes: the stack's map of templates, in which secrets stay references.

Pure. What is a secret never leaves the vault through here: App Service fetches it for a site, and a job or a
container app for itself (container_secrets.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from components.azure import image
from components.azure.logins import password_secret, url_secret
from components.azure.secret_names import CACHE_PASSWORD, CACHE_URL, INSIGHTS, secret_name
from components.target import Deployment, TargetError
from components.templates import TOKEN, variables

# A reference as App Service reads it ("Use Key Vault references as app settings in Azure App Service").
REFERENCE = "@Microsoft.KeyVault("
STORED = re.compile(rf"{re.escape(REFERENCE)}SecretUri=(https://[^/\s]+)/secrets/([0-9A-Za-z-]+)/\)")


@dataclass(frozen=True)
class Reference:
    """A value that is in the vault, by its name there."""

    secret: str

    def within(self, vault_uri: str) -> str:
        """As text; without a version, it follows a rotation."""
        return f"{REFERENCE}SecretUri={vault_uri.rstrip('/')}/secrets/{self.secret}/)"


class Stored(NamedTuple):
    """Where a reference leads."""

    vault: str  # "https://kv-assets-prod.vault.azure.net"
    name: str


Value = str | Reference
Environment = Mapping[str, Value]


def written(environment: Environment, vault_uri: str) -> dict[str, str]:
    """As Azure is given it, with references as text."""
    return {
        variable: value.within(vault_uri) if isinstance(value, Reference) else value
        for variable, value in environment.items()
    }


def stored(value: str) -> Stored | None:
    """What a text refers to, if it is a reference as `written` writes it."""
    found = STORED.fullmatch(value)
    return Stored(*found.groups()) if found else None


def process_environment(
    facts: Mapping[str, Any], *, process: str, name: str, deployment: Deployment
) -> dict[str, Value]:
    """All that a process finds in its environment.

    `process`: "web", "manage" or a further process; `name`: who is started, e.g. "instance-1". Raises
    `TargetError` for a template that cannot be filled.
    """
    values = _values(facts, name, deployment)
    return {
        **{
            variable: resolve(template, values, f"relevo:app.environment.{variable}")
            for variable, template in variables(facts, process).items()
        },
        "DJANGO_SETTINGS_MODULE": facts["app"]["settings"],
        "PYTHONUNBUFFERED": "1",
        "RELEVO_RELEASE_ID": deployment.release,
        "RELEVO_VERSION": deployment.version,
        "RELEVO_IMAGE": deployment.image,
        "RELEVO_INSTANCE": name,
    }


def identity(client_id: str) -> dict[str, str]:
    """By which a process is known: what azure-identity reads, and Azure Monitor's OpenTelemetry exporter.

    The latter sends nothing otherwise, since Application Insights takes no key here ("Microsoft Entra
    authentication for Application Insights").
    """
    return {
        "AZURE_CLIENT_ID": client_id,
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"Authorization=AAD;ClientId={client_id}",
    }


def resolve(template: str, values: Mapping[str, Callable[[], Value]], key: str) -> Value:
    """A text, or a reference if the template is one secret. Raises `TargetError` if it mixes the two."""

    def value(placeholder: str) -> Value:
        if placeholder.startswith("secret."):
            return Reference(secret_name(placeholder.removeprefix("secret.")))
        if placeholder not in values:
            raise TargetError(
                f"{key} uses {{{placeholder}}}, but only {{secret.NAME}}, {', '.join(values)} are accepted; "
                f"correct it."
            )
        return values[placeholder]()

    whole = TOKEN.fullmatch(template)
    if whole and whole.group(1) is not None:
        return value(whole.group(1))

    def replace(match: re.Match[str]) -> str:
        token = match.group(0)
        if token in ("{{", "}}"):
            return token[0]
        found = value(match.group(1))
        if isinstance(found, Reference):
            raise TargetError(
                f"{key} mixes {token} with other text, but a secret alone is accepted, since it stays in the "
                f"vault; give it a variable of its own, or take {{database.url}} or {{cache.url}}."
            )
        return found

    return TOKEN.sub(replace, template)


def libpq(database: Mapping[str, Any]) -> dict[str, str]:
    """With which our own jobs come to the database, as its administrator ("Environment Variables", libpq).

    The server's certificate is verified. They have no password, but ask for a token.
    """
    return {
        "PGHOST": database["host"],
        "PGPORT": str(database["port"]),
        "PGDATABASE": database["name"],
        "PGUSER": database["administrator"],
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": image.CERTIFICATES,
    }


def _values(facts: Mapping[str, Any], name: str, deployment: Deployment) -> dict[str, Callable[[], Value]]:
    database, cache, storage = facts["database"], facts["cache"], facts["storage"]
    site = facts["sites"].get(name)
    return {
        "database.host": lambda: database["host"],
        "database.port": lambda: str(database["port"]),
        "database.name": lambda: database["name"],
        "database.user": lambda: database["user"],
        "database.url": lambda: Reference(url_secret(database["login"])),
        "database.password": lambda: Reference(password_secret(database["login"])),
        "cache.url": lambda: Reference(CACHE_URL),
        "cache.password": lambda: Reference(CACHE_PASSWORD),
        # The managed cache has one credential for all.
        "cache.readonly.url": lambda: Reference(CACHE_URL),
        "cache.readonly.password": lambda: Reference(CACHE_PASSWORD),
        "cache.host": lambda: cache["host"],
        "cache.port": lambda: str(cache["port"]),
        "cache.user": lambda: "default",
        "cache.readonly.user": lambda: "default",
        "storage.host": lambda: storage["blob_host"],
        "storage.account": lambda: storage["account"],
        "storage.media": lambda: storage["media"],
        "public.url": lambda: facts["public_url"],
        "public.host": lambda: facts["public_host"],
        "public.port": lambda: "443",
        "release.id": lambda: deployment.release,
        "release.version": lambda: deployment.version,
        "release.image": lambda: deployment.image,
        "instance.name": lambda: name,
        # A job and a process have no address of their own, but share the settings of those that have.
        "instance.host": lambda: (site and site.get("host")) or facts["public_host"],
        "instance.verify.host": lambda: (
            urlsplit((site and site.get("verify_url")) or "").hostname or facts["public_host"]
        ),
        "static.root": lambda: image.STATIC_ROOT,
        "media.root": lambda: image.MEDIA_ROOT,
        "insights.connection": lambda: Reference(INSIGHTS),
    }
