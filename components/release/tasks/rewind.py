"""rewind: whether this artefact can run on the schema as it is; it takes the direct way, or stops."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.running import main
from components.release.schema import Schema


def rewind(context: Context, release: Release) -> Mapping[str, Any]:
    manifest = context.operations.artefact(context.spec.image).manifest
    decision = Schema.read(context, manifest).way_back()
    if decision.refusal:
        raise StepFailed(f"{decision.refusal}.")
    if decision.left_applied:
        print(f"left applied, they only add: {', '.join(decision.left_applied)}", flush=True)
    if decision.left_behind:
        print(f"left applied, their apps are removed: {', '.join(decision.left_behind)}", flush=True)
    if not decision.left_applied and not decision.left_behind:
        print("nothing to rewind: the artefact knows every applied migration", flush=True)
    return {"left_applied": list(decision.left_applied), "left_behind": list(decision.left_behind)}


if __name__ == "__main__":
    sys.exit(main("rewind", rewind))
