"""previous-version: whether what still serves can read the schema that the release has made.

Asked in a scratch instance out of rotation, before the first instance is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from components.release import verification
from components.release.context import Context, StepFailed
from components.release.previous import STEP, Previous, Questions, promised, questions, serving
from components.release.record import Release
from components.release.running import main
from components.target import TargetError


def previous_version(context: Context, release: Release) -> Mapping[str, Any]:
    data: dict[str, Any] = {"reads": promised(context.spec), "asked": []}
    previous = serving(context.releases(), context.spec.instances, release.image)
    if why := nothing_to_ask(release, previous):
        print(f"nothing to ask: {why}", flush=True)
        return {**data, "why": why}
    for one in previous:
        asked = questions(context.spec, one)
        found = ask(context, one, asked)
        data["asked"].append(found)
        fault, version = found["fault"], one.deployment.version
        if fault is None:
            print(f"{version} answers on the schema of {release.version}: {asked.told}", flush=True)
            continue
        finding = f"{version}, which still serves, fails on the schema of {release.version} ({fault})"
        if context.spec.accept_incompatible != release.version:
            raise StepFailed(
                f"{finding}; take the schema back with relevo rollback, or go on and accept failed requests "
                f"by relevo:acceptIncompatible: {release.version}.",
                data,
            )
        print(f"accepted by relevo:acceptIncompatible: {finding}", flush=True)
    return data


def nothing_to_ask(release: Release, previous: list[Previous]) -> str | None:
    if not previous:
        return "no other version serves"
    if release.done.get("rewind", {}).get("reversed"):
        return "the release has reversed migrations of the version that serves, which cannot live with that"
    if not any(one.migrations for one in previous):
        return "no migration was applied since the version that serves was released"
    return None


def ask(context: Context, previous: Previous, asked: Questions) -> dict[str, Any]:
    """How each request went, for the record; `fault` is the first one, or why nobody could be asked."""
    deployment = previous.deployment
    print(f"asking {deployment.version} in a scratch instance: {asked.told}", flush=True)
    fault, requests = None, {}
    try:
        results = context.operations.read_aside(deployment, asked.scenario)
    except TargetError as error:
        fault = f"it could not be asked: {str(error).rstrip('.')}"
    else:
        requests = verification.recorded(results)
        fault = next((result.fault for result in results if result.fault), None)
    return {"version": deployment.version, "image": deployment.image, "fault": fault, **requests}


if __name__ == "__main__":
    sys.exit(main(STEP, previous_version))
