"""One step of the release as a Command: the only place that makes one."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_command.local import Command, Logging

from components.release.context import SPEC, TARGET


def step(
    name: str,
    task: str,
    *,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
    target: pulumi.Input[str],
    spec: pulumi.Input[str],
    triggers: Sequence[pulumi.Input[str]],
) -> Command:
    """`python -m components.release.tasks.<task>`, run again whenever a trigger changes, never deleted.

    `python` and the working folder are those of the program, so that the state holds no path of a checkout.
    """
    return Command(
        name,
        create=f"python -m components.release.tasks.{task}",
        environment={TARGET: target, SPEC: spec, "PYTHONUNBUFFERED": "1"},
        triggers=list(triggers),
        logging=Logging.STDOUT_AND_STDERR,
        add_previous_output_in_env=False,  # unused, and a long one would not fit
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
