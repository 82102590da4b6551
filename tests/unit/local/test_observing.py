"""Logs as they are found: rotated, half written, of several programs, with rubbish in between."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.local import access_log, observing
from components.local.layout import Layout
from components.local.observing import Observing
from components.local.process_log import ProcessLog
from components.target import LATENCY_BOUNDS, Observed

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
PATH = '/api/loans/"status": 500, "ms": 7/\\/'
TRACEBACK = """Traceback (most recent call last):
  File "/s/app/0123456789ab/loans/views.py", line {line}, in create
    raise ValueError
ValueError: of somebody"""


def at(seconds: float) -> float:
    return NOW.timestamp() + seconds


def moment(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def request(seconds: float, status: int = 200, ms: float = 10) -> str:
    """As HAProxy writes it."""
    said = {"time": round(at(seconds) * 1000), "method": "GET", "path": PATH, "status": status, "ms": ms}
    return json.dumps({**said, "server": "instance-1"}) + "\n"


def written(path: Path, text: str, seconds: float) -> None:
    path.write_text(text)
    os.utime(path, (at(seconds), at(seconds)))


class Logs:
    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.layout.logs.mkdir()
        self.observing = Observing(self.layout, ["instance-1", "worker"])

    def write(self, program: str, text: str, seconds: float = 0) -> None:
        """Append, as last written at that time."""
        path = self.layout.log(program)
        with path.open("a") as file:
            file.write(text)
        os.utime(path, (at(seconds), at(seconds)))

    def rotate(self, program: str) -> None:
        """As supervisord does."""
        for number in (2, 1, 0):
            path = self.layout.logs / f"{program}.log{f'.{number}' if number else ''}"
            if path.exists():
                path.rename(self.layout.logs / f"{program}.log.{number + 1}")

    def observe(self, since: float, until: float, now: float | None = None) -> Observed:
        now = until + 2 if now is None else now
        return self.observing.observe(moment(since), moment(until), now=moment(now))


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_requests_are_counted_by_status_and_latency(logs: Logs) -> None:
    found = [request(1), request(2, 404, 5), request(3, 500, 20000), request(4, -1, 5.1), request(5, -1, -1)]
    logs.write("edge", "".join([request(-1), *found, request(10)]), 11)
    seen = logs.observe(0, 10)
    assert (seen.requests, seen.errors_4xx, seen.errors_5xx) == (5, 3, 1)
    assert seen.latencies == (1, 2, *(0,) * (len(LATENCY_BOUNDS) - 2), 1)
    assert (seen.since, seen.until) == ("2026-11-25T12:00:00+00:00", "2026-11-25T12:00:10+00:00")


def test_what_may_not_be_written_yet_is_left_for_the_next_look(logs: Logs) -> None:
    assert logs.observe(0, 10, now=10).until == "2026-11-25T12:00:09+00:00"
    assert logs.observe(0, 10, now=-5).until == logs.observe(0, 10, now=-5).since


def test_no_request_is_lost_or_counted_twice_by_looking_often_or_by_rotation(logs: Logs) -> None:
    total = 0
    for second in range(0, 40, 4):
        half = request(second + 3.9)
        logs.write("edge", "".join(request(second + n / 10) for n in range(39)) + half[:9], second + 4)
        if second % 16 == 0:
            logs.write("edge", half[9:], second + 4)
            logs.rotate("edge")
        total += logs.observe(second, second + 4, now=second + 4 + 1).requests
        if second % 16:
            logs.write("edge", half[9:], second + 4)
    assert total == 10 * 39 + 3  # three of the last ones were whole when they were looked at
    assert logs.observe(0, 40).requests == 400


def test_rubbish_between_the_lines_is_passed_over(logs: Logs) -> None:
    rubbish = '\x00\x01\n{"time": "x"}\n[1]\n{"time": 1}\n127.0.0.1:1 [25/Nov] "GET / HTTP/1.1" 200\nnull\n'
    logs.write("edge", rubbish + request(1) + rubbish + request(2) + rubbish, 3)
    assert logs.observe(0, 10).requests == 2


def test_the_span_begins_where_the_logs_do(logs: Logs) -> None:
    """What was thrown away was not quiet."""
    for second in (0, 100, 200):
        logs.write("edge", request(second + 0.5), second)
        logs.rotate("edge")
    logs.write("edge", request(300), 300)
    assert logs.observe(-3600, 310).since == "2026-11-25T12:00:01+00:00"


def test_a_span_is_found_in_a_long_log_without_reading_it(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.write("edge", "".join(request(n / 10) for n in range(100_000)), 10_000)
    read: list[bytes] = []
    real = access_log._request
    monkeypatch.setattr(access_log, "_request", lambda line: read.append(line) or real(line))
    assert logs.observe(9000, 9015).requests == 150
    assert logs.observe(0, 15).requests == 150
    assert len(read) < 6000


def test_an_hour_of_twenty_megabytes_is_read_in_a_moment(logs: Logs) -> None:
    line = request(0)
    lines = "".join(line.replace(line[9:22], str(round(at(n / 40) * 1000))) for n in range(144_000))
    assert len(lines) > 20_000_000
    logs.write("edge", lines, 3600)
    began = time.process_time()
    assert logs.observe(0, 3600).requests == 144_000
    assert time.process_time() - began < 2  # a third of it on a machine that does nothing else


def test_exceptions_are_counted_when_they_were_raised(logs: Logs) -> None:
    stamp = "[2026-11-25 12:00:{:02} +0000] [7] [ERROR] Error handling request /\n"
    for second, line in ((1, 3), (12, 4)):
        logs.write("instance-1", stamp.format(second) + TRACEBACK.format(line=line) + "\n", second)
    said = {"time": "2026-11-25T12:00:05Z", "exc_info": TRACEBACK.format(line=5)}
    logs.write("worker", json.dumps(said) + "\n", 5)
    (first,) = logs.observe(0, 10, now=20).exceptions
    assert (first.count, first.title) == (2, "ValueError in loans/views.py, create")
    (later,) = logs.observe(10, 19, now=20).exceptions
    assert later == type(first)(fingerprint=first.fingerprint, title=first.title, count=1)


def test_lines_without_a_time_are_of_when_they_were_written(logs: Logs) -> None:
    """A project may log in its own way; then it is known by what was read before, and when."""
    plain = TRACEBACK.format(line=3) + "\nsomething else\n"
    counts = []
    for second in (10, 20, 30):
        logs.write("instance-1", plain, second)
        seen = logs.observe(second - 10, second, now=second + 1.5)
        counts.append(sum(raised.count for raised in seen.exceptions))
    assert sum(counts) >= 2
    assert logs.observe(0, 40).exceptions[0].count == 3


def test_lines_without_a_time_that_were_there_before_are_spread_over_it(tmp_path: Path) -> None:
    """Else a project that always raised something would seem to have begun with it."""
    log = tmp_path / "instance-1.log"
    boot = "[2026-11-25 12:00:00 +0000] [7] [INFO] Starting gunicorn 27.0.1\n"
    written(log, boot + (TRACEBACK.format(line=3) + "\nx\n") * 100, 1000)
    followed = ProcessLog(log)
    followed.follow(at(1010), since=at(0))
    late = sum(count for (second, _), count in followed.raised.items() if second >= at(500))
    assert followed.raised.total() == 100
    assert 45 <= late <= 55


def test_a_traceback_is_whole_only_when_all_of_it_is_written(logs: Logs) -> None:
    text = TRACEBACK.format(line=3) + "\nnext\n"
    for number, part in enumerate((text[:50], text[50:120], text[120:])):
        logs.write("instance-1", part, number * 0.1)
        logs.observe(0, 1, now=number * 0.1)
    assert [raised.count for raised in logs.observe(-1, 5, now=6).exceptions] == [1]


def test_workers_that_died_are_restarts_and_those_that_were_told_are_none(logs: Logs) -> None:
    stamp = "[2026-11-25 12:00:{:02} +0000] [7] [{}] {}\n"
    said = [
        (1, "ERROR", "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"),
        (2, "ERROR", "Worker (pid:8) exited with code 1."),
        (3, "INFO", "Worker (pid:9) was sent SIGTERM!"),
        (4, "INFO", "Handling signal: term"),
        (5, "ERROR", "Worker (pid:9) was sent SIGKILL! Perhaps out of memory?"),
        (6, "INFO", "Starting gunicorn 27.0.1"),
        (7, "WARNING", "Worker (pid:10) was sent SIGSEGV!"),
    ]
    logs.write("instance-1", "".join(stamp.format(*one) for one in said), 8)
    for name in ("instance-1", "edge"):
        local = datetime.fromtimestamp(at(8)).strftime("%Y-%m-%d %H:%M:%S,000")
        logs.write("supervisord", f"{local} WARN exited: {name} (terminated by SIGKILL; not expected)\n", 8)
        logs.write("supervisord", f"{local} INFO stopped: {name} (exit status 0)\n", 8)
    assert logs.observe(0, 10).restarts == 4
    assert logs.observe(3, 7).restarts == 0


def test_each_end_of_a_program_counts_once_however_often_it_is_looked_at(logs: Logs) -> None:
    for second in range(3):
        local = datetime.fromtimestamp(at(second)).strftime("%Y-%m-%d %H:%M:%S,000")
        logs.write("supervisord", f"{local} WARN exited: worker (exit status 1; not expected)\n", second)
        logs.rotate("supervisord")
        assert logs.observe(0, 10, now=second + 3).restarts == second + 1


def test_a_log_that_is_rotated_while_it_is_opened_is_read_whole(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for second, line in enumerate((3, 4)):
        logs.write("worker", TRACEBACK.format(line=line) + "\nnext\n", second)
        if not second:
            logs.rotate("worker")
    real, opened = Path.open, []

    def rotating(path: Path, mode: str) -> object:
        file = real(path, mode)
        if path.name == "worker.log" and not opened:
            opened.append(path)
            logs.rotate("worker")
        return file

    monkeypatch.setattr(Path, "open", rotating)
    assert sum(raised.count for raised in logs.observe(-1, 5, now=6).exceptions) == 2
    assert opened


def test_a_program_without_a_log_is_quiet(logs: Logs) -> None:
    assert logs.observe(0, 10) == Observed(
        since=observing._text(int(at(0))),
        until=observing._text(int(at(10))),
        requests=0,
        errors_4xx=0,
        errors_5xx=0,
        latencies=(0,) * (len(LATENCY_BOUNDS) + 1),
        exceptions=(),
        restarts=0,
    )
