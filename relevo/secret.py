"""Secrets that a stack's configuration names, put into the target's vault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from components.local.layout import Layout
from components.local.vault import Vault
from relevo.errors import RelevoError
from relevo.project import Project
from stacks.azure_settings import AzureSection
from stacks.settings import did_you_mean


def put(project: Project, stack: str, name: str, value: str) -> None:
    """Raises `RelevoError` for a name that is not declared and for a value that cannot be meant."""
    settings = project.settings(stack)
    declared = settings.secrets
    if name not in declared:
        remedy = did_you_mean(name, declared) or f"declare it in Pulumi.{stack}.yaml"
        raise RelevoError(
            f"{name} is not among relevo:secrets, but only {', '.join(declared) or 'none'} are; {remedy}."
        )
    if not value.strip() or "\0" in value:
        raise RelevoError(
            f"the value of {name} is empty or has a zero byte, but text is needed; give it on stdin."
        )
    if settings.azure is None:
        Vault(Layout(project.state(stack)).secrets).write(name, value)
    else:
        _put_on_azure(settings.azure, stack, name, value)


def _put_on_azure(azure: AzureSection, stack: str, name: str, value: str) -> None:
    """With an expiry, as of those that the stack makes, so that the same alert tells of it."""
    from components.azure.faults import asking
    from components.azure.login import Clients
    from components.azure.naming import Names
    from components.azure.secret_names import secret_name
    from components.azure.vault import uri as vault_uri

    uri = vault_uri(Names(azure.name, stack))
    expires = datetime.now(UTC) + timedelta(days=azure.vault.expiry_days)
    with asking(f"set the secret {name} in {uri}"):
        Clients(azure.subscription or "", azure.resource_manager).vault(uri).set_secret(
            secret_name(name), value, content_type="text/plain", expires_on=expires
        )
