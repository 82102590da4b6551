"""Marks each test by its folder, orders the tests, and deals them to the workers of a parallel run.

One process runs the quick ones first: unit, engine, e2e, the rest. Workers (`-n 2`) begin with the longest.
A session fixture is made in each worker that needs it, so files that share a costly one are one part.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_ROOT = Path(__file__).parent
_ORDER = ["unit", "engine", "e2e"]

# One part is one worker's. They start in this order, the longest first; every other file is a part of its own
# and comes after them, minutes before seconds: e2e, engine, policy, unit.
_PARTS = (
    ("e2e/test_release.py",),
    ("e2e/test_interruptions.py", "e2e/test_rehearsal.py", "e2e/test_secrecy.py", "e2e/test_watch.py"),
    ("engine/test_azure_release.py",),
    ("e2e/test_refusals.py", "e2e/test_existing_postgres.py"),
    ("e2e/test_local_servers.py",),
    ("e2e/test_nginx.py", "e2e/test_prestamos.py", "e2e/test_releases.py", "e2e/test_sites.py"),
    ("engine/test_azure_stacks.py",),
)


# What a shell has in its background ignores SIGINT, and so would whatever the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _whole_tracebacks() -> Iterator[None]:
    """A provider shortens them in its process (components/faults.py), which here is that of all tests."""
    yield
    with contextlib.suppress(AttributeError):
        del sys.tracebacklimit


def _file(item: pytest.Item) -> str:
    return item.path.relative_to(_ROOT).as_posix()


def _folder(item: pytest.Item) -> str:
    return _file(item).partition("/")[0]


def _part(file: str) -> int:
    return next((place for place, files in enumerate(_PARTS) if file in files), len(_PARTS))


class Parts(LoadScopeScheduling):
    """Deals the next part, in the order of the collection, to a worker that has nearly done its own."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].removeprefix(f"{_ROOT.name}/")
        part = _part(file)
        return str(part) if part < len(_PARTS) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Parts:
    config.option.loadscopereorder = False  # else the part with the most tests would start first
    return Parts(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _folder(item) in _ORDER:
            item.add_marker(_folder(item))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _part(_file(item)))
    else:
        items.sort(key=lambda item: _ORDER.index(_folder(item)) if _folder(item) in _ORDER else len(_ORDER))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the rehearsal's short form came to, row by row: a worker's own output is not shown."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = [value for report in reports for name, value in report.user_properties if name == "rehearsal"]
    if lines:
        terminalreporter.section("rehearsal")
    for line in dict.fromkeys(lines):  # the headings once
        terminalreporter.line(str(line))
