"""nginx as the balancer of gunicorns under the supervisor. Where HAProxy is, no other test uses it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from components.local import ports
from components.local.balancer import PROGRAM, EdgeSettings, Probe
from components.local.layout import Layout
from components.local.nginx import Nginx
from components.local.supervisor import Program, Supervisor
from components.target import TargetError
from tests.e2e.load import Load
from tests.e2e.servers import free_port

pytestmark = pytest.mark.e2e

APPLICATION = """
import json, os, signal, time

def application(environ, start_response):
    path, length = environ["PATH_INFO"], 0
    while chunk := environ["wsgi.input"].read(65536):
        length += len(chunk)
    if path == "/ready" and environ.get("HTTP_X_PROBE") != "yes":
        start_response("403 Forbidden", [("Content-Length", "0")])
        return []
    if path == "/dies-once":
        with open("asked", "a+") as asked:
            first = asked.tell() == 0
            asked.write(environ["REQUEST_METHOD"] + "\\n")
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
    if path == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    if path == "/stream":
        start_response("200 OK", [("X-Instance", os.environ["INSTANCE"])])
        return stream(float(environ["QUERY_STRING"]))
    body = json.dumps({
        "instance": os.environ["INSTANCE"],
        "uri": environ["RAW_URI"],
        "length": length,
        "headers": {name: value for name, value in environ.items() if name.startswith("HTTP_")},
    }).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

def stream(seconds):
    yield b"begun"
    time.sleep(seconds)
    yield b"ended"
"""
NAMES = ("instance-1", "instance-2")


@dataclass
class Site:
    """Two gunicorns, and nginx before them."""

    layout: Layout
    python: Path
    folder: Path
    settings: EdgeSettings
    supervisor: Supervisor = field(init=False)
    balancer: Nginx = field(init=False)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.layout)
        self.balancer = Nginx(self.layout, self.supervisor)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self, name: str) -> None:
        port = self.settings.instances[name]
        command = [str(self.python), "-m", "gunicorn", "site_of_test:application"]
        command += ["--bind", f"127.0.0.1:{port}", "--workers", "2", "--threads", "8"]
        command += ["--keep-alive", "75", "--graceful-timeout", "30", "--no-control-socket"]
        self.supervisor.replace(
            Program(
                name=name,
                command=tuple(command),
                directory=str(self.folder),
                environment={"INSTANCE": name, "PYTHONDONTWRITEBYTECODE": "1"},
                stop_seconds=35,
            )
        )

    def restart(self, name: str) -> float:
        """As a roll does it; returns the seconds of the drain."""
        started = time.monotonic()
        self.balancer.drain(name, timeout=20)
        drained = time.monotonic() - started
        self.start(name)
        self.balancer.admit(name, timeout=20)
        return drained

    def serving(self) -> set[str]:
        return {httpx.get(self.url).raise_for_status().json()["instance"] for _ in range(12)}

    def master(self) -> psutil.Process:
        status = self.supervisor.status(PROGRAM)
        assert status is not None
        assert status.pid is not None
        return psutil.Process(status.pid)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Iterator[Site]:
    """Both instances serve. Each test leaves it so."""
    folder = tmp_path_factory.mktemp("nginx site")  # with a space, as a home folder may have
    (folder / "site_of_test.py").write_text(APPLICATION)
    layout = Layout(folder / "state")
    layout.make()
    settings = EdgeSettings(
        port=free_port(),
        stats_port=free_port(),
        instances={name: free_port() for name in NAMES},
        probe=Probe(path="/ready", headers={"X-Probe": "yes"}),
    )
    site = Site(layout, python, folder, settings)
    try:
        site.supervisor.ensure()
        site.balancer.ensure(settings)
        for name in NAMES:
            site.start(name)
            site.balancer.admit(name, timeout=30)
        yield site
    finally:
        site.supervisor.shutdown()
    assert [process for process in psutil.process_iter() if _within(process, folder)] == []


@dataclass
class Writers:
    """Clients that POST and never repeat a request; half of them over one connection, half over new ones."""

    port: int
    failures: list[str] = field(default_factory=list)
    requests: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(index % 2,)) for index in range(4)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, anew: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stop.wait(0.02):
            self.requests += 1
            try:
                connection.request("POST", "/", b"loan")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failures.append(str(response.status))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            if anew:
                connection.close()
        connection.close()


def test_rolling_restarts_under_load_fail_no_request(site: Site) -> None:
    with Load(site.url, "/") as load, Writers(site.settings.port) as writers:
        _wait_for_load(site)
        drains = [site.restart(name) for _ in range(3) for name in NAMES]
    measured = load.measured
    print(
        f"{measured.requests} reads (slowest {measured.slowest:.2f} s), {writers.requests} writes; "
        f"drains: {', '.join(f'{seconds:.2f}' for seconds in drains)} s"
    )
    assert (measured.failures, measured.errors, writers.failures) == (0, (), [])
    assert measured.requests > 300
    assert max(drains) < 5
    assert site.serving() == set(NAMES)


def test_a_killed_instance_costs_no_read_and_is_back(site: Site) -> None:
    with Load(site.url, "/") as load:
        _wait_for_load(site)
        for name in NAMES:
            killed = site.supervisor.processes(name)
            for process in killed:
                process.kill()
            _until(lambda name=name: name in site.serving(), f"{name} serves again")
    print(f"{load.measured.requests} reads, slowest {load.measured.slowest:.2f} s")
    assert (load.measured.failures, load.measured.errors) == (0, ())
    assert load.measured.slowest < 5


@pytest.mark.parametrize(
    ("method", "status", "asked"),
    [
        ("GET", 200, 2),
        ("HEAD", 200, 2),
        ("POST", 502, 1),
        ("PATCH", 502, 1),
        ("PUT", 502, 1),
        ("DELETE", 502, 1),
    ],
)
def test_a_write_whose_answer_is_lost_is_not_sent_again_and_a_read_is(
    site: Site, method: str, status: int, asked: int
) -> None:
    try:
        answer = httpx.request(method, f"{site.url}/dies-once")
        assert (answer.status_code, (site.folder / "asked").read_text()) == (status, f"{method}\n" * asked)
    finally:
        (site.folder / "asked").unlink()
    _until(lambda: site.serving() == set(NAMES), "both serve")


def test_a_post_to_an_instance_that_refuses_goes_to_another(site: Site) -> None:
    site.supervisor.stop("instance-1")
    assert site.balancer.in_rotation("instance-1")
    for _ in range(10):
        assert httpx.post(site.url, content=b"loan").json()["instance"] == "instance-2"
    site.start("instance-1")
    site.balancer.admit("instance-1", timeout=20)


def test_a_killed_nginx_is_back_with_its_rotation(site: Site) -> None:
    """Its orphaned workers hold the ports, and would keep a new one from starting for ever."""
    site.balancer.drain("instance-2", timeout=20)
    master = site.master()
    workers = master.children()
    failed, started = 0, time.monotonic()
    master.kill()
    while not site.balancer.answers():
        failed += not _answers(site.url)
        assert time.monotonic() - started < 15
    print(f"back after {time.monotonic() - started:.2f} s, {failed} requests failed")
    assert site.serving() == {"instance-1"}
    _until(lambda: not any(_alive(worker) for worker in workers), "the old workers are gone")
    assert site.balancer.in_rotation("instance-1")
    assert not site.balancer.in_rotation("instance-2")
    site.balancer.admit("instance-2", timeout=20)


def test_all_is_there_again_after_a_killed_supervisor(site: Site) -> None:
    master = site.master()
    left = [master, *master.children()]
    supervisord = psutil.Process(master.ppid())
    supervisord.kill()
    _until(lambda: not site.supervisor.running(), "the supervisor is gone")
    assert site.balancer.running() is None
    assert ports.available(site.layout, site.settings.port), "it is still the stack's"
    site.supervisor.ensure()
    assert not any(_alive(process) for process in left)
    _until(site.balancer.answers, "nginx is back")
    _until(lambda: _answers(site.url) and site.serving() == set(NAMES), "both serve")


def test_a_drain_waits_for_the_requests_in_the_instance_alone(site: Site) -> None:
    results: dict[str, str] = {}

    def stream() -> None:
        with httpx.stream("GET", f"{site.url}/stream?4", timeout=20) as answer:
            name = answer.headers["X-Instance"]
            for part in answer.iter_text():
                results[name] = part

    clients = [threading.Thread(target=stream) for _ in NAMES]
    for client in clients:
        client.start()
    _until(lambda: results == dict.fromkeys(NAMES, "begun"), "a stream from each, as it comes")
    with pytest.raises(TargetError, match=r"^instance-1 still has 1 request after 0.5 s, but "):
        site.balancer.drain("instance-1", timeout=0.5)
    assert not site.balancer.in_rotation("instance-1")
    longer = threading.Thread(target=lambda: httpx.get(f"{site.url}/slow?8", timeout=20).raise_for_status())
    longer.start()
    site.balancer.drain("instance-1", timeout=20)
    assert results["instance-1"] == "ended"
    site.balancer.admit("instance-1", timeout=20)
    started = time.monotonic()
    site.balancer.drain("instance-1", timeout=20)
    print(f"drained in {time.monotonic() - started:.2f} s beside a request to the other instance")
    assert longer.is_alive(), "it is in instance-2"
    site.balancer.admit("instance-1", timeout=20)
    for client in [*clients, longer]:
        client.join()
    assert results == dict.fromkeys(NAMES, "ended")


def test_an_instance_that_does_not_answer_the_probe_gets_no_request(site: Site) -> None:
    site.balancer.drain("instance-2", timeout=20)
    site.balancer.ensure(replace(site.settings, probe=Probe(path="/ready", headers={"X-Probe": "no"})))
    with pytest.raises(TargetError, match=r"^instance-2 answers 403 when the balancer asks, but only 200 "):
        site.balancer.admit("instance-2", timeout=0.5)
    assert not site.balancer.in_rotation("instance-2")
    assert site.serving() == {"instance-1"}
    site.balancer.ensure(site.settings)
    site.balancer.admit("instance-2", timeout=20)
    assert site.balancer.in_rotation("instance-2")


def test_without_an_instance_the_site_says_so(site: Site) -> None:
    for name in NAMES:
        site.balancer.drain(name, timeout=20)
    for method in ("GET", "POST", "DELETE"):
        answer = httpx.request(method, site.url)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "Back soon" in answer.text
    for name in NAMES:
        site.balancer.admit(name, timeout=20)
    assert site.serving() == set(NAMES)


def test_ports_and_instances_change_without_a_restart(site: Site) -> None:
    master = site.master()
    changed = replace(
        site.settings,
        port=free_port(),
        stats_port=free_port(),
        instances={"instance-2": site.settings.instances["instance-2"]},
    )
    with Load(site.url, "/") as load:
        _wait_for_load(site)
        site.balancer.ensure(replace(changed, port=site.settings.port))
    assert (load.measured.failures, load.measured.errors) == (0, ())
    site.balancer.ensure(changed)
    assert _whole(f"http://127.0.0.1:{changed.port}")["instance"] == "instance-2"
    assert not _answers(site.url)
    assert not site.balancer.in_rotation("instance-1")
    site.balancer.forget("instance-1")
    site.balancer.ensure(site.settings)
    assert site.master() == master
    assert site.serving() == {"instance-2"}, "what comes back starts out of rotation"
    site.balancer.admit("instance-1", timeout=20)


def test_a_request_arrives_as_it_was_sent(site: Site) -> None:
    uri = "/a//b/%2Fc/../%20?q=%26&a=1;b"
    for method in ("GET", "POST", "PUT"):
        connection = http.client.HTTPConnection("127.0.0.1", site.settings.port, timeout=10)
        headers = {"Host": "site.example:81", "X-Forwarded-For": "192.0.2.1", "Cookie": "c=" + "x" * 7000}
        connection.request(method, uri, body=b"x" * 3_000_000, headers=headers)
        found = json.loads(connection.getresponse().read())
        connection.close()
        assert (found["uri"], found["length"]) == (uri, 3_000_000)
        assert found["headers"]["HTTP_HOST"] == "site.example:81"
        assert found["headers"]["HTTP_X_FORWARDED_FOR"] == "192.0.2.1, 127.0.0.1"
        assert found["headers"]["HTTP_X_FORWARDED_PROTO"] == "http"
        assert found["headers"]["HTTP_COOKIE"] == headers["Cookie"]
    secure = _whole(site.url, {"X-Forwarded-Proto": "https"})
    assert secure["headers"]["HTTP_X_FORWARDED_PROTO"] == "https"
    assert httpx.get(site.url).headers["Server"] == "gunicorn"
    outside = [path for path in Path("/").glob("*_temp")]
    assert outside == []


def _whole(url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    return httpx.get(url, headers=headers).raise_for_status().json()


def _requests(site: Site) -> int:
    """Those that the balancer has logged."""
    return site.layout.log(PROGRAM).read_text().count('"path": "/",')


def _wait_for_load(site: Site) -> None:
    before = _requests(site)
    _until(lambda: _requests(site) > before + 100, "load")


def _until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _within(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False
