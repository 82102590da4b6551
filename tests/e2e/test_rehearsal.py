"""The failure rehearsal in its short form: the cases of `make rehearse` that no other test here has.

Elsewhere: migration-fails, never-ready and smoke-fails in test_release.py, killed in test_interruptions.py,
two-ups in test_refusals.py; dies-later, but for the servers, in tests/unit/release/tasks/test_roll.py; a
command that takes too long, the lock of a step and servers that come back in test_local_servers.py; a stale
lock of the engine in tests/unit/toolchain; a rewind that is interrupted in tests/unit/release/tasks. On real
processes only `make rehearse` has database-gone, killed-in-migrate, killed-in-rewind, smoke-fails-in-public.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.project import Project
from tests.rehearsal.cases import CASES, Case
from tests.rehearsal.play import play, table
from tests.rehearsal.stage import Stage

pytestmark = pytest.mark.e2e
SHORT = ("split", "disk-full")


@pytest.mark.parametrize("case", [case for case in CASES if case.name in SHORT], ids=lambda case: case.name)
def test_what_goes_wrong_fails_no_request_and_the_next_up_converges(
    site: Project, digests: dict[str, str], case: Case, record_property: Callable[[str, object], None]
) -> None:
    outcome = play(Stage(site, digests), case)
    for line in table([outcome]):
        record_property("rehearsal", line)
    assert outcome.faults == []
