"""The command plugin as the engine starts it, and what a test asks of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from relevo.toolchain.channel import GRPC_OPTIONS
from relevo.toolchain.command_plugin.wire import SECRET, SIGNATURE, plain

# What the engine, a Go program, takes anyway.
CLIENT_OPTIONS = [
    *GRPC_OPTIONS,
    ("grpc.max_metadata_size", 2**20),
    ("grpc.absolute_max_metadata_size", 2**20),
]
URN = "urn:pulumi:dev::project::command:local:Command::greet"


class StandInEngine(engine_pb2_grpc.EngineServicer):
    """Takes the log messages that the real engine would display."""

    def __init__(self) -> None:
        self.logged: list[engine_pb2.LogRequest] = []

    def Log(self, request, context):
        self.logged.append(request)
        return empty_pb2.Empty()


@dataclass
class Plugin:
    """The running plugin. Inputs and outputs are plain dictionaries; errors are grpc.RpcError."""

    process: subprocess.Popen[str]
    stub: provider_pb2_grpc.ResourceProviderStub
    engine: StandInEngine

    def check(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        response = self.stub.Check(provider_pb2.CheckRequest(urn=URN, news=struct(inputs)))
        return unstruct(response.inputs), [(fault.property, fault.reason) for fault in response.failures]

    def diff(self, old: dict[str, Any], new: dict[str, Any], ignore: tuple[str, ...] = ()):
        request = provider_pb2.DiffRequest(
            urn=URN, id="x", olds=struct(old), news=struct(new), ignoreChanges=ignore
        )
        return self.stub.Diff(request)

    def create(self, inputs: dict[str, Any], preview: bool = False) -> dict[str, Any]:
        return unstruct(self.raw_create(inputs, preview).properties)

    def raw_create(self, inputs: dict[str, Any], preview: bool = False) -> provider_pb2.CreateResponse:
        return self.stub.Create(
            provider_pb2.CreateRequest(urn=URN, properties=struct(inputs), preview=preview)
        )

    def update(
        self,
        old: dict[str, Any],
        new: dict[str, Any],
        preview: bool = False,
        ignore: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(
            urn=URN, id="x", olds=struct(old), news=struct(new), preview=preview, ignoreChanges=ignore
        )
        return unstruct(self.stub.Update(request).properties)

    def delete(self, state: dict[str, Any]) -> None:
        self.stub.Delete(provider_pb2.DeleteRequest(urn=URN, id="x", properties=struct(state)))

    def run(self, inputs: dict[str, Any]) -> provider_pb2.InvokeResponse:
        return self.stub.Invoke(provider_pb2.InvokeRequest(tok="command:local:run", args=struct(inputs)))


def struct(values: dict[str, Any]) -> Struct:
    result = Struct()
    result.update(values)
    return result


def unstruct(values: Struct) -> dict[str, Any]:
    return {key: plain(value) for key, value in values.fields.items()}


def secret(value: Any) -> dict[str, Any]:
    return {SIGNATURE: SECRET, "value": value}


@pytest.fixture(scope="session")
def stand_in_engine() -> Iterator[tuple[StandInEngine, str]]:
    engine = StandInEngine()
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=GRPC_OPTIONS)
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield engine, f"127.0.0.1:{port}"
    server.stop(grace=None)


@contextmanager
def plugins(engine: StandInEngine, address: str) -> Iterator[Callable[[], Plugin]]:
    """Starts plugins as the engine does: stdin a pipe, the port on stdout, in a process group of its own."""
    processes: list[subprocess.Popen[str]] = []

    def start() -> Plugin:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "relevo.toolchain.serve", "command", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        processes.append(process)
        assert process.stdout
        channel = grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}", options=CLIENT_OPTIONS)
        return Plugin(process, provider_pb2_grpc.ResourceProviderStub(channel), engine)

    try:
        yield start
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # what the engine does
            assert process.wait(timeout=10) == 0


@pytest.fixture(scope="session")
def shared_plugin(stand_in_engine: tuple[StandInEngine, str]) -> Iterator[Plugin]:
    with plugins(*stand_in_engine) as start:
        yield start()


@pytest.fixture
def plugin(shared_plugin: Plugin) -> Plugin:
    """One for all tests that leave it running; what it has logged is this test's."""
    shared_plugin.engine.logged.clear()
    return shared_plugin


@pytest.fixture
def start_plugin(stand_in_engine: tuple[StandInEngine, str]) -> Iterator[Callable[[], Plugin]]:
    with plugins(*stand_in_engine) as start:
        yield start
