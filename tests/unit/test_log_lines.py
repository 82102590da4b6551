"""A log is read by people and by the watch, whoever wrote its lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import log_lines

NOON = datetime(2026, 11, 25, 12, 0, 1, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "line",
    [
        '{"time": "2026-11-25T12:00:01.500Z", "message": "x"}',
        '{"message": "x", "timestamp": "2026-11-25T13:00:01.500000+01:00"}',
        '{"time": 1795608001500, "status": 200}',
        '{"ts": 1795608001.5}',
        "[2026-11-25 12:00:01.500 +0000] [7] [INFO] Starting gunicorn",
        "ERROR 2026-11-25 12:00:01,500+00:00 views: x",
    ],
)
def test_the_time_is_found_however_it_is_written(line: str) -> None:
    assert log_lines.when(line) == NOON


def test_a_time_without_a_zone_is_of_this_machine() -> None:
    local = NOON.astimezone()
    assert log_lines.when(f"{local:%Y-%m-%d %H:%M:%S},500 WARN exited: instance-1 (x)") == NOON


@pytest.mark.parametrize(
    "line", ["", "hello", '{"time": null}', '{"time": "soon"}', '{"ts": 1e99}', "{", "9999-99-99 99:99:99"]
)
def test_a_line_without_a_time_has_none(line: str) -> None:
    assert log_lines.when(line) is None


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_no_line_breaks_it(line: str) -> None:
    log_lines.when(line)
    assert log_lines.plain(line)


def test_json_is_shown_as_a_person_reads_it() -> None:
    line = {
        "time": "2026-11-25T12:00:01.5Z",
        "level": "error",
        "logger": "django.request",
        "message": "Internal Server Error: /",
        "exc_info": "Traceback (most recent call last):\nValueError: x",
    }
    assert log_lines.plain(json.dumps(line)) == [
        "[2026-11-25 12:00:01.500+00:00] [ERROR] django.request: Internal Server Error: /",
        "Traceback (most recent call last):",
        "ValueError: x",
    ]


def test_a_request_of_the_balancer_is_shown_in_one_line() -> None:
    line = '{"time": 1795608001500, "method": "GET", "path": "/x", "status": 200, "ms": 7}'
    (shown,) = log_lines.plain(line)
    assert shown.endswith("] method=GET path=/x status=200 ms=7")


@pytest.mark.parametrize("line", ["plain text", "[1, 2]", '{"half": ', ""])
def test_any_other_line_is_shown_as_it_is(line: str) -> None:
    assert log_lines.plain(line) == [line]
