"""roll: one instance (or further process) is taken out, replaced, proved and put back.

Before that, those that this release was put on already must still serve it.

python -m components.release.tasks.roll instance-1
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from components.release import gate, record
from components.release.context import Context, StepFailed
from components.release.gate import pass_gate, readiness_fault, verify
from components.release.polling import poll
from components.release.record import ROLL, Release
from components.release.running import describe, main, show_traceback
from components.target import Deployment

RETURN_SECONDS = 10.0  # a crashed instance is started again in a few


def roll_next(context: Context, release: Release, name: str) -> Mapping[str, Any]:
    hold(context, release, [other for other in rolled(release) if other != name])
    return roll(context, release, name)


def hold(context: Context, release: Release, names: Iterable[str]) -> None:
    """Have these serve the release still. What does not (it died, somebody's hand) is rolled again.

    It must go on serving for a while then: what dies of users' requests passes every gate before them, and
    must not be all that is left when the next instance is taken out. Raises `StepFailed`.
    """
    wanted = deployment(release)
    for name in names:
        if serves(context, name, wanted) or comes_back(context, name, wanted):
            continue
        print(f"{name}: does not serve {wanted.version} any more, and is rolled again", flush=True)
        roll(context, release, name)
        if fault := falls(context, name, wanted):
            left = put_back(context, name, deployment_before(context, name, wanted))
            raise StepFailed(
                f"{name} does not keep serving {wanted.version} ({fault}); {left}.", {"left": [name]}
            )


def comes_back(context: Context, name: str, wanted: Deployment) -> bool:
    """By itself, to stay: it was slow for once, or was started again."""
    back = poll(
        lambda: serves(context, name, wanted), lambda back: back, seconds=RETURN_SECONDS, pause=gate.PAUSE
    )
    return back and falls(context, name, wanted) is None


def falls(context: Context, name: str, wanted: Deployment) -> str | None:
    """Why it does not keep serving; None: it does."""
    return poll(
        lambda: readiness_fault(context, name, wanted),
        lambda fault: fault is not None,
        seconds=gate.STEADY_SECONDS,
        pause=gate.PAUSE,
    )


def rolled(release: Release) -> list[str]:
    """The instances and processes on which this release has passed its gate."""
    return [step.removeprefix(ROLL) for step in release.done if step.startswith(ROLL)]


def deployment(release: Release) -> Deployment:
    return Deployment(image=release.image, version=release.version, release=release.id)


def roll(context: Context, release: Release, name: str) -> Mapping[str, Any]:
    operations, limits = context.operations, context.spec.limits
    wanted = deployment(release)
    if serves(context, name, wanted):
        print(f"{name}: nothing to do, it serves {wanted.version} of this release", flush=True)
        return {"changed": False}
    before = deployment_before(context, name, wanted)
    try:
        operations.drain(name, timeout=limits.drain_seconds)
        operations.replace(name, wanted)
        pass_gate(context, name, wanted)
        verified = verify(context, name, wanted)
        operations.admit(name, timeout=limits.ready_seconds)
    except BaseException as fault:
        left = put_back(context, name, before)
        show_traceback(fault, context.masking())
        data = {**getattr(fault, "data", {}), "left": [name]}  # also where its own step was done before
        raise StepFailed(f"{describe(fault).rstrip('.')}; {left}.", data) from fault
    print(f"{name}: serves {wanted.version}", flush=True)
    return {"changed": True, "before": before.version if before else None, **verified}


def serves(context: Context, name: str, wanted: Deployment) -> bool:
    """Whether an earlier try of this step has finished its work."""
    instance = context.operations.instance(name)
    placed = instance.in_rotation or instance.address is None
    return placed and readiness_fault(context, name, wanted) is None


def deployment_before(context: Context, name: str, wanted: Deployment) -> Deployment | None:
    """What to give back to the instance if `wanted` fails on it; None: nothing ever ran there.

    What passed its gate there, by the record; else what was put there. After a kill in the middle of this
    step that is `wanted` itself: then what the stack served before this release.
    """
    earlier = [known for known in context.releases() if known.id != wanted.release]
    passed = record.serving(earlier).get(name)
    asked = context.operations.instance(name).deployment
    if passed is None and asked is not None and asked.release != wanted.release:
        return asked
    good = passed or (record.last_good(earlier) if asked else None)
    return deployment(good) if good else None


def put_back(context: Context, name: str, before: Deployment | None) -> str:
    """Have the instance as it was, and say how it is left."""
    operations = context.operations
    try:
        if before is None:
            operations.withdraw(name)
            return f"{name} is stopped, for nothing ran on it before"
        operations.replace(name, before)
        pass_gate(context, name, before)
        operations.admit(name, timeout=context.spec.limits.ready_seconds)
        return f"{name} serves {before.version} again"
    except Exception as fault:  # noqa: BLE001 - the first fault must be told, whatever this one is
        show_traceback(fault, context.masking())
        state = f"given back {before.version}" if before else "stopped"
        return f"and {name} could not be {state} ({describe(fault).rstrip('.')})"


if __name__ == "__main__":
    sys.exit(main(f"{ROLL}{sys.argv[1]}", lambda context, release: roll_next(context, release, sys.argv[1])))
