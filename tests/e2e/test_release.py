"""The example backend released on real servers by a real `pulumi up`."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.load import Load
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

STEPS = (
    "open-record",
    "preflight",
    "backup",
    "check",
    "rewind",
    "migrate",
    "after-migrate-1",
    "collectstatic",
    "roll-instance-1",
    "roll-instance-2",
    "smoke",
    "close-record",
    "notify",
)
CATALOGUE = "/api/docs/"


@pytest.fixture(scope="module")
def site(
    new_project: Callable[..., Project], configuration: dict[str, Any], digests: dict[str, str]
) -> Project:
    """v1, released. Each test leaves some good release of v1 or v2 behind."""
    project = new_project("site", configuration)
    project.release(digests["v1"])
    return project


def serving(project: Project) -> set[str]:
    """The versions that the public address answers with, over a few requests."""
    url = project.url
    return {httpx.get(f"{url}/healthz/").headers["X-Release"] for _ in range(8)}


def verdicts(project: Project) -> list[str]:
    return [entry["event"] for entry in project.record() if entry["event"].startswith("release")]


def operations(preview: str) -> dict[str, str]:
    """Pulumi name → operation of every resource that a JSON preview would change."""
    steps = json.loads(preview)["steps"]
    return {step["urn"].split("::")[-1]: step["op"] for step in steps if step["op"] != "same"}


def test_the_first_up_serves_the_site(site: Project) -> None:
    page = httpx.get(f"{site.url}/api/docs/")
    assert page.status_code == 200
    assert page.headers["X-Release"] == "v1"
    assert {httpx.get(f"{site.url}/healthz/").headers["X-Instance"] for _ in range(20)} == {
        "instance-1",
        "instance-2",
    }
    assert verdicts(site)[-1] == "release succeeded"


def test_an_unchanged_stack_does_nothing_at_all(site: Project) -> None:
    before = site.record()
    pids = {process.pid for process in site.processes()}
    output = site.up()
    assert "unchanged" in output
    assert not any(word in output for word in ("created", "updated", "replaced", "deleted"))
    assert site.record() == before
    assert {process.pid for process in site.processes()} == pids


def test_a_preview_of_a_new_pin_shows_exactly_the_steps_of_the_release(
    site: Project, digests: dict[str, str]
) -> None:
    site.release(digests["v1"])
    site.pin(digests["v2"])
    changed = operations(site.preview("--json"))
    site.pin(digests["v1"])
    assert set(changed) - {"relevo-local"} == set(STEPS)


@pytest.mark.parametrize("instances", [2, 4])
def test_release_and_rollback_fail_no_request_under_load(
    site: Project, digests: dict[str, str], configuration: dict[str, Any], instances: int
) -> None:
    site.set("instances", instances)
    site.release(digests["v1"])
    try:
        with Load(site.url, CATALOGUE) as load:
            site.release(digests["v2"])
            assert serving(site) == {"v2"}
            site.release(digests["v1"])
            assert serving(site) == {"v1"}
        assert load.measured.failures == 0, load.measured
        assert load.measured.requests > 500
        assert load.measured.slowest < 2
    finally:
        site.set("instances", 2)
        site.release(digests["v1"])


@pytest.mark.parametrize(
    ("tag", "step"),
    [
        ("broken-start", "roll-instance-1"),
        ("broken-migration", "migrate"),
        ("broken-check", "check"),
        ("broken-smoke", "roll-instance-1"),
        ("slow", "roll-instance-1"),
    ],
)
def test_a_broken_release_stops_where_it_should_and_the_old_version_serves(
    site: Project, digests: dict[str, str], tag: str, step: str
) -> None:
    site.release(digests["v1"])
    told = site.state / "notifications.log"
    site.pin(digests[tag])
    with Load(site.url, CATALOGUE) as load:
        output = site.up(status=1)
        assert serving(site) == {"v1"}
    assert load.measured.failures == 0, load.measured
    failed = [entry for entry in site.record() if entry["event"] == "step failed"][-1]
    assert failed["step"] == step
    assert failed["error"] in output
    assert verdicts(site)[-1] == "release failed"
    assert failed["error"] in json.loads(told.read_text().splitlines()[-1])["body"]
    site.release(digests["v1"])
    assert verdicts(site)[-1] == "release succeeded"
    assert serving(site) == {"v1"}


def kill_in_step(project: Project, step: str) -> None:
    """Start `pulumi up` and kill it with -9 as soon as the record says that the step has begun."""
    before = len(project.record())
    process = project.start("pulumi", "up", "--stack", project.stack, "--yes")
    try:
        deadline = time.monotonic() + 120
        while not any(
            entry["event"] == "step started" and entry["step"] == step for entry in project.record()[before:]
        ):
            assert process.poll() is None, f"up ended before {step}: {process.communicate()[0]}"
            assert time.monotonic() < deadline, f"{step} never began"
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_release_killed_in_every_step_converges(site: Project, digests: dict[str, str]) -> None:
    """One release, killed with -9 in its first step, gone on with, killed in its second, and so on."""
    site.pin(digests["v2"])
    url = site.url
    for step in STEPS:
        kill_in_step(site, step)
        assert httpx.get(f"{url}/readyz/").status_code == 200, f"after the kill in {step}"
    site.up()

    assert serving(site) == {"v2"}
    assert verdicts(site)[-1] == "release succeeded"
    release = site.record()[-1]["release"]
    done = [e["step"] for e in site.record() if e["release"] == release and e["event"] == "step done"]
    assert set(done) == set(STEPS)
    for once in ("backup", "after-migrate-1", "notify"):
        assert done.count(once) == 1
    assert "36 unchanged" in site.up()
    site.release(digests["v1"])
