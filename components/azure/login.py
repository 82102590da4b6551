"""Who asks Azure, and the clients with which the release asks it."""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.policies import RetryPolicy
from azure.identity import ClientAssertionCredential, DefaultAzureCredential, ManagedIdentityCredential

if TYPE_CHECKING:
    from azure.containerregistry import ContainerRegistryClient
    from azure.core.credentials import TokenCredential
    from azure.keyvault.secrets import SecretClient
    from azure.mgmt.appcontainers import ContainerAppsAPIClient
    from azure.mgmt.appcontainers.operations import JobsOperations
    from azure.mgmt.cdn import CdnManagementClient
    from azure.mgmt.containerregistry import ContainerRegistryManagementClient
    from azure.mgmt.monitor import MonitorManagementClient
    from azure.mgmt.postgresqlflexibleservers import PostgreSQLManagementClient
    from azure.mgmt.storage import StorageManagementClient
    from azure.mgmt.web import WebSiteManagementClient
    from azure.monitor.query import LogsQueryClient
    from azure.storage.blob import BlobServiceClient

PUBLIC = "https://management.azure.com"
KNOWN_AUTHORITIES = {
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
}
# Each client's retries of throttling and server errors, by azure-core. Its default may take half an hour.
PATIENCE: dict[str, Any] = {
    "retry_total": 4,
    "retry_backoff_max": 30,
    "connection_timeout": 10,
    "read_timeout": 60,
}

# Where a job of GitHub asks for a token of its own, and for whom ("OpenID Connect", GitHub Actions).
GITHUB_URL, GITHUB_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
AUDIENCE = "api://AzureADTokenExchange"

POLLING = 5  # seconds between two questions about a long operation, unless ARM says when


@functools.cache
def credential() -> TokenCredential:
    """Of the environment, else a workload or managed identity, else who is logged in with az.

    In a job of GitHub, that of the app whose federated credential it has (ARM_CLIENT_ID), by a new token of
    GitHub each time: the one that `az login` has got is good for five minutes, and no access token can be had
    by it after that (Azure/azure-cli#28708).

    An authority of a private cloud (`AZURE_AUTHORITY_HOST`) is taken as it is: only the public ones can be
    looked up at Microsoft ("disable_instance_discovery" of azure-identity).
    """
    quiet()
    authority = os.environ.get("AZURE_AUTHORITY_HOST", "login.microsoftonline.com")
    host = urlsplit(authority if "//" in authority else f"//{authority}").netloc
    private: dict[str, Any] = {"disable_instance_discovery": host not in KNOWN_AUTHORITIES}
    if GITHUB_URL in os.environ and "ARM_CLIENT_ID" in os.environ:
        tenant, app = os.environ["ARM_TENANT_ID"], os.environ["ARM_CLIENT_ID"]
        return ClientAssertionCredential(tenant, app, _token_of_github, **private)
    return DefaultAzureCredential(
        **private,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
    )


def _token_of_github() -> str:
    """Raises `ClientAuthenticationError`, which is what azure-identity's own credentials raise."""
    try:
        response = httpx.get(
            f"{os.environ[GITHUB_URL]}&audience={AUDIENCE}",
            headers={"Authorization": f"Bearer {os.environ[GITHUB_TOKEN]}"},
            timeout=PATIENCE["connection_timeout"],
        )
        return response.raise_for_status().json()["value"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise ClientAuthenticationError(f"GitHub gives this job no token ({type(error).__name__})") from None


def quiet() -> None:
    """The SDKs log requests, and with debugging on also their headers: not where a step's output goes."""
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.ERROR)


class OnlyTurnedAway(RetryPolicy):
    """Repeats what was turned away (429) and nothing else: whatever else is answered, it may have begun."""

    def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
        return response.http_response.status_code == 429 and super().is_retry(settings, response)


@dataclass(frozen=True)
class Clients:
    """Made when first used: importing all of azure-mgmt takes seconds, and a step needs two or three."""

    subscription: str
    resource_manager: str = PUBLIC

    @functools.cached_property
    def _arm(self) -> dict[str, Any]:
        base = self.resource_manager.rstrip("/")
        return {
            "credential": credential(),
            "subscription_id": self.subscription,
            "base_url": base,
            "credential_scopes": [f"{base}/.default"],
            "polling_interval": POLLING,
            **PATIENCE,
        }

    @functools.cached_property
    def web(self) -> WebSiteManagementClient:
        from azure.mgmt.web import WebSiteManagementClient

        return WebSiteManagementClient(**self._arm)

    @functools.cached_property
    def front_door(self) -> CdnManagementClient:
        from azure.mgmt.cdn import CdnManagementClient

        return CdnManagementClient(**self._arm)

    @functools.cached_property
    def container_apps(self) -> ContainerAppsAPIClient:
        from azure.mgmt.appcontainers import ContainerAppsAPIClient

        return ContainerAppsAPIClient(**self._arm)

    @functools.cached_property
    def job_starts(self) -> JobsOperations:
        """Apart from the other calls, as azure-core would start a job again after a 500, 503 or 504."""
        from azure.mgmt.appcontainers import ContainerAppsAPIClient

        return ContainerAppsAPIClient(**self._arm, retry_policy=OnlyTurnedAway(**PATIENCE)).jobs

    @functools.cached_property
    def postgres(self) -> PostgreSQLManagementClient:
        from azure.mgmt.postgresqlflexibleservers import PostgreSQLManagementClient

        return PostgreSQLManagementClient(**self._arm)

    @functools.cached_property
    def registries(self) -> ContainerRegistryManagementClient:
        from azure.mgmt.containerregistry import ContainerRegistryManagementClient

        return ContainerRegistryManagementClient(**self._arm)

    @functools.cached_property
    def storage(self) -> StorageManagementClient:
        from azure.mgmt.storage import StorageManagementClient

        return StorageManagementClient(**self._arm)

    @functools.cached_property
    def monitor(self) -> MonitorManagementClient:
        from azure.mgmt.monitor import MonitorManagementClient

        return MonitorManagementClient(**self._arm)

    @functools.cached_property
    def logs(self) -> LogsQueryClient:
        from azure.monitor.query import LogsQueryClient

        return LogsQueryClient(credential(), **PATIENCE)

    def registry(self, server: str) -> ContainerRegistryClient:
        from azure.containerregistry import ContainerRegistryClient

        audience = self.resource_manager.rstrip("/")
        return ContainerRegistryClient(f"https://{server}", credential(), audience=audience, **PATIENCE)

    def vault(self, uri: str) -> SecretClient:
        from azure.keyvault.secrets import SecretClient

        return SecretClient(uri, credential(), **PATIENCE)


def own_vault(uri: str, client_id: str) -> SecretClient:
    """As the identity of this container, whatever else a project has in its environment."""
    from azure.keyvault.secrets import SecretClient

    quiet()
    return SecretClient(uri, ManagedIdentityCredential(client_id=client_id), **PATIENCE)


def blobs(host: str) -> BlobServiceClient:
    """`host` such as "stassetsprod.blob.core.windows.net". Also what a job uses."""
    from azure.storage.blob import BlobServiceClient, ExponentialRetry

    return BlobServiceClient(
        f"https://{host}",
        credential(),
        retry_policy=ExponentialRetry(
            initial_backoff=1, increment_base=2, retry_total=4, random_jitter_range=1
        ),
        connection_timeout=10,
        read_timeout=60,
    )
