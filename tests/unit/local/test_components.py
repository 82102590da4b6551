"""The components' children as the engine gets them."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components.local.app import App, AppArgs
from components.local.attendant import Attendant, AttendantArgs
from components.local.cache import Cache, CacheArgs
from components.local.database import Database, DatabaseArgs
from components.local.edge import Edge, EdgeArgs, Probe
from components.local.processes import Supervisor, SupervisorArgs
from components.local.secrets import Vault, VaultArgs
from components.local.storage import Storage, StorageArgs

STATE = "/state"


class Recorder(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.resources: dict[str, tuple[str, dict[str, Any]]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        inputs = {key: value for key, value in args.inputs.items() if key != "__provider"}
        if args.custom:
            self.resources[args.name] = (args.typ.rpartition("/")[2], inputs)
        return args.name, {**inputs, "port": inputs.get("port", 20000)}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], None]:
        return {}, None


@pytest.fixture
def recorder() -> Recorder:
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, preview=False)
    return recorder


@pulumi.runtime.test
def test_every_child_has_its_type_name_and_inputs(recorder: Recorder) -> pulumi.Output[None]:
    storage = Storage("storage", StorageArgs(state=STATE, ports={"public": 8000, "cache": None}))
    Vault("vault", VaultArgs(state=STATE, secrets={"SECRET_KEY": True, "SMTP": False}))
    Supervisor("supervisor", SupervisorArgs(state=STATE))
    Database(
        "database", DatabaseArgs(state=STATE, port=20001, database="app", user="app", max_connections=100)
    )
    Cache("cache", CacheArgs(state=STATE, port=20002, max_memory_mb=64))
    App("app", AppArgs(state=STATE, instances={"instance-1": 20003}, processes=["worker"]))
    edge = Edge(
        "edge",
        EdgeArgs(state=STATE, port=8000, stats_port=20004, instances={"instance-1": 20003}, probe=Probe()),
    )

    attendant = Attendant(
        "attendant", AttendantArgs(state=STATE, command=["python", "-m", "x"], directory="/desk")
    )

    def check(_: object) -> None:
        state = {"state": STATE}
        assert recorder.resources == {
            "storage-folders": ("relevo:Folders", state),
            "storage-port-public": ("relevo:Port", {**state, "server": "public", "configured": 8000}),
            "storage-port-cache": ("relevo:Port", {**state, "server": "cache", "configured": 0}),
            "vault-secrets": ("relevo:Vault", {**state, "secrets": {"SECRET_KEY": True, "SMTP": False}}),
            "supervisor-daemon": ("relevo:Supervisor", state),
            "database-server": (
                "relevo:Database",
                {
                    **state,
                    "port": 20001,
                    "database": "app",
                    "user": "app",
                    "max_connections": 100,
                    "binaries": "",
                    "server": {},
                },
            ),
            "cache-server": ("relevo:Cache", {**state, "port": 20002, "max_memory_mb": 64}),
            "app-instance-1": ("relevo:Slot", {**state, "slot": "instance-1", "port": 20003}),
            "app-worker": ("relevo:Slot", {**state, "slot": "worker", "port": 0}),
            "attendant-program": (
                "relevo:Attendant",
                {**state, "command": ["python", "-m", "x"], "directory": "/desk"},
            ),
            "edge-balancer": (
                "relevo:Edge",
                {
                    **state,
                    "port": 8000,
                    "stats_port": 20004,
                    "instances": {"instance-1": 20003},
                    "probe": {"path": "/", "status": 200, "headers": {}, "timeout_seconds": 2.0},
                },
            ),
        }

    children = pulumi.Output.all(storage.ports, edge.urn, attendant.state)
    return children.apply(check)
