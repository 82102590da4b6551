"""Images in the registries of stacks on Azure: pushed to one, taken from one to another, named in full."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from components.azure.artefacts import Artefacts
from components.azure.faults import asking
from components.azure.login import Clients
from components.azure.naming import Names
from components.azure.registry import registry_id, repository, server
from relevo import artefact, image
from relevo.errors import EMPTY, RelevoError
from relevo.project import Project
from stacks.azure_settings import AzureSection
from stacks.settings import Settings

SUBSCRIPTION = "ARM_SUBSCRIPTION_ID"  # as the engine's provider reads it
DIGEST = "@sha256:<64 hex digits>"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A stack's registry, known from its configuration alone. `repository`: with the host."""

    stack: str
    settings: Settings
    azure: AzureSection

    @classmethod
    def of(cls, project: Project, stack: str) -> Registry:
        """Raises `RelevoError` for a stack that has none."""
        settings = project.settings(stack)
        if settings.azure is None:
            raise RelevoError(
                f"stack {stack} is of target {settings.target}, but only stacks on Azure have a registry; "
                f"name another by --stack."
            )
        return cls(stack=stack, settings=settings, azure=settings.azure)

    @property
    def names(self) -> Names:
        return Names(self.azure.name, self.stack)

    @property
    def repository(self) -> str:
        return repository(self.names)

    @property
    def subscription(self) -> str:
        found = self.azure.subscription or os.environ.get(SUBSCRIPTION)
        if not found:
            raise RelevoError(
                f"relevo:azure.subscription of stack {self.stack} is missing, but it says where the registry "
                f"is; set it, or {SUBSCRIPTION}."
            )
        return found

    @property
    def clients(self) -> Clients:
        return Clients(self.subscription, self.azure.resource_manager)

    def has(self, found: str) -> bool:
        """Whether `found` is written as one of its images."""
        return re.fullmatch(f"{re.escape(self.repository)}@sha256:[0-9a-f]{{64}}", found) is not None


def accepted(project: Project, stack: str, wanted: str, say: artefact.Say) -> str:
    """What a stack pins: an image of its registry, or an artefact where `pulumi up` builds the image.

    Whether the registry has the image, the preflight asks. Raises `RelevoError`.
    """
    registry = Registry.of(project, stack)
    if registry.azure.build_image and "/" not in wanted:
        stored = project.store.find(wanted)
        artefact.tell(stored.manifest, say)
        image.prepare(
            stored,
            registry.settings,
            project.store,
            postgresql=registry.azure.database.version,
            say=say,
        )
        return stored.image
    if not registry.has(wanted):
        raise RelevoError(
            f"DIGEST is {wanted or EMPTY}, but stack {stack} accepts {registry.repository}{DIGEST}, of "
            f"its own registry; run relevo push or relevo promote, and pin what it prints."
        )
    return wanted


def push(project: Project, stack: str, wanted: str, say: artefact.Say) -> str:
    """Build the artefact's image and push it; returns it as the stack pins it. Raises `RelevoError`."""
    registry = Registry.of(project, stack)
    stored = project.store.find(wanted)
    artefact.tell(stored.manifest, say)
    return image.push(
        stored,
        registry.settings,
        project.store,
        repository=registry.repository,
        postgresql=registry.azure.database.version,
        say=say,
    )


def promote(project: Project, found: str, source: str, target: str, say: artefact.Say) -> str:
    """Have Azure copy an image, its digest unchanged; returns it as the target pins it.

    A copy that is there already is one. Raises `RelevoError` and `TargetError`.
    """
    from azure.mgmt.containerregistry import models

    here, there = Registry.of(project, source), Registry.of(project, target)
    if here.repository == there.repository:
        raise RelevoError(
            f"--from and --to are {source}, but a promotion is to another stack; name it by --to."
        )
    if not here.has(found):
        raise RelevoError(
            f"IMAGE is {found}, but {here.repository}{DIGEST} is accepted, of the registry of {source}; "
            f"see relevo:image in Pulumi.{source}.yaml."
        )
    digest = found.rpartition("@")[2]
    manifest = Artefacts(here.clients, server=server(here.names), repository=here.names.workload).manifest(
        found
    )
    artefact.tell(manifest, say)
    say(f"copying {manifest.version} to {there.repository}")
    with asking(f"import {found} into {server(there.names)}"):
        there.clients.registries.registries.begin_import_image(
            there.names.of("rg"),
            there.names.of("cr"),
            models.ImportImageParameters(
                source=models.ImportSource(
                    resource_id=registry_id(here.names, here.subscription),
                    source_image=f"{here.names.workload}@{digest}",
                ),
                # What has no tag goes after a while.
                target_tags=[f"{there.names.workload}:{image.tag(manifest.version, digest)}"],
                mode="Force",
            ),
        ).result()
    return f"{there.repository}@{digest}"
