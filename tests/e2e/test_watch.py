"""A release that is worse than the one before is found, told and gone back from, with no terminal open."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from components.release import record
from components.release.record import Release
from relevo import pin
from tests.e2e.load import Load
from tests.e2e.project import Project

VISITED = "/api/docs/?visitor"
TOLD = ".relevo/local/told.log"


@pytest.fixture
def project(new_project: Callable[..., Project], configuration: dict[str, Any]) -> Project:
    """Watched for a minute, once a second, instead of for an hour."""
    watched = {
        "watch": {"minutes": 1, "everySeconds": 1},
        "onFailure": "rollback",
        "notify": [{"console": True}, {"file": TOLD}],
    }
    return new_project("watched", {**configuration, **watched})


def attendant(project: Project) -> Any:
    """Its process, once it is there."""
    deadline = time.monotonic() + 20
    while True:
        for process in project.processes():
            if process.environ()["RELEVO_PROGRAM"].endswith("/attendant") and "relevo.attend" in " ".join(
                process.cmdline()
            ):
                return process
        assert time.monotonic() < deadline, "nobody attends"
        time.sleep(0.05)


def wait_for(project: Project, what: Callable[[list[Release]], bool], seconds: float) -> list[Release]:
    deadline = time.monotonic() + seconds
    while not what(known := record.releases(record.parse(project.record_as_it_is()))):
        assert time.monotonic() < deadline, project.record()[-5:]
        time.sleep(0.2)
    return known


def test_a_release_that_fails_a_fifth_of_the_requests_is_gone_back_from_by_itself(
    project: Project, digests: dict[str, str]
) -> None:
    """The attendant is killed with -9 as soon as the release has ended, and goes on."""
    digests["worse"]
    project.release(digests["v1"])
    with Load(project.url, VISITED, clients=8) as load:
        project.release(digests["worse"])
        first = attendant(project)
        first.kill()
        first.wait(5)
        _, worse, back = wait_for(
            project, lambda known: len(known) == 3 and known[2].verdict == "succeeded", 180
        )
        assert attendant(project).pid != first.pid
    assert (worse.version, worse.verdict, back.version, back.kind) == ("worse", "succeeded", "v1", "rollback")
    assert worse.watched is not None
    assert worse.watched["verdict"] == "breached"
    assert {"errors-5xx", "exceptions"} & set(worse.breaches)
    assert worse.watched["exceptions"][0]["title"] == "ValueError in ops/worse.py, __call__"
    assert worse.told.count("watch-breached") == 1
    assert "worse does not run as well as before" in (project.folder / TOLD).read_text()
    assert set(project.versions().values()) == {"v1"}
    assert pin.pinned(project.configuration) == digests["v1"]
    assert load.measured.failures > 0  # what was found is what visitors met
    assert all(error.count("500") for error in load.measured.errors)  # and the way back cost them nothing
