"""The local stack: real servers on this machine, in the roles that Azure's services have in the others."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pulumi

from components.capacity import capacity
from components.local import existing
from components.local.app import App, AppArgs
from components.local.attendant import Attendant, AttendantArgs
from components.local.cache import Cache, CacheArgs
from components.local.database import Database, DatabaseArgs
from components.local.edge import Edge, EdgeArgs, Probe
from components.local.gunicorn import cores
from components.local.pages import Pages, PagesArgs
from components.local.processes import Supervisor, SupervisorArgs
from components.local.secrets import Vault, VaultArgs
from components.local.server import Server
from components.local.storage import Storage, StorageArgs
from components.target import Target
from stacks.folders import state_folder, store_folder
from stacks.settings import Database as DatabaseSettings
from stacks.settings import Settings

OPERATIONS = "components.local.operations:LocalOperations"


def compose(stack: str, root: Path, settings: Settings) -> Target:
    """Database, cache, slots for the processes, balancer. Raises `TargetError` before anything is made."""
    app = settings.app
    instances = settings.instance_names
    state = str(state_folder(root, stack, settings))
    server = existing_server(settings.database)
    max_connections, limit = settings.database.max_connections, "relevo:database.maxConnections"
    if server is not None:
        survey = existing.examine(
            server,
            state=Path(state),
            name=settings.database.name,
            user=settings.database.user,
            binaries=settings.database.binaries,
        )
        max_connections, limit = survey.max_connections, f"max_connections of {server.address}"
    sized = capacity(
        cores=cores(),
        instances=len(instances),
        max_connections=max_connections,
        processes=len(app.processes),
        workers=app.workers,
        threads=app.threads,
        limit=limit,
    )

    storage = Storage(
        "storage",
        StorageArgs(
            state=state,
            ports={
                "public": settings.port,
                "stats": None,
                **({} if server else {"database": settings.database.port}),
                "cache": settings.cache.port,
                **dict.fromkeys(instances),
            },
        ),
    )
    after_storage = pulumi.ResourceOptions(depends_on=[storage])
    vault = Vault(
        "vault",
        VaultArgs(state=state, secrets={name: secret.generate for name, secret in settings.secrets.items()}),
        after_storage,
    )
    supervisor = Supervisor("supervisor", SupervisorArgs(state=state), after_storage)
    supervised = pulumi.ResourceOptions(depends_on=[vault, supervisor])
    database = Database(
        "database",
        DatabaseArgs(
            state=state,
            port=server.port if server else storage.port("database"),
            database=settings.database.name,
            user=settings.database.user,
            max_connections=max_connections,
            binaries=settings.database.binaries,
            server=server,
        ),
        supervised,
    )
    cache = Cache(
        "cache",
        CacheArgs(state=state, port=storage.port("cache"), max_memory_mb=settings.cache.max_memory_mb),
        supervised,
    )
    slots = App(
        "app",
        AppArgs(
            state=state,
            instances={name: storage.port(name) for name in instances},
            processes=tuple(app.processes),
        ),
        pulumi.ResourceOptions(depends_on=[database, cache]),
    )
    pages = []
    if (logbook := settings.logbook) is not None:
        pages.append(
            Pages(
                "pages",
                PagesArgs(
                    state=state,
                    path=logbook.path,
                    user=logbook.user,
                    secret=logbook.secret,
                    secret_version=vault.versions.apply(lambda known: known.get(logbook.secret)),
                ),
                supervised,
            )
        )
    edge = Edge(
        "edge",
        EdgeArgs(
            state=state,
            port=storage.port("public"),
            stats_port=storage.port("stats"),
            instances={name: storage.port(name) for name in instances},
            probe=Probe(
                path=app.probe.path,
                status=app.probe.status,
                headers=app.probe.headers,
                timeout_seconds=app.probe.timeout_seconds,
            ),
            logbook=logbook.path if logbook else None,
        ),
        pulumi.ResourceOptions(depends_on=[slots, *pages]),
    )

    attendants = (
        [
            Attendant(
                "attendant",
                AttendantArgs(
                    state=state,
                    # -P: the project's folder must not come before our own modules
                    command=[sys.executable, "-P", "-m", "relevo.attend", state, stack],
                    directory=str(root),
                ),
                pulumi.ResourceOptions(depends_on=[edge]),
            )
        ]
        if settings.watch.minutes or settings.review
        else []
    )

    facts: dict[str, Any] = {
        "stack": stack,
        "state": state,
        "store": str(store_folder(root)),
        "database": {
            **settings.database.model_dump(include={"name", "user", "binaries"}),
            "max_connections": max_connections,
            **({"server": asdict(server)} if server else {}),
        },
        "instances": list(instances),
        "processes": {name: process.model_dump(mode="json") for name, process in app.processes.items()},
        "app": {
            **app.model_dump(
                mode="json",
                include={"settings", "wsgi", "asgi", "environment", "secret_key", "folders", "worker_class"},
            ),
            "project": app.build.project,
            "probe": app.probe.model_dump(mode="json"),
            "workers": sized.workers,
            "threads": sized.threads,
        },
        "secrets": {name: secret.model_dump() for name, secret in settings.secrets.items()},
        "limits": settings.limits.model_dump(),
        "backup": settings.backup.model_dump(exclude={"drill"}),
    }
    return Target(
        stack=stack,
        instances=instances,
        processes=tuple(app.processes),
        operations=OPERATIONS,
        facts=pulumi.Output.all(ports=storage.ports, secret_versions=vault.versions).apply(
            # The versions are read by no step: a replaced secret is a reason to release again.
            lambda known: {**facts, **known}
        ),
        public_url=edge.url,
        ready=(database, cache, slots, edge, *attendants),
    )


def existing_server(settings: DatabaseSettings) -> Server | None:
    """The server that the configuration names, if it names one."""
    if settings.server is None or settings.server_secret is None:
        return None
    return Server(**asdict(settings.server), secret=settings.server_secret)
