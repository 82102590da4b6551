"""roll: one instance (or further process) is taken out, replaced, proved and put back.

python -m components.release.tasks.roll instance-1
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from components.release.context import Context, StepFailed
from components.release.gate import pass_gate, readiness_fault, stay_up
from components.release.record import Release
from components.release.running import main
from components.target import Deployment, TargetError


def roll(context: Context, release: Release, name: str) -> Mapping[str, Any]:
    operations = context.operations
    wanted = Deployment(image=release.image, version=release.version, release=release.id)
    now = operations.instance(name)
    if serves(context, name, wanted):
        print(f"{name}: nothing to do, it serves {wanted.version} of this release", flush=True)
        return {"changed": False}
    # What was put there last, even when it does not run: after a kill in the middle it may be this release's
    # own.
    before = now.deployment if now.deployment and now.deployment.image != wanted.image else None
    if before is None and now.deployment and now.deployment.release != wanted.release:
        before = now.deployment
    if before is None:
        before = last_good_deployment(context)
    try:
        operations.drain(name, timeout=context.spec.limits.drain_seconds)
        operations.replace(name, wanted)
        pass_gate(context, name, wanted, verify=True)
        if now.address is None:
            stay_up(context, name)
        operations.admit(name, timeout=context.spec.limits.ready_seconds)
    except BaseException as fault:
        left = put_back(context, name, before)
        raise StepFailed(f"{str(fault).rstrip('.')}; {left}.") from fault
    print(f"{name}: serves {wanted.version}", flush=True)
    return {"changed": True, "before": before.version if before else None}


def serves(context: Context, name: str, wanted: Deployment) -> bool:
    """Whether an earlier try of this step has finished its work."""
    instance = context.operations.instance(name)
    placed = instance.in_rotation or instance.address is None
    return placed and readiness_fault(context, name, wanted) is None


def last_good_deployment(context: Context) -> Deployment | None:
    """What the stack served before this release, for an instance which a killed step left half-replaced."""
    release = context.current()
    if release.previous_image is None or release.previous_version is None:
        return None
    good = [known for known in context.releases() if known.image == release.previous_image]
    return Deployment(image=release.previous_image, version=release.previous_version, release=good[-1].id)


def put_back(context: Context, name: str, before: Deployment | None) -> str:
    """Have the instance as it was, and say how it is left."""
    operations = context.operations
    try:
        if before is None:
            operations.withdraw(name)
            return f"{name} is stopped, for nothing ran on it before"
        operations.replace(name, before)
        pass_gate(context, name, before, verify=False)
        operations.admit(name, timeout=context.spec.limits.ready_seconds)
        return f"{name} serves {before.version} again"
    except (StepFailed, TargetError) as fault:
        return f"and {name} could not be given back {before.version if before else 'its state'} ({fault})"


if __name__ == "__main__":
    sys.exit(main(f"roll-{sys.argv[1]}", lambda context, release: roll(context, release, sys.argv[1])))
