"""`relevo status` of a stack on Azure: what its workers say that they run, and what can be done about it."""

from __future__ import annotations

import pytest

from components.azure.operations import AzureOperations
from components.release.context import Context
from components.target import Deployment
from relevo import recovery, situation
from stacks.settings import Probe
from tests.azure.arm_stand_in import ArmStandIn
from tests.unit.release.stand_in import specification


def test_status_tells_what_each_instance_runs_and_whether_it_serves(
    operations: AzureOperations,
    azure: ArmStandIn,
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(situation, "health", lambda url, probe: "")
    operations.replace("instance-1", Deployment(image=images[1], version="v2", release="r2"))
    while operations.deployed("instance-1") is None:
        pass
    operations.admit("instance-1", timeout=5)
    spec = specification(instances=("instance-1", "instance-2"), processes=("worker",))
    context = Context(stack="test", trigger="", spec=spec, operations=operations)
    found = situation.elsewhere(context, "test", Probe(), images[1])
    lines = situation.describe(found)
    assert lines[0] == f"{operations.public_url}  healthy"
    assert "  instance-1  in rotation  v2" in lines
    assert "  instance-2  in rotation" in lines  # nothing was ever released to it
    assert f"pinned        v2 ({images[1]})" in lines

    # App Service keeps the log, and in it the start, for some days; the site runs on.
    azure.sites["app-assets-test-1"].logs.clear()
    lines = situation.describe(situation.elsewhere(context, "test", Probe(), images[1]))
    told = "was given v2, but its log does not say of each worker what it runs"
    assert f"  instance-1  in rotation, {told}" in lines
    assert recovery._state(context, "instance-1") == f"instance-1, in rotation, {told}"
    assert recovery._state(context, "instance-2") == "instance-2 does not run"
    assert not any("relevo logs" in line or "relevo start" in line for line in lines)
