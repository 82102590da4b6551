"""The release: read `Release` and you know the deployment plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_command.local import Command

from components.release.context import trigger
from components.release.smoke import Smoke
from components.release.spec import Spec
from components.release.step import step
from components.target import Target

OPEN = "open-record"
SMOKE = "smoke"


@dataclass(frozen=True, kw_only=True)
class ReleaseArgs:
    target: Target
    spec: Spec


class Release(pulumi.ComponentResource):
    """One artefact, released on a target. Each step depends on the one before, so a failure stops the rest.

    Every step but the first is triggered by what the first prints, which is unique to each release: whenever
    a record is opened, all steps run, also those that the state has with this image from an earlier release.
    """

    def __init__(self, name: str, args: ReleaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:release:Release", name, None, opts)
        target = args.target.facts.apply(
            lambda facts: json.dumps(
                {"stack": args.target.stack, "operations": args.target.operations, "facts": facts},
                sort_keys=True,
            )
        )
        spec = args.spec.to_json()
        described = target.apply(lambda known: trigger(known, spec))

        opened: Command | None = None
        previous: pulumi.Resource | None = None
        for step_name, words in order(args.spec):
            if step_name == SMOKE:
                assert opened is not None
                previous = self.smoke = Smoke(
                    step_name,
                    release=opened.stdout,
                    target=target,
                    spec=spec,
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[previous] if previous else None),
                )
                continue
            previous = step(
                step_name,
                words,
                parent=self,
                after=previous,
                target=target,
                spec=spec,
                triggers=[described, opened.stdout] if opened else [described],
            )
            opened = opened or previous
        assert opened is not None
        self.id = opened.stdout
        self.requests = self.smoke.requests
        self.register_outputs({"id": self.id, "requests": self.requests})


def order(spec: Spec) -> Iterator[tuple[str, Sequence[str]]]:
    """The deployment plan: the steps' names, in order, with the task that each runs."""
    commands = spec.commands
    yield OPEN, ["open_record"]
    yield "preflight", ["preflight"]
    yield "backup", ["backup"]
    yield "check", ["manage", "check"]
    yield "rewind", ["rewind"]
    yield from further("before-migrate", commands.before_migrate)
    yield "migrate", ["manage", "migrate"]
    yield from further("after-migrate", commands.after_migrate)
    yield from further("before-collectstatic", commands.before_collectstatic)
    if spec.collectstatic:
        yield "collectstatic", ["manage", "collectstatic"]
    yield from further("after-collectstatic", commands.after_collectstatic)
    for process in spec.processes:
        yield f"roll-{process}", ["roll", process]
    for instance in spec.instances:
        yield f"roll-{instance}", ["roll", instance]
    yield SMOKE, []
    yield "close-record", ["close_record"]
    yield "notify", ["notify"]


def further(phase: str, commands: Sequence[Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    for number, _ in enumerate(commands, start=1):
        yield f"{phase}-{number}", ["manage", phase, str(number)]
