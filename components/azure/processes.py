"""Further processes of the artefact: container apps without ingress, one replica, one revision at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.azure.environment import Environment, written
from components.azure.faults import asking
from components.azure.login import Clients
from components.azure.words import word
from components.target import Deployment, TargetError

if TYPE_CHECKING:
    from azure.mgmt.appcontainers.models import Container, Replica, Revision


class Processes:
    """`names`: process → the container app's name."""

    def __init__(self, clients: Clients, *, group: str, names: Mapping[str, str], vault_uri: str) -> None:
        self._clients = clients
        self._group = group
        self._names = names
        self._vault_uri = vault_uri

    def replace(
        self, name: str, *, start: str, image: str, command: Sequence[str], environment: Environment
    ) -> None:
        """A new revision; the platform ends the one before once it runs ("Revisions", single mode)."""
        from azure.mgmt.appcontainers import models

        app = self._names[name]
        found = self._app(name)
        template = found.properties.template
        container = template.containers[0]
        container.image, container.command, container.args = image, list(command), []
        container.env = [
            models.EnvironmentVar(name=variable, value=value)
            for variable, value in written(environment, self._vault_uri).items()
        ]
        template.revision_suffix = f"r{start.rpartition('-')[2]}"
        change = models.ContainerApp(
            location=found.location, properties=models.ContainerAppProperties(template=template)
        )
        with asking(f"put {image} on the container app {app}"):
            self._apps.begin_update(self._group, app, change).result()
            if word(found.properties.running_status) == "Stopped":
                self._apps.begin_start(self._group, app).result()

    def stop(self, name: str) -> None:
        app = self._names[name]
        with asking(f"stop the container app {app}"):
            self._apps.begin_stop(self._group, app).result()

    def asked(self, name: str) -> Deployment | None:
        """What was put there last; None if nothing ever was."""
        template = self._app(name).properties.template
        return _deployment(template.containers[0]) if template and template.containers else None

    def running(self, name: str) -> bool:
        revision = self._latest(name)
        return revision is not None and any(_runs(replica) for replica in self._replicas(name, revision))

    def deployed(self, name: str) -> Deployment | None:
        """Of the revisions that have a replica, if they are one; a replica is always as its revision says."""
        found: set[Deployment | None] = set()
        for revision in self._active(name):
            if any(_runs(replica) for replica in self._replicas(name, revision)):
                template = revision.properties.template if revision.properties else None
                containers = template.containers if template else None
                found.add(_deployment(containers[0]) if containers else None)
        return found.pop() if len(found) == 1 else None

    def startup_errors(self, name: str) -> list[str]:
        """What the platform says of the newest revision's start: each restart of its container is one."""
        revision = self._latest(name)
        if revision is None or revision.properties is None:
            return []
        errors = [revision.properties.provisioning_error] if revision.properties.provisioning_error else []
        for replica in self._replicas(name, revision):
            for container in (replica.properties.containers if replica.properties else None) or []:
                if (container.restart_count or 0) > 0 or word(container.running_state) == "Terminated":
                    details = container.running_state_details or word(container.running_state)
                    errors.append(f"{container.name} of {replica.name} was started again: {details}")
        return errors

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _apps(self) -> Any:
        return self._clients.container_apps.container_apps

    def _app(self, name: str) -> Any:
        app = self._names[name]
        with asking(f"read the container app {app}"):
            found = self._apps.get(self._group, app)
        if not (found.properties and found.properties.template and found.properties.template.containers):
            raise TargetError(
                f"the container app {app} has no container, but {name} runs in it; run pulumi up."
            )
        return found

    def _active(self, name: str) -> list[Revision]:
        app = self._names[name]
        with asking(f"list the revisions of {app}"):
            revisions = list(
                self._clients.container_apps.container_apps_revisions.list_revisions(self._group, app)
            )
        return [revision for revision in revisions if revision.properties and revision.properties.active]

    def _latest(self, name: str) -> Revision | None:
        latest = self._app(name).properties.latest_revision_name
        return next((revision for revision in self._active(name) if revision.name == latest), None)

    def _replicas(self, name: str, revision: Revision) -> list[Replica]:
        app = self._names[name]
        with asking(f"list the replicas of {revision.name}"):
            found = self._clients.container_apps.container_apps_revision_replicas.list_replicas(
                self._group, app, revision.name or ""
            )
        return [replica for replica in found.value if replica.properties]


def _runs(replica: Replica) -> bool:
    return word(replica.properties.running_state) == "Running" if replica.properties else False


def _deployment(container: Container) -> Deployment | None:
    environment = {variable.name: variable.value for variable in container.env or []}
    image, version, release = (
        environment.get(name) for name in ("RELEVO_IMAGE", "RELEVO_VERSION", "RELEVO_RELEASE_ID")
    )
    return (
        Deployment(image=image, version=version, release=release) if image and version and release else None
    )
