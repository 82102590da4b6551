"""The secrets of a job or a container app, fetched from the vault by its own identity as it begins.

Container Apps could fetch them, but for a job that may fail, and takes the whole job with it
(microsoft/azure-container-apps#1804). Here a fault is one line of the log, with its remedy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from components.azure.environment import Stored, stored
from components.azure.faults import first
from components.azure.login import own_vault
from components.azure.secret_names import OWN, project_name
from components.target import TargetError

if TYPE_CHECKING:
    from azure.keyvault.secrets import SecretClient

T = TypeVar("T")

SECONDS = 60.0
PAUSE = 2.0
# None: azure-identity itself has got no token.
MAY_PASS = (None, 401, 403)


def with_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with values where it had references. Raises `TargetError` for the first it cannot get.

    What `AZURE_CLIENT_ID` names is the identity that reads them.
    """
    wanted = {variable: found for variable, value in environment.items() if (found := stored(value))}
    vaults = {uri: own_vault(uri, environment["AZURE_CLIENT_ID"]) for uri, _ in wanted.values()}
    values: dict[Stored, str] = {}
    for variable, secret in wanted.items():
        if secret not in values:
            values[secret] = _value(variable, secret, vaults[secret.vault])
    return {**environment, **{variable: values[secret] for variable, secret in wanted.items()}}


def once_ready(ask: Callable[[], T]) -> T:
    """What `ask` answers, asked again for up to a minute while the container may still be too new for it.

    The endpoint of its identity can be later than the container (microsoft/azure-container-apps#864), and a
    role that was just given has no effect yet ("Troubleshoot Azure RBAC").
    """
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return ask()
        except HttpResponseError as error:
            if error.status_code not in MAY_PASS or time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE)


def _value(variable: str, secret: Stored, vault: SecretClient) -> str:
    needs = f"{variable} needs the secret {secret.name} of {secret.vault}, but"
    try:
        value = once_ready(lambda: vault.get_secret(secret.name)).value
    except ResourceNotFoundError:
        value = None
    except HttpResponseError as error:
        raise TargetError(f"{needs} {_refusal(error)}.") from None
    except AzureError as error:
        raise TargetError(
            f"{needs} the vault does not answer ({type(error).__name__}: {first(error)}); see its private "
            f"endpoint and the zone privatelink.vaultcore.azure.net."
        ) from None
    if value:
        return value
    remedy = (
        "run pulumi up, which makes it"
        if secret.name in OWN
        else f"set it with relevo secret set {project_name(secret.name)}"
    )
    raise TargetError(f"{needs} the vault has no value of it; {remedy}.")


def _refusal(error: HttpResponseError) -> str:
    said = first(error.message)
    if error.status_code is None:
        return f"this container gets no token for its identity ({said}); see whether it has one"
    if error.status_code in MAY_PASS:
        return (
            f"its identity may not read it (Azure answers {error.status_code}: {said}); run pulumi up, which "
            f"gives it the role Key Vault Secrets User"
        )
    return f"the vault answers {error.status_code} ({said}); run it again"
