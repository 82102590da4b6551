"""The supervisor of a stack's processes: supervisord over its XML-RPC socket. It outlives Pulumi."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, SupervisorTransport

from components.local import durable
from components.local.environment import base_environment
from components.local.layout import Layout
from components.local.marker import MARKER, marker
from components.target import TargetError

OWN_NAME = "supervisord"
UNSUPERVISED = ("manage",)  # carry the marker too, but belong to a step, which ends them itself
READY_SECONDS = 20.0
LOG_FILES = 4  # of each program: the log, and .1 to .3 which were rotated away


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the supervisor keeps running. `environment` comes on top of the supervisor's own few variables."""

    name: str
    command: tuple[str, ...]
    directory: str = "/"
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    start_seconds: int = 1
    start_retries: int = 20


@dataclass(frozen=True, kw_only=True)
class Status:
    """`since` is seconds since the epoch; `pid` is None unless it runs."""

    name: str
    running: bool
    pid: int | None
    since: float | None
    detail: str


class Supervisor:
    """The supervisord of one state folder, and the programs below it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    # -- supervisord itself ----------------------------------------------------------------------------
    def running(self) -> bool:
        try:
            with self._rpc() as rpc:
                return rpc.getState()["statename"] == "RUNNING"
        except (TargetError, xmlrpc.client.Fault):
            return False

    def ensure(self, *, prepare: Callable[[], None] = lambda: None) -> None:
        """Have supervisord running, with every program that has a configuration.

        `prepare` is called before a start, when nothing of this stack runs any more.
        """
        with durable.locked(self._layout.run / "supervisor.lock"):
            if self.running():
                return
            # A killed supervisord leaves its programs serving, and a new one cannot adopt them.
            self._end(self.marked())
            prepare()
            self._start()

    def shutdown(self) -> None:
        """Stop every program and supervisord itself."""
        with durable.locked(self._layout.run / "supervisor.lock"):
            if self.running():
                with self._rpc() as rpc:
                    pid = rpc.getPID()
                    process = psutil.Process(pid)
                    rpc.shutdown()
                _wait([process], seconds=60.0)
            self._end(self.marked())

    def _start(self) -> None:
        layout = self._layout
        configuration = layout.run / "supervisord.conf"
        durable.write(configuration, self._configuration())
        (layout.sockets / "supervisor.sock").unlink(missing_ok=True)
        # Its own session and no descriptor of ours: a Pulumi command whose grandchild holds stdout never
        # ends. And nothing of the engine's environment (its passphrase) may reach the programs.
        with open(layout.logs / "supervisord.start.log", "wb") as output:
            started = subprocess.run(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**base_environment(), MARKER: layout.marker(OWN_NAME)},
                cwd="/",
                start_new_session=True,
                check=False,
                timeout=READY_SECONDS,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self.running():
            if started.returncode != 0 or time.monotonic() > deadline:
                raise TargetError(
                    f"the supervisor does not start, but every server needs it; see "
                    f"{layout.logs}/supervisord.log."
                )
            time.sleep(0.02)

    def _configuration(self) -> str:
        layout = self._layout
        return "\n".join(
            [
                "[unix_http_server]",
                f"file={layout.sockets / 'supervisor.sock'}",
                "chmod=0600",
                "[supervisord]",
                f"logfile={layout.logs / 'supervisord.log'}",
                "logfile_maxbytes=5MB",
                "logfile_backups=3",
                f"pidfile={layout.run / 'supervisord.pid'}",
                f"childlogdir={layout.logs}",
                "directory=/",
                "umask=077",
                *(["user=root"] if os.geteuid() == 0 else []),
                "[rpcinterface:supervisor]",
                "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
                "[include]",
                "files=../programs/*.conf",  # relative, for supervisord splits this line at spaces
                "",
            ]
        )

    # -- programs --------------------------------------------------------------------------------------
    def apply(self, program: Program) -> None:
        """Have `program` running as configured. One that already is keeps its processes."""
        unchanged = self._read(program.name) == self._section(program)
        status = self.status(program.name)
        if unchanged and status is not None and status.running:
            return
        self.replace(program)

    def replace(self, program: Program) -> None:
        """Stop what runs under this name, and start `program`. Does not wait until it is ready."""
        self.stop(program.name)
        durable.write(self._path(program.name), self._section(program))
        with self._rpc() as rpc:
            rpc.reloadConfig()
            with _tolerated(Faults.BAD_NAME):
                rpc.removeProcessGroup(program.name)
            rpc.addProcessGroup(program.name)
            with _tolerated(Faults.ALREADY_STARTED):
                rpc.startProcess(program.name, False)

    def start(self, name: str) -> None:
        """Start a program whose configuration is there. One that runs is left alone."""
        with self._rpc() as rpc:
            rpc.reloadConfig()
            with _tolerated(Faults.ALREADY_ADDED):
                rpc.addProcessGroup(name)
            with _tolerated(Faults.ALREADY_STARTED):
                rpc.startProcess(name, False)

    def stop(self, name: str) -> None:
        """Stop the program, wait until none of its processes is left, and leave it stopped."""
        if self.running():
            with self._rpc() as rpc, _tolerated(Faults.BAD_NAME, Faults.NOT_RUNNING):
                rpc.stopProcess(name, True)
        self._end(self.marked(name))

    def remove(self, name: str) -> None:
        """Stop the program and forget it."""
        self.stop(name)
        self._path(name).unlink(missing_ok=True)
        self._layout.launch(name).unlink(missing_ok=True)
        if self.running():
            with self._rpc() as rpc:
                rpc.reloadConfig()
                with _tolerated(Faults.BAD_NAME):
                    rpc.removeProcessGroup(name)

    def configured(self, name: str) -> bool:
        return self._path(name).exists()

    def status(self, name: str) -> Status | None:
        """None: the supervisor does not know it, or does not run."""
        try:
            with self._rpc() as rpc:
                return _status(rpc.getProcessInfo(name))
        except (TargetError, xmlrpc.client.Fault):
            return None

    def statuses(self) -> list[Status]:
        """Every program, running or not; empty where the supervisor does not run."""
        try:
            with self._rpc() as rpc:
                return [_status(info) for info in rpc.getAllProcessInfo()]
        except (TargetError, xmlrpc.client.Fault):
            return []

    def processes(self, name: str) -> list[psutil.Process]:
        """The supervised process of the program first, then its descendants; empty if it does not run."""
        status = self.status(name)
        if status is None or status.pid is None:
            return []
        try:
            main = psutil.Process(status.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def marked(self, name: str | None = None) -> list[psutil.Process]:
        """Processes started by this stack's supervisor (of one program), whoever their parent is now."""
        spared = {self._layout.marker(other) for other in UNSUPERVISED}

        def wanted(mark: str) -> bool:
            if name is not None:
                return mark == self._layout.marker(name)
            return mark.startswith(self._layout.marker("")) and mark not in spared

        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if wanted(marker(process, self._layout)):
                    found.append(process)
        return found

    # -- inside ----------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def _rpc(self) -> Iterator[Any]:
        transport = SupervisorTransport(serverurl=f"unix://{self._layout.sockets / 'supervisor.sock'}")
        try:
            yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError):
            raise TargetError(
                "the stack's supervisor does not answer, but every server runs under it; run relevo start "
                "or pulumi up."
            ) from None
        finally:
            transport.close()

    def _path(self, name: str) -> Path:
        return self._layout.programs / f"{name}.conf"

    def _read(self, name: str) -> str | None:
        try:
            return self._path(name).read_text()
        except FileNotFoundError:
            return None

    def _section(self, program: Program) -> str:
        environment = {**program.environment, MARKER: self._layout.marker(program.name)}
        lines = {
            "command": shlex.join(program.command),
            "directory": program.directory,
            "environment": ",".join(f'{name}="{value}"' for name, value in sorted(environment.items())),
            "autostart": "true",
            "autorestart": "true",
            "startsecs": str(program.start_seconds),
            "startretries": str(program.start_retries),
            "stopsignal": program.stop_signal,
            "stopwaitsecs": str(program.stop_seconds),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(self._layout.log(program.name)),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": str(LOG_FILES - 1),
        }
        if program.user is not None:
            lines["user"] = program.user
        # supervisord expands % in values
        body = "".join(f"{key}={value.replace('%', '%%')}\n" for key, value in lines.items())
        return f"[program:{program.name}]\n{body}"

    def _end(self, processes: list[psutil.Process]) -> None:
        """End exactly these: supervisord first, else it would start again what is ended after it."""
        supervisors = [process for process in processes if self._name(process) == OWN_NAME]
        for process in supervisors:
            _signal(process, signal.SIGKILL)
        _wait(supervisors, seconds=5.0)
        rest = [process for process in processes if process not in supervisors]
        pids = {process.pid for process in rest}
        patience = 0.0
        for process in rest:
            with contextlib.suppress(psutil.Error):
                if process.ppid() not in pids:  # a program's own main process tells its children
                    name, seconds = self._stopping(self._name(process))
                    _signal(process, name)
                    patience = max(patience, seconds)
        for process in _wait(rest, seconds=patience):
            _signal(process, signal.SIGKILL)
        left = _wait(rest, seconds=5.0)
        if left:
            raise TargetError(
                f"process {left[0].pid} of this stack does not end, but it must before it is started again; "
                f"end it."
            )

    def _name(self, process: psutil.Process) -> str:
        try:
            return marker(process, self._layout).removeprefix(self._layout.marker(""))
        except psutil.Error:
            return ""

    def _stopping(self, name: str) -> tuple[signal.Signals, float]:
        """How the program wants to be stopped."""
        parser = configparser.RawConfigParser()
        parser.read_string(self._read(name) or "")
        section = f"program:{name}"
        number = parser.get(section, "stopsignal", fallback="TERM")
        return signal.Signals[f"SIG{number}"], parser.getfloat(section, "stopwaitsecs", fallback=10.0)


def _status(info: Mapping[str, Any]) -> Status:
    running = info["state"] in (ProcessStates.STARTING, ProcessStates.RUNNING) and info["pid"] > 0
    return Status(
        name=info["name"],
        running=running,
        pid=info["pid"] if running else None,  # supervisord says 0 for none: never to be signalled
        since=float(info["start"]) if running else None,
        detail=info["statename"] if running else f"{info['statename']} {info['spawnerr']}".strip(),
    )


@contextlib.contextmanager
def _tolerated(*faults: int) -> Iterator[None]:
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in faults:
            raise TargetError(f"the supervisor refuses ({fault.faultString}); see its log.") from None


def _signal(process: psutil.Process, number: int) -> None:
    # psutil compares the creation time first, so a number that was given to another process is spared
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _wait(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Those that still run after `seconds`. A zombie has ended, whether or not its parent has noticed."""
    deadline = time.monotonic() + seconds
    while True:
        left = [process for process in processes if _alive(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
