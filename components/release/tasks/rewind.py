"""rewind: whether this artefact can run on the schema as it is; it takes the direct way, or stops."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.rollback import decide
from components.release.running import main


def rewind(context: Context, release: Release) -> Mapping[str, Any]:
    decision = decide(
        context.operations.artefact(context.spec.image).manifest,
        context.operations.applied_migrations(),
        context.manifests_of_earlier(),
        context.releases(),
    )
    if decision.refusal:
        raise StepFailed(f"{decision.refusal}.")
    if decision.left_applied:
        print(f"left applied, they only add: {', '.join(decision.left_applied)}", flush=True)
    else:
        print("nothing to rewind: the artefact knows every applied migration", flush=True)
    return {"left_applied": list(decision.left_applied)}


if __name__ == "__main__":
    sys.exit(main("rewind", rewind))
