"""The release: read `Release` and `order`, and you know the deployment plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pulumi

from components.release import outlook, record
from components.release.context import trigger
from components.release.smoke import Smoke
from components.release.spec import Spec
from components.release.step import step
from components.target import Target

CLOSE = "close-record"
SMOKE = (record.SMOKE, "")  # the one step that is no task, but a resource with outputs of its own


@dataclass(frozen=True, kw_only=True)
class ReleaseArgs:
    target: Target
    spec: Spec


class Release(pulumi.ComponentResource):
    """One artefact, released on a target. Each step depends on the one before, so a failure stops the rest.

    `digest` is of the release's whole description, which a preview shows; `logbook` the head of the record
    when the release had succeeded: kept with the stack's state, it shows when the record's end is cut off.

    An image that this `up` makes is unknown to a preview, which then shows the steps without their inputs.

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
        built = args.target.image
        self.image = pulumi.Output.from_input(args.spec.image if built is None else built)
        spec = self.image.apply(lambda image: replace(args.spec, image=image).to_json())
        described = pulumi.Output.all(target, spec).apply(lambda known: trigger(*known))
        self.digest = described
        if pulumi.runtime.is_dry_run():
            # Not called for what only this `up` makes known: then nobody can have approved it by its digest.
            described.apply(lambda digest: pulumi.log.info(f"preview digest: {digest}", self))
            pulumi.Output.all(target, spec).apply(lambda known: self._tell(outlook.in_time(*known)))

        (first, task), *others = order(args.spec)
        opened = step(
            first, task, parent=self, after=args.target.ready, target=target, spec=spec, triggers=[described]
        )
        self.id = opened.stdout
        previous: pulumi.Resource = opened
        for step_name, task in others:
            if (step_name, task) == SMOKE:
                previous = self._verified(step_name, previous, target, spec)
                continue
            previous = command = step(
                step_name,
                task,
                parent=self,
                after=[previous],
                target=target,
                spec=spec,
                triggers=[described, self.id],
            )
            if step_name == CLOSE:
                self.logbook = command.stdout.apply(lambda printed: printed.split()[-1])
        self.register_outputs(
            {
                "id": self.id,
                "image": self.image,
                "digest": self.digest,
                "logbook": self.logbook,
                "requests": self.requests,
            }
        )

    def _tell(self, ahead: outlook.Outlook | None) -> None:
        if ahead is not None:
            # A refusal is only a warning: preflight refuses, which is recorded.
            (pulumi.log.warn if ahead.refused else pulumi.log.info)(str(ahead), self)

    def _verified(
        self, name: str, previous: pulumi.Resource, target: pulumi.Input[str], spec: pulumi.Input[str]
    ) -> pulumi.Resource:
        smoke = Smoke(
            name,
            release=self.id,
            target=target,
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[previous]),
        )
        self.requests = smoke.requests
        return smoke


def order(spec: Spec) -> tuple[tuple[str, str], ...]:
    """The deployment plan: each step's name, and the task that it runs."""
    commands = spec.commands
    return (
        ("open-record", "open_record"),
        ("preflight", "preflight"),
        ("backup", "backup"),
        *((("drill", "drill"),) if spec.drill else ()),
        ("check", "manage check"),
        ("rewind", "rewind"),
        *further("before-migrate", commands.before_migrate),
        ("migrate", "manage migrate"),
        *further("after-migrate", commands.after_migrate),
        *further("before-collectstatic", commands.before_collectstatic),
        *((("collectstatic", "manage collectstatic"),) if spec.collectstatic else ()),
        *further("after-collectstatic", commands.after_collectstatic),
        ("previous-version", "previous_version"),
        *((f"{record.ROLL}{name}", f"roll {name}") for name in (*spec.processes, *spec.instances)),
        SMOKE,
        (CLOSE, "close_record"),
        ("notify", "notify"),
    )


def further(phase: str, commands: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{phase}-{number}", f"manage {phase} {number}") for number in range(1, len(commands) + 1))
