"""A release that is worse than the one before is found, told and gone back from, with no terminal open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.release import record
from components.release.record import Release
from relevo import pin
from tests.e2e.load import Load
from tests.e2e.project import Project

VISITED = "/api/docs/?visitor"
WATCH = {"minutes": 1, "everySeconds": 1}


@pytest.fixture
def project(site: Project, digests: dict[str, str]) -> Iterator[Project]:
    """v1 serves; what is released next is watched for a minute, once a second, instead of for an hour."""
    digests["worse"]  # is built before there is load
    site.have(digests["v1"])
    site.set("watch", WATCH)
    site.set("onFailure", "rollback")
    yield site
    site.set("watch", {"minutes": 0})
    site.unset("onFailure")


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


def wait_for(project: Project, what: Callable[[list[Release]], bool]) -> list[Release]:
    deadline = time.monotonic() + 180
    while not what(known := record.releases(record.parse(project.record_as_it_is()))):
        assert time.monotonic() < deadline, project.record()[-5:]
        time.sleep(0.2)
    return known


def test_a_release_that_fails_a_fifth_of_the_requests_is_gone_back_from_by_itself(
    project: Project, digests: dict[str, str]
) -> None:
    """The attendant is killed with -9 as soon as the release has ended, and goes on."""
    before = len(wait_for(project, lambda _: True))
    with Load(project.url, VISITED, clients=2) as load:
        project.release(digests["worse"])
        first = attendant(project)
        first.kill()
        first.wait(5)
        known = wait_for(
            project, lambda known: known[before + 1 :] != [] and known[-1].verdict == "succeeded"
        )
        assert attendant(project).pid != first.pid
    worse, back = known[before:]
    assert (worse.version, worse.verdict, back.version, back.kind) == ("worse", "succeeded", "v1", "rollback")
    assert worse.watched is not None
    assert worse.watched["verdict"] == "breached"
    assert {"errors-5xx", "exceptions"} & set(worse.breaches)
    assert "ValueError in ops/worse.py, __call__" in [one["title"] for one in worse.watched["exceptions"]]
    assert worse.told.count("watch-breached") == 1
    told = project.state / "notifications.log"
    assert "worse does not run as well as before" in told.read_text()
    assert set(project.versions().values()) == {"v1"}
    assert pin.pinned(project.configuration) == digests["v1"]
    assert load.measured.failures > 0  # what was found is what visitors met
    assert all("500" in error for error in load.measured.errors)  # and the way back cost them nothing
