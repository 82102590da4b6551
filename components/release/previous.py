"""Which versions still serve while a release is rolled out, and what they are asked on its schema. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.release import record, scenario
from components.release.record import Release
from components.release.scenario import Scenario, Step
from components.release.spec import Probe, Spec
from components.target import Deployment

STEP = "previous-version"


@dataclass(frozen=True, kw_only=True)
class Previous:
    """`migrations` ("app.name") were begun since it was released; `reads` as of `promised`."""

    deployment: Deployment
    migrations: tuple[str, ...]
    reads: Mapping[str, Any] | None  # None: its release did not record any


@dataclass(frozen=True, kw_only=True)
class Questions:
    """`scenario` is the text of what is asked, `told` how much of the smoke scenario that is."""

    scenario: str
    told: str


def serving(known: Sequence[Release], instances: Collection[str], image: str) -> list[Previous]:
    """The versions, but that of `image`, that an instance serves by the record; mostly one."""
    placed = record.serving(known)
    releases = [placed[name] for name in instances if name in placed and placed[name].image != image]
    found = {release.image: release for release in releases}
    return [
        Previous(
            deployment=Deployment(image=release.image, version=release.version, release=release.id),
            migrations=_migrations(known[known.index(release) + 1 :]),
            reads=release.done.get(STEP, {}).get("reads"),
        )
        for release in found.values()
    ]


def _migrations(since: Sequence[Release]) -> tuple[str, ...]:
    """Also of releases that failed: what they applied, nobody has asked the previous version about."""
    begun = [release for release in since if "migrate" in release.begun]
    pending = (record.pending(release) for release in begun)
    return tuple(dict.fromkeys(name for names in pending for name in names))


def promised(spec: Spec) -> Mapping[str, Any]:
    """What the next release may ask of this one: the read part of its scenario, and of how many steps."""
    own = _own(spec)
    part = own.read_part() if own else []
    return {"reads": own.of(part).to_text() if own and part else None, "of": len(own.steps) if own else 0}


def questions(spec: Spec, previous: Previous) -> Questions:
    """What the previous version is asked: whether it is ready, and what its own scenario reads.

    Its own, since that of this release may ask for what only this release has.
    """
    own = _own(spec)
    reads = promised(spec) if previous.reads is None else previous.reads
    ready = _ready(spec.probe, spec.limits.ready_seconds)
    only_ready = Scenario(steps=[ready]).to_text()
    if own is None:
        return Questions(scenario=only_ready, told=f"{spec.probe.path} alone: the stack has no scenario")
    if reads["reads"] is None:
        told = f"{spec.probe.path} alone: none of {reads['of']} smoke requests only reads"
        return Questions(scenario=only_ready, told=told)
    part = scenario.parse(reads["reads"], f"the scenario of {previous.deployment.version}")
    if lost := sorted(part.secrets() - own.secrets()):
        told = f"{spec.probe.path} alone: its scenario uses {', '.join(lost)}, which that of now does not"
        return Questions(scenario=only_ready, told=told)
    return Questions(
        scenario=part.of([ready, *_warmed(part.steps)]).to_text(),
        told=f"{spec.probe.path} and {len(part.steps)} of {reads['of']} smoke requests, which only read",
    )


def _own(spec: Spec) -> Scenario | None:
    return None if spec.scenario is None else scenario.parse(spec.scenario, "relevo:smoke")


def _warmed(steps: Iterable[Step]) -> Iterator[Step]:
    """What has to answer in time is asked once before without that: a process that has just begun is slow.

    The old code may fail on the schema in either of the two, but too late only in the second.
    """
    for step in steps:
        if step.expect.within is not None:
            patient = step.expect.model_copy(update={"within": None})
            yield step.model_copy(update={"name": f"{step.name} (warm-up)", "expect": patient})
        yield step


def _ready(probe: Probe, patience: float) -> Step:
    """Asked until it answers as quickly as an instance must, for as long as an instance may take."""
    return Step.model_validate(
        {
            "name": "it is ready",
            "request": {"path": probe.path, "headers": probe.headers},
            "expect": {"status": probe.status, "within": f"{probe.timeout_seconds:.3f}s"},
            "retry": {"for": f"{patience:.3f}s"},
        }
    )
