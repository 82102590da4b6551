"""The verification as a resource: the smoke scenario against the public address, its results as outputs."""

from __future__ import annotations

import hashlib
import time
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
ANSWERS = 10  # public ones in a row by this release alone
BETWEEN = 0.1  # seconds from one to the next


def smoke(context: Context, release: Release) -> Mapping[str, Any]:
    """Every request of the scenario as it went. Raises `StepFailed` with the first that went wrong.

    Before that, all instances serve this release, for what a killed `up`, a crash or a hand has changed since
    their steps, the engine takes for done; and nothing else answers the public, such as an instance that the
    stack has no more. After it, each of them serves still.
    """
    from components.release.tasks.roll import hold, rolled

    names = rolled(release)
    hold(context, release, names)
    context.operations.retire()
    answers_alone(context, release)
    done = run_scenario(context, release)
    for name in names:
        still_serves(context, release, name, done)
    return done


def answers_alone(context: Context, release: Release) -> None:
    """Return when the public address is answered by nothing but this release, on the stack's own instances.

    A balancer that is everywhere learns of a change bit by bit. Nothing is asked of a project that does not
    say its version. Raises `StepFailed`.
    """
    release_header = context.spec.probe.release_header
    if release_header is None:
        return
    limit = context.spec.limits.drain_seconds
    deadline = time.monotonic() + limit
    in_a_row = 0
    while in_a_row < ANSWERS:
        fault = public_fault(context, release, release_header)
        in_a_row = 0 if fault else in_a_row + 1
        if fault and time.monotonic() > deadline:
            raise StepFailed(
                f"the public address {fault} after {limit:g} s, but only {release.version} of "
                f"{', '.join(context.spec.instances)} may answer; see what else is in rotation."
            )
        time.sleep(BETWEEN)


def public_fault(context: Context, release: Release, release_header: str) -> str | None:
    """What is wrong with who answers one public request; None: nothing."""
    from components.release import gate  # which imports httpx, and a preview does without

    probe = context.spec.probe
    try:
        said = gate.answer(probe, context.operations.public_url.rstrip("/"))
    except gate.NoGoodAnswer as fault:
        return f"is not answered well ({fault})"
    version = said.get(release_header, "no version")
    instance = said.get(probe.instance_header, "no instance") if probe.instance_header else None
    if version == release.version and (instance is None or instance in context.spec.instances):
        return None
    return f"is still answered by {version}" + (f" of {instance}" if instance else "")


def still_serves(context: Context, release: Release, name: str, done: Mapping[str, Any]) -> None:
    """The last proof of each instance. Raises `StepFailed`, with `done` for the record."""
    from components.release.gate import readiness_fault
    from components.release.tasks.roll import comes_back, deployment, serves

    wanted = deployment(release)
    if serves(context, name, wanted) or comes_back(context, name, wanted):
        return
    fault = readiness_fault(context, name, wanted) or "it is out of rotation, or does not stay up"
    raise StepFailed(
        f"{name} does not serve {release.version} any more after the smoke scenario ({fault}); see its log.",
        done,
    )


def run_scenario(context: Context, release: Release) -> Mapping[str, Any]:
    """Every request as it went. Raises `StepFailed` with the first that went wrong."""
    from components.release import verification  # which imports httpx, and a preview does without

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
