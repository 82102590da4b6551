"""The verification as a resource: the smoke scenario against the public address, its results as outputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.release import scenario
from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.running import perform
from components.target import TargetError

STEP = "smoke"
INPUTS = ("release", "target", "spec")


def smoke(context: Context, release: Release) -> Mapping[str, Any]:
    """Every request of the scenario as it went. Raises `StepFailed` with the first that went wrong.

    Before that, all instances serve this release: what a killed `up`, a crash or a hand has changed since
    their steps, the engine takes for done.
    """
    from components.release import verification  # which imports httpx, and a preview does without
    from components.release.tasks.roll import hold, rolled

    hold(context, release, rolled(release))
    if context.spec.scenario is None:
        return {"requests": []}
    try:
        results = verification.Runner(
            scenario.parse(context.spec.scenario, "relevo:smoke"),
            base_url=context.operations.public_url,
            version=release.version,
            secret=context.operations.secret,
        ).run()
    except verification.ScenarioFailed as fault:
        raise StepFailed(f"{fault}.", verification.recorded(fault.results)) from None
    return verification.recorded(results)


class SmokeProvider(ResourceProvider):
    """Runs once for each release: its input `release` is what the first step printed. Never deletes."""

    serialize_as_secret_always = False  # pickled by reference: there is nothing in it

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(STEP, self._run(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self._run(_news))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any(_olds.get(name) != _news[name] for name in INPUTS))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """What was verified stays verified."""

    def _run(self, props: dict[str, Any]) -> dict[str, Any]:
        try:
            found = perform(Context.load(props["target"], props["spec"]), STEP, smoke)
        except (StepFailed, TargetError) as fault:
            # The SDK hands on the whole traceback, causes too; of an expected fault one line is of use.
            sys.tracebacklimit = 0
            raise StepFailed(str(fault)) from None
        requests = [
            f"{request['status']} in {request['milliseconds']} ms: {request['name']}"
            for request in found["requests"]
        ]
        return {**{name: props[name] for name in INPUTS}, "requests": requests}


class Smoke(Resource, module="relevo", name="Smoke"):
    """`requests` has a line for each: status, time, name."""

    requests: pulumi.Output[list[str]]

    def __init__(
        self,
        name: str,
        *,
        release: pulumi.Input[str],
        target: pulumi.Input[str],
        spec: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(
            SmokeProvider(),
            name,
            {"release": release, "target": target, "spec": spec, "requests": None},
            opts,
        )
