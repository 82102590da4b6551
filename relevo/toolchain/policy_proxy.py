"""Stands before a policy pack written in Python, which reads the stack from its environment when it starts.

The engine starts a pack first and tells it the stack afterwards (Analyzer.ConfigureStack). So the pack is
started at that call, or at the first call that needs it when there is no stack, and all else is passed on.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
from pulumi.runtime.proto import analyzer_pb2

from relevo.toolchain.channel import GRPC_OPTIONS


class PackFailed(Exception):
    """The pack ended before it served; its own output has been shown."""


class PolicyProxy(grpc.GenericRpcHandler):
    """`start`: starts the pack with an environment, in a process group of its own, its outputs in pipes."""

    def __init__(
        self, start: Callable[[dict[str, str]], subprocess.Popen[bytes]], environment: dict[str, str]
    ):
        self._start, self._environment = start, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None
        self._lock = threading.Lock()
        self._output: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8), options=GRPC_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.exit_code = 0

    def __enter__(self) -> "PolicyProxy":
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ):
        self.stop()
        self._server.stop(grace=None)
        if self._channel:
            self._channel.close()

    def stop(self) -> None:
        """Ends the pack, and with it `output`."""
        process = self._process
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._output.put(None)

    def output(self) -> Iterator[tuple[str, bytes]]:
        """("stdout" or "stderr", some bytes) of the pack until it ends or is stopped."""
        while (item := self._output.get()) is not None:
            yield item
        if self._process:
            self.exit_code = self._process.wait()

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        method = handler_call_details.method

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if method.endswith("/Handshake"):
                return analyzer_pb2.AnalyzerHandshakeResponse().SerializeToString()
            stack = request if method.endswith("/ConfigureStack") else None
            try:
                pack = self._pack(stack)
                return pack.unary_unary(method)(request)
            except PackFailed as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())  # type: ignore[attr-defined]  # it is a Call as well
            raise AssertionError("abort returned")

        return grpc.unary_unary_rpc_method_handler(answer)

    def _pack(self, stack: bytes | None) -> grpc.Channel:
        """The channel to the pack, which is started first if it does not run yet."""
        with self._lock:
            if self._channel:
                return self._channel
            if stack is not None:
                self._environment.update(stack_environment(stack))
            process = self._start(self._environment)
            self._process = process
            assert process.stdout
            assert process.stderr
            threading.Thread(target=self._pass_on, args=("stderr", process.stderr), daemon=True).start()
            port = process.stdout.readline().strip()
            if not port.isdigit():
                self._output.put(("stdout", port + b"\n"))
                raise PackFailed(f"the policy pack ended with exit code {process.wait()} before it served")
            threading.Thread(target=self._pass_on, args=("stdout", process.stdout), daemon=True).start()
            self._channel = grpc.insecure_channel(f"127.0.0.1:{int(port)}", options=GRPC_OPTIONS)
            return self._channel

    def _pass_on(self, stream: str, pipe: Any) -> None:
        for line in pipe:
            self._output.put((stream, line))


def stack_environment(request: bytes) -> dict[str, str]:
    """What `python -m pulumi.policy` reads, from a serialized AnalyzerStackConfigureRequest."""
    stack = analyzer_pb2.AnalyzerStackConfigureRequest.FromString(request)
    environment = {
        "PULUMI_CONFIG": json.dumps(dict(stack.config)),
        "PULUMI_PROJECT": stack.project,
        "PULUMI_STACK": stack.stack,
        "PULUMI_ORGANIZATION": stack.organization,
        "PULUMI_DRY_RUN": str(stack.dry_run).lower(),
    }
    return {name: value for name, value in environment.items() if value}
