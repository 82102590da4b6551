"""What each further process runs, read before anything is declared: the roll decides it, not the stack.

Whatever an update of a container app is about, it sends the container too. Ignoring changes of that would
send the one that Pulumi sent last, and so put the placeholder back. See components/azure/origins.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.login import PUBLIC, Clients


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process's container as Azure has it. `suffix`: of its revision's name, None where nobody gave one."""

    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    cores: float
    suffix: str | None


def found(
    names: Mapping[str, str], group: str, *, subscription: str, resource_manager: str = PUBLIC
) -> dict[str, Running]:
    """Process → what it runs; none before the first `up`. `names`: process → its container app.

    Raises `TargetError` where that cannot be known.
    """
    apps = Clients(subscription, resource_manager)
    running = {}
    for process, name in names.items():
        with asking(f"see what the container app {name} runs"):
            try:
                properties = apps.container_apps.container_apps.get(group, name).properties
            except ResourceNotFoundError:
                continue
        template = properties.template if properties else None
        if template is None or not template.containers:
            continue
        container = template.containers[0]
        running[process] = Running(
            image=container.image or "",
            command=tuple(container.command or ()),
            environment={each.name or "": each.value or "" for each in container.env or ()},
            cores=(container.resources.cpu if container.resources else None) or 0,
            suffix=template.revision_suffix or None,
        )
    return running
