"""A release that is cancelled, or killed, in any of its steps goes on at the next `pulumi up`."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable

import httpx

from tests.e2e.project import Project, up_in_step
from tests.e2e.test_release import STEPS, serving, verdicts


def test_a_release_cancelled_by_ctrl_c_is_closed_as_that_and_goes_on_at_the_next_up(
    site: Project, digests: dict[str, str]
) -> None:
    site.have(digests["v1"])
    told = site.state / "notifications.log"
    site.pin(digests["v2"])
    url = site.url
    at_work: dict[str, Callable[[], bool]] = {
        "migrate": lambda: "manage" in site.versions(),
        "roll-instance-1": lambda: site.versions().get("instance-1") != "v1",
    }
    for step, is_at_work in at_work.items():
        with up_in_step(site, step) as up:
            while not is_at_work():
                assert up.poll() is None
            os.kill(up.pid, signal.SIGINT)
            output, _ = up.communicate(timeout=60)
        assert up.returncode != 0
        release = site.last_release()
        assert release is not None
        assert (release.verdict, release.failed_step) == ("failed", step), output
        assert release.error is not None
        assert release.error.startswith("cancelled by SIGTERM; run pulumi up to go on")
        assert release.error.endswith("instance-1 serves v1 again.") == (step == "roll-instance-1")
        assert release.error in output
        assert release.error in json.loads(told.read_text().splitlines()[-1])["body"]
        assert set(site.versions().values()) == {"v1"}
        assert serving(site) == {"v1"}
        assert httpx.get(f"{url}/readyz/").status_code == 200
    site.up(preview=False)
    assert verdicts(site)[-1] == "release succeeded"
    assert serving(site) == {"v2"}


def test_a_release_killed_in_every_step_converges(site: Project, digests: dict[str, str]) -> None:
    """One release, killed with -9 in its first step, gone on with, killed in its second, and so on."""
    site.have(digests["v2"])
    site.pin(digests["v1"])
    url = site.url
    for step in STEPS:
        with up_in_step(site, step):
            pass
        assert httpx.get(f"{url}/readyz/").status_code == 200, f"after the kill in {step}"
    site.up(preview=False)

    assert serving(site) == {"v1"}
    release = site.last_release()
    assert release is not None
    assert release.verdict == "succeeded"
    done = [e["step"] for e in site.record() if e["release"] == release.id and e["event"] == "step done"]
    assert set(done) == set(STEPS)
    for once in ("backup", "after-migrate-1", "notify"):
        assert done.count(once) == 1
    summary = site.up().rpartition("Resources:")[2]
    assert re.fullmatch(r"\s*\d+ unchanged\s*Duration: .*\s*", summary), summary
