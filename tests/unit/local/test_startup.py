"""What a log says about a start."""

from __future__ import annotations

import json
from pathlib import Path

from components.local import startup

CLEAN = [
    "[2026-01-01 00:00:00 +0000] [10] [INFO] Starting gunicorn 27.0.1",
    "[2026-01-01 00:00:00 +0000] [10] [INFO] Listening at: http://127.0.0.1:20001 (10)",
    "an ordinary ERROR word in a sentence",
]
BROKEN = [
    "[2026-01-01 00:00:00 +0000] [12] [ERROR] Exception in worker process",
    "Traceback (most recent call last):",
    '  File "wsgi.py", line 1, in <module>',
    "    import missing",
    "ModuleNotFoundError: No module named 'missing'",
    "[2026-01-01 00:00:00 +0000] [10] [ERROR] Worker (pid:12) exited with code 3",
    "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>",
]


def test_a_clean_start_has_no_errors() -> None:
    assert startup.errors(CLEAN) == []


def test_a_traceback_is_told_by_its_exception() -> None:
    found = startup.errors([*CLEAN, *BROKEN])
    assert "ModuleNotFoundError: No module named 'missing'" in found
    assert BROKEN[0] in found
    assert "    import missing" not in found


def test_a_traceback_within_one_line_of_json_is_told_by_its_exception_and_not_by_the_next_line() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py"\nKeyError: 1'
    whole = json.dumps({"level": "error", "message": "it failed", "exc_info": trace})
    following = '{"level": "info", "message": "ready"}'
    assert startup.errors([*CLEAN, whole, following]) == ["[ERROR] it failed", "KeyError: 1"]
    assert startup.errors([*BROKEN[1:4], whole, following]) == ["[ERROR] it failed", "KeyError: 1"]


def test_what_gunicorn_writes_as_json_is_read_as_its_own_lines() -> None:
    """Its configuration is ours. An error that the project logs by itself is the project's affair."""
    of_gunicorn = {"time": "2026-01-01T00:00:00Z", "level": "ERROR", "logger": "gunicorn.error"}
    said = json.dumps({**of_gunicorn, "message": "Worker (pid:12) exited with code 3"})
    (found,) = startup.errors([*CLEAN, said, json.dumps({"level": "ERROR", "message": "no mail today"})])
    assert found.endswith("[ERROR] gunicorn.error: Worker (pid:12) exited with code 3")


def test_only_lines_of_this_start_count(tmp_path: Path) -> None:
    log = tmp_path / "instance-1.log"
    log.write_text("\n".join(["relevo: start old", *BROKEN, "relevo: start new", *CLEAN]) + "\n")
    assert startup.since(log, "relevo: start new") == CLEAN


def test_an_automatic_restart_does_not_hide_what_was_before_it(tmp_path: Path) -> None:
    log = tmp_path / "instance-1.log"
    log.write_text("\n".join(["relevo: start new", *BROKEN, "relevo: start new", *CLEAN]) + "\n")
    assert startup.errors(startup.since(log, "relevo: start new"))


def test_a_start_is_found_after_the_log_was_rotated(tmp_path: Path) -> None:
    (tmp_path / "instance-1.log.1").write_text("relevo: start new\n" + BROKEN[0] + "\n")
    (tmp_path / "instance-1.log").write_text(CLEAN[0] + "\n")
    assert startup.since(tmp_path / "instance-1.log", "relevo: start new") == [BROKEN[0], CLEAN[0]]


def test_a_start_that_wrote_nothing_yet_has_no_lines(tmp_path: Path) -> None:
    assert startup.since(tmp_path / "missing.log", "relevo: start new") == []
