"""The verification as a resource: the smoke scenario against the public address, its results as outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.faults import in_one_line
from components.release import record, scenario, touched
from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.running import perform
from components.target import TargetError

STEP = "smoke"
INPUTS = ("release", "target", "spec")
UNTOUCHED = "nothing that it is about has changed"


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
    parsed = scenario.parse(context.spec.scenario, "relevo:smoke")
    decided = {check.name: why_run(context, release, parsed, check) for check in parsed.checks}
    checks = [
        {
            "name": check.name,
            "definition": definition(parsed, check),
            "run": decided[check.name] is not None,
            "why": decided[check.name] or UNTOUCHED,
        }
        for check in parsed.checks
    ]
    try:
        results = verification.Runner(
            parsed,
            base_url=context.operations.public_url,
            version=release.version,
            secret=context.operations.secret,
        ).run([check for check in parsed.checks if decided[check.name]])
    except verification.ScenarioFailed as fault:
        data = {**verification.recorded(fault.results), "checks": checks}
        raise StepFailed(f"{fault}.", data) from None
    return {**verification.recorded(results), "checks": checks}


def definition(whole: scenario.Scenario, check: scenario.Check) -> str:
    """A digest of what the check asks and expects."""
    text = whole.of([*check.steps, *check.cleanup]).to_text()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def why_run(
    context: Context, release: Release, whole: scenario.Scenario, check: scenario.Check
) -> str | None:
    """Why the check runs in this release; None: nothing that it is about has changed. In doubt it runs."""
    if "always" in (check.when, context.spec.checks):
        return "it always runs"
    before = record.last_good([other for other in context.releases() if other.id != release.id])
    if before is None:
        return "nothing served before"
    known = {told["name"]: told["definition"] for told in before.done.get(STEP, {}).get("checks", ())}
    if known.get(check.name) != definition(whole, check):
        return f"{before.version} was released without it"
    try:
        old = context.operations.artefact(before.image).manifest
    except TargetError:
        return f"the artefact of {before.version} cannot be read"
    return touched.reason(check.paths, old, context.operations.artefact(context.spec.image).manifest)


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
        with in_one_line(StepFailed, TargetError):
            found = perform(Context.load(props["target"], props["spec"]), STEP, smoke)
        requests = [
            f"{request['status']} in {request['milliseconds']} ms: {request['name']}"
            for request in found["requests"]
        ]
        requests += [
            f"{'run' if check['run'] else 'not run'}, since {check['why']}: {check['name']}"
            for check in found.get("checks", ())
        ]
        return {**{name: props[name] for name in INPUTS}, "requests": requests}


class Smoke(Resource, module="relevo", name="Smoke"):
    """`requests` has a line for each: status, time, name; and one for each check: whether it ran, and why."""

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
