"""When a replaced instance may serve: it is the one that was asked for, ready, migrated, and verified."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import httpx

from components.release import scenario, verification
from components.release.context import Context, StepFailed
from components.release.http import heeds_environment
from components.release.polling import poll
from components.release.spec import Probe
from components.target import Deployment

PAUSE = 0.1
STEADY_SECONDS = 3.0  # how long a process without an address must stay up to count as started


class NoGoodAnswer(Exception):
    """The probe was not answered as expected; the message says how instead."""


def pass_gate(context: Context, name: str, deployment: Deployment) -> None:
    """Return when `name` runs the deployment and is ready. Raises `StepFailed` with what is wrong.

    A 200 alone proves nothing: while a new process waits for its port, the old one still answers. So the
    process itself must be the deployment's.
    """

    def not_ready() -> str | None:
        errors = context.operations.startup_errors(name)
        if errors:
            raise StepFailed(f"{name} does not start cleanly ({errors[-1].strip()}); see its log.")
        return readiness_fault(context, name, deployment)

    limit = context.spec.limits.ready_seconds
    if fault := poll(not_ready, lambda fault: fault is None, seconds=limit, pause=PAUSE):
        raise StepFailed(f"{name} is not ready after {limit:g} s ({fault}); see its log.")
    if context.operations.instance(name).address is None:
        stay_up(context, name)
    print(f"{name}: runs {deployment.version} and is ready", flush=True)


def verify(context: Context, name: str, deployment: Deployment) -> Mapping[str, Any]:
    """What must hold before a user's request reaches it: all migrations applied, and the smoke scenario.

    Returns what the record is to have of it. Raises `StepFailed`.
    """
    checked = context.operations.manage(deployment.image, ["migrate", "--check"], release=deployment.release)
    if checked.status != 0:
        raise StepFailed(
            f"{name}: migrations of {deployment.version} are not all applied; run pulumi up again."
        )
    return smoke_before_traffic(context, name, deployment)


def readiness_fault(context: Context, name: str, deployment: Deployment) -> str | None:
    """What is missing until the instance can serve; None: nothing."""
    instance = context.operations.instance(name)
    if not instance.running:
        return "its process does not run"
    if context.operations.deployed(name) != deployment:
        return f"its process is not yet that of {deployment.version}"
    if instance.address is None:
        return None
    probe = context.spec.probe
    try:
        said = answer(probe, instance.address, instance.access_headers)
    except NoGoodAnswer as fault:
        return str(fault)
    for header, wanted in expected_headers(probe, name, deployment).items():
        if said.get(header) != wanted:
            return f"{header} is {said.get(header)!r}, but expected {wanted!r}"
    return None


def answer(probe: Probe, base_url: str, access_headers: Mapping[str, str] | None = None) -> httpx.Headers:
    """What a good answer says in its headers, on a new connection. Raises `NoGoodAnswer`."""
    try:
        response = _client(heeds_environment(base_url)).get(
            base_url + probe.path,
            headers={**(access_headers or {}), **probe.headers},
            timeout=probe.timeout_seconds,
        )
    except httpx.TimeoutException:
        raise NoGoodAnswer(f"{probe.path} does not answer within {probe.timeout_seconds:g} s") from None
    except httpx.HTTPError as error:
        raise NoGoodAnswer(f"{probe.path} does not answer ({type(error).__name__})") from None
    if response.status_code != probe.status:
        raise NoGoodAnswer(f"{probe.path} answers {response.status_code}, but expected {probe.status}")
    return response.headers


@functools.cache
def _client(trust_env: bool) -> httpx.Client:
    """One for all polls, since making one loads every certificate authority; a new connection for each."""
    return httpx.Client(trust_env=trust_env, limits=httpx.Limits(max_keepalive_connections=0))


def expected_headers(probe: Probe, name: str, deployment: Deployment) -> Mapping[str, str]:
    """Response headers by which the project says what it is, where it does."""
    headers = {probe.release_header: deployment.version, probe.instance_header: name}
    return {header: value for header, value in headers.items() if header is not None}


def smoke_before_traffic(context: Context, name: str, deployment: Deployment) -> Mapping[str, Any]:
    """The smoke scenario against the instance itself, so that a release that fails it never serves a user."""
    instance = context.operations.instance(name)
    if instance.address is None or context.spec.scenario is None:
        return {}
    try:
        results = verification.Runner(
            scenario.parse(context.spec.scenario, "relevo:smoke"),
            base_url=instance.address,
            version=deployment.version,
            secret=context.operations.secret,
            headers={**instance.access_headers, **instance.visitor_headers},
        ).run()
    except verification.ScenarioFailed as fault:
        raise StepFailed(
            f"{name} fails the smoke scenario before any traffic: {fault}",
            verification.recorded(fault.results),
        ) from None
    print(f"{name}: {len(results)} smoke requests passed before any traffic", flush=True)
    return verification.recorded(results)


def stay_up(context: Context, name: str) -> None:
    """For a process without an address: it must still run, with a clean log, a while after its start."""

    def fallen() -> str | None:
        errors = context.operations.startup_errors(name)
        if errors:
            return errors[-1].strip()
        return None if context.operations.instance(name).running else "it ended"

    if fault := poll(fallen, lambda fault: fault is not None, seconds=STEADY_SECONDS, pause=PAUSE):
        raise StepFailed(f"{name} does not stay up ({fault}); see its log.")
