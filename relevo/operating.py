"""A stack as the steps of its last release knew it, whichever its target: read from the engine's state."""

from __future__ import annotations

import json

from components.release.context import SPEC, TARGET, Context, StepFailed
from relevo import engine
from relevo.errors import RelevoError
from relevo.project import Project

FIRST = "open-record"
UNKNOWN = "no stack named"  # in what the engine says of one that was never made


class NeverReleased(RelevoError):
    """The stack has had no release, or was never made."""


def context(project: Project, stack: str) -> Context:
    """Raises `RelevoError`; that is `NeverReleased` where nothing was released yet."""
    try:
        exported = json.loads(engine.output(project, "stack", "export", "--stack", stack))
    except RelevoError as fault:
        if UNKNOWN in str(fault):
            raise NeverReleased(str(fault)) from None
        raise
    for resource in exported["deployment"].get("resources", []):
        # What a release replaced is there as well, marked, until one succeeds.
        if resource["urn"].endswith(f"::{FIRST}") and not resource.get("delete"):
            environment = resource["inputs"]["environment"]
            try:
                return Context.load(environment[TARGET], environment[SPEC])
            except StepFailed as fault:
                raise RelevoError(str(fault)) from None
    raise NeverReleased(
        f"stack {stack} was never released, but a release is what is looked at; run pulumi up."
    )
