"""Secrets that a stack's configuration names, put into the target's vault."""

from __future__ import annotations

from components.local.layout import Layout
from components.local.vault import Vault
from relevo.errors import RelevoError
from relevo.project import Project
from stacks.settings import did_you_mean


def put(project: Project, stack: str, name: str, value: str) -> None:
    """Raises `RelevoError` for a name that is not declared and for a value that cannot be meant."""
    declared = project.settings(stack).secrets
    if name not in declared:
        remedy = did_you_mean(name, declared) or f"declare it in Pulumi.{stack}.yaml"
        raise RelevoError(
            f"{name} is not among relevo:secrets, but only {', '.join(declared) or 'none'} are; {remedy}."
        )
    if not value.strip() or "\0" in value:
        raise RelevoError(
            f"the value of {name} is empty or has a zero byte, but text is needed; give it on stdin."
        )
    Vault(Layout(project.state(stack)).secrets).write(name, value)
