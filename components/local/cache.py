"""The cache of a stack: a Redis-compatible server with a user that writes and one that only reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from components.local import valkey
from components.local.environment import HOST
from components.local.layout import Layout
from components.local.provider import LocalProvider, Properties
from components.local.supervisor import Supervisor
from components.local.vault import Vault


class CacheProvider(LocalProvider):
    def ensure(self, inputs: Properties) -> Properties:
        layout = Layout(Path(inputs["state"]))
        valkey.ensure(
            layout,
            Supervisor(layout),
            Vault(layout.secrets),
            port=inputs["port"],
            max_memory_mb=inputs["max_memory_mb"],
        )
        return {"host": HOST}

    def drifted(self, inputs: Properties, outputs: Properties) -> bool:
        layout = Layout(Path(inputs["state"]))
        status = Supervisor(layout).status(valkey.PROGRAM)
        if status is None or not status.running:
            return True
        return not valkey.answers(inputs["port"], Vault(layout.secrets))

    def remove(self, inputs: Properties) -> None:
        Supervisor(Layout(Path(inputs["state"]))).remove(valkey.PROGRAM)


class Server(Resource, module="relevo", name="Cache"):
    host: pulumi.Output[str]
    port: pulumi.Output[int]


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    state: pulumi.Input[str]
    port: pulumi.Input[int]
    max_memory_mb: int


class Cache(pulumi.ComponentResource):
    """Valkey on loopback. It keeps nothing over a restart: a cache is filled again."""

    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:local:Cache", name, None, opts)
        server = Server(
            CacheProvider(),
            f"{name}-server",
            {"state": args.state, "port": args.port, "max_memory_mb": args.max_memory_mb, "host": None},
            pulumi.ResourceOptions(parent=self),
        )
        self.host = server.host
        self.port = server.port
        self.register_outputs({"host": self.host, "port": self.port})
