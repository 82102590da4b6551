"""The Python language host for places where the official one cannot be downloaded.

Runs a program by `pulumi-language-python-exec`, which the SDK's Go module brings, with the Python of the
`virtualenv` option of Pulumi.yaml, else with `python3` on PATH.
Code generation (`pulumi convert`, `package add`, `new`) is absent.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from relevo.toolchain.policy_proxy import PolicyProxy

# The program's exit code for "the error has been shown" (pulumi-language-python-exec).
ERROR_SHOWN = 32

_LIST_PLUGINS = """
import json, pathlib, sysconfig
folders = {pathlib.Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
files = [file for folder in folders for file in folder.glob("*/pulumi-plugin.json")]
print(json.dumps([json.loads(file.read_text()) for file in sorted(files)]))
"""
_LIST_PACKAGES = """
import importlib.metadata, json
print(json.dumps(sorted({(d.name, d.version) for d in importlib.metadata.distributions()})))
"""


def plugin_output(stream: str, chunk: bytes) -> language_pb2.RunPluginResponse:
    if stream == "stdout":
        return language_pb2.RunPluginResponse(stdout=chunk)
    return language_pb2.RunPluginResponse(stderr=chunk)


class NoInterpreter(Exception):
    """There is no Python for the program; the text names the remedy."""


def interpreter(info: Any) -> tuple[str, dict[str, str]]:
    """The program's Python and what its environment changes."""
    virtualenv = info.options.fields["virtualenv"].string_value if "virtualenv" in info.options.fields else ""
    if not virtualenv:
        found = os.environ.get("PULUMI_PYTHON_CMD") or shutil.which("python3") or shutil.which("python")
        if not found:
            raise NoInterpreter(
                "python3 is not on PATH, but a Python program needs it; activate an environment."
            )
        return found, {}
    folder = Path(info.root_directory, virtualenv)
    python = folder / "bin" / "python"
    if not python.is_file():
        raise NoInterpreter(
            f"virtualenv in Pulumi.yaml is {virtualenv}, but {python} does not exist; "
            f"create it with `python3 -m venv {folder}` and install requirements.txt into it."
        )
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    return str(python), {"VIRTUAL_ENV": str(folder), "PATH": path}


def ask(info: Any, program: str) -> Any:
    """What a small program, run by the program's Python, prints as JSON."""
    python, changes = interpreter(info)
    output = subprocess.run(
        [python, "-I", "-c", program], env={**os.environ, **changes}, stdout=subprocess.PIPE, check=True
    ).stdout
    return json.loads(output)


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    def __init__(self, engine_address: str, executor: str):
        self._engine_address, self._executor = engine_address, executor
        self._started: list[subprocess.Popen[bytes]] = []
        self._packs: list[subprocess.Popen[bytes]] = []
        self._lock = threading.RLock()  # `leave` may interrupt itself, by a second signal

    def add_to(self, server: grpc.Server) -> None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(self, server)

    def leave(self, within: float | None) -> None:
        self._lock.acquire()  # for good: what another thread is about to start would be left behind
        for process in self._started + self._packs:
            send(process, signal.SIGKILL)

    def Handshake(self, request, context):
        if request.engine_address:
            self._engine_address = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="")

    def GetRequiredPackages(self, request, context):
        """The resource plugins that the packages of the program's environment name."""
        packages = [
            plugin_pb2.PackageDependency(
                name=plugin["name"],
                kind="resource",
                version=plugin["version"],
                server=plugin.get("server", ""),
            )
            for plugin in self._ask(request.info, _LIST_PLUGINS, context)
            if plugin.get("resource")
        ]
        return language_pb2.GetRequiredPackagesResponse(packages=packages)

    def Run(self, request, context):
        try:
            python, changes = interpreter(request.info)
        except NoInterpreter as error:
            return language_pb2.RunResponse(error=str(error))
        changes["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        changes["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        argv = [
            *(python, "-u", self._executor),
            *("--monitor", request.monitor_address, "--engine", self._engine_address),
            *("--project", request.project, "--stack", request.stack, "--organization", request.organization),
            *("--root_directory", request.info.root_directory, "--pwd", request.pwd),
            *("--parallel", str(request.parallel), "--dry_run", str(request.dryRun).lower()),
            *(str(Path(request.info.program_directory, request.info.entry_point)), *request.args),
        ]
        # The host's own stdout and stderr are what the engine displays.
        program = self._start(argv, request.pwd, {**os.environ, **changes}, context)
        code = program.wait()
        if code in (0, ERROR_SHOWN):
            return language_pb2.RunResponse(bail=code == ERROR_SHOWN)
        ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return language_pb2.RunResponse(error=f"the program ended {ended}")

    def RunPlugin(self, request, context):
        """A plugin or policy pack written in Python: its output streams back, then its exit code."""
        try:
            python, changes = interpreter(request.info)
        except NoInterpreter as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        environment = {**dict(item.split("=", 1) for item in request.env), **changes}
        folder = request.info.program_directory
        if request.kind == "analyzer":
            # A pack reads the stack from its environment, but the engine tells it later, by a call.
            argv = [python, "-u", "-m", "pulumi.policy", *request.args, folder]

            def start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
                return self._spawn(self._packs, argv, request.pwd, environment, piped=True)

            with PolicyProxy(start, environment) as proxy:
                context.add_callback(proxy.stop)
                yield language_pb2.RunPluginResponse(stdout=f"{proxy.port}\n".encode())
                for stream, chunk in proxy.output():
                    yield plugin_output(stream, chunk)
                yield language_pb2.RunPluginResponse(exitcode=proxy.exit_code)
            return
        plugin = self._start(
            [python, "-u", folder, *request.args], request.pwd, environment, context, piped=True
        )
        for stream, chunk in chunks(plugin):
            yield plugin_output(stream, chunk)
        yield language_pb2.RunPluginResponse(exitcode=plugin.wait())

    def InstallDependencies(self, request, context):
        try:
            python, _ = interpreter(request.info)
        except NoInterpreter as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        if not Path(request.directory, "requirements.txt").is_file():
            return
        argv = [sys.executable, "-m", "uv", "pip", "install", "--python", python, "-r", "requirements.txt"]
        installer = self._start(argv, request.directory, dict(os.environ), context, piped=True)
        for stream, chunk in chunks(installer):
            yield language_pb2.InstallDependenciesResponse(**{stream: chunk})
        if code := installer.wait():
            context.abort(grpc.StatusCode.UNKNOWN, f"{' '.join(argv)} failed with exit code {code}")

    def About(self, request, context):
        version = self._ask(
            request.info, "import json, platform; print(json.dumps(platform.python_version()))", context
        )
        return language_pb2.AboutResponse(executable=interpreter(request.info)[0], version=version)

    def GetProgramDependencies(self, request, context):
        packages = self._ask(request.info, _LIST_PACKAGES, context)
        dependencies = [language_pb2.DependencyInfo(name=name, version=version) for name, version in packages]
        return language_pb2.GetProgramDependenciesResponse(dependencies=dependencies)

    def Cancel(self, request, context):
        """Not for the packs: they judge what is still registered."""
        with self._lock:
            for process in self._started:
                send(process, signal.SIGTERM)
        return empty_pb2.Empty()

    def _ask(self, info: Any, program: str, context: grpc.ServicerContext) -> Any:
        try:
            return ask(info, program)
        except NoInterpreter as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    def _start(
        self,
        argv: list[str],
        folder: str,
        environment: dict[str, str],
        context: grpc.ServicerContext,
        piped: bool = False,
    ) -> subprocess.Popen[bytes]:
        """A process that is told to leave when the engine's call ends or is cancelled."""
        process = self._spawn(self._started, argv, folder, environment, piped)
        if not context.add_callback(lambda: send(process, signal.SIGTERM)):
            send(process, signal.SIGTERM)
        return process

    def _spawn(
        self,
        among: list[subprocess.Popen[bytes]],
        argv: list[str],
        folder: str,
        environment: dict[str, str],
        piped: bool,
    ) -> subprocess.Popen[bytes]:
        """A process in a group of its own, noted for `leave` before anybody can miss it."""
        environment.pop("PYTHONHOME", None)
        pipe = subprocess.PIPE if piped else None
        with self._lock:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                process_group=0,
            )
            among.append(process)
        return process


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Not waited for yet, so the group's id cannot be another's.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def chunks(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, bytes]]:
    """("stdout" or "stderr", some bytes) as the process writes them, until both are closed."""
    import selectors

    assert process.stdout
    assert process.stderr
    with selectors.DefaultSelector() as selector, process.stdout, process.stderr:
        selector.register(process.stdout, selectors.EVENT_READ, "stdout")
        selector.register(process.stderr, selectors.EVENT_READ, "stderr")
        while selector.get_map():
            for key, _ in selector.select():
                if chunk := os.read(key.fd, 64 * 1024):
                    yield key.data, chunk
                else:
                    selector.unregister(key.fileobj)
