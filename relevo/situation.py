"""What a stack does right now, asked of its processes and its public address, and what to try next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from components.local import control
from components.local.layout import Layout
from components.release import account, record, restoration, return_time
from components.release.account import Back, ReleaseTold
from components.release.context import Context
from components.release.record import Entry, Release
from components.release.review import overdue
from components.target import Deployment, TargetError
from relevo import logbook, pin
from relevo.errors import RelevoError
from relevo.project import Project
from stacks.release import review_spec
from stacks.settings import Probe

HEALTH_SECONDS = 5.0
ELSEWHERE = "read the page Releases of the workspace (docs/azure.md, What tells of a stack)"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One supervised program. `version` and `image` as its process has them; None for servers."""

    name: str
    running: bool
    detail: str
    version: str | None = None
    image: str | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    stack: str
    url: str | None  # None: the stack was never brought up
    health: str  # empty: healthy
    programs: tuple[Program, ...]
    last: Release | None
    can_go_back_to: Release | None
    pinned: str | None
    pinned_version: str | None
    half_restored: str | None = None  # what a restore that has no end has left, with the remedy
    review: str | None = None  # what there is to say of one that is overdue
    told: ReleaseTold | None = None  # all that the record says of the last release
    back: Back | None = None
    logbook: str | None = None  # where the pages are; None: they are not served
    password: str | None = None  # the file of their password
    here: bool = True  # on this machine, where its programs have logs and can be started

    @property
    def serving(self) -> set[str]:
        """Images that the instances run; more than one in the middle of a release."""
        return {p.image for p in self.programs if p.image and p.name.startswith("instance-")}


def look(project: Project, stack: str) -> Situation:
    """Raises `RelevoError` for a stack elsewhere that nothing was released to yet."""
    settings = project.settings(stack)
    if settings.target != "local":
        from relevo import operating

        context = operating.context(project, stack)
        return elsewhere(context, stack, settings.app.probe, pin.pinned(project.configuration(stack)))
    state = project.state(stack)
    entries = record.parse(logbook.read(project, stack))
    known = record.releases(entries)
    try:
        url = project.address(stack)
    except RelevoError:
        url = None
    pinned = pin.pinned(project.configuration(stack))
    stored = project.store.get(pinned) if pinned else None
    return Situation(
        stack=stack,
        url=url,
        health=health(url, settings.app.probe) if url else "was never brought up",
        programs=programs(state) if url else (),
        last=record.current(known),
        can_go_back_to=record.rollback_target(known),
        pinned=pinned,
        pinned_version=stored.manifest.version if stored else None,
        half_restored=_half_restored(entries, stack),
        review=overdue(known, review_spec(settings), datetime.now(UTC)),
        told=told(known, entries),
        back=back(known, stack),
        logbook=f"{url}{settings.logbook.path}" if url and settings.logbook else None,
        password=str(Layout(state).secrets / settings.logbook.secret) if settings.logbook else None,
    )


def elsewhere(context: Context, stack: str, probe: Probe, pinned: str | None) -> Situation:
    """Of a stack whose target alone knows what its instances run."""
    operations = context.operations
    entries = record.parse(operations.read_record())
    known = record.releases(entries)
    try:
        version = operations.artefact(pinned).manifest.version if pinned else None
    except TargetError:  # shown as one that is not there
        version = None
    return Situation(
        stack=stack,
        url=operations.public_url,
        health=health(operations.public_url, probe),
        programs=tuple(_placed(context, name) for name in (*context.spec.instances, *context.spec.processes)),
        last=record.current(known),
        can_go_back_to=record.rollback_target(known),
        pinned=pinned,
        pinned_version=version,
        half_restored=_half_restored(entries, stack),
        review=overdue(known, context.spec.review, datetime.now(UTC)),
        told=told(known, entries),
        back=back(known, stack),
        here=False,
    )


def told(known: list[Release], entries: list[Entry]) -> ReleaseTold | None:
    last = record.current(known)
    return account.told(last, [entry for entry in entries if entry.release == last.id]) if last else None


def back(known: list[Release], stack: str) -> Back | None:
    target = record.rollback_target(known)
    return account.back(target, stack) if target else None


def _half_restored(entries: list[Entry], stack: str) -> str | None:
    begun = restoration.unfinished(entries)
    return restoration.doubt(begun, stack) if begun else None


def _placed(context: Context, name: str) -> Program:
    """What all of its workers run; without a version while they differ, or where their log does not say."""
    instance = context.operations.instance(name)
    runs = context.operations.deployed(name) if instance.running else None
    rotation = "in rotation" if instance.in_rotation else "out of rotation"
    detail = (rotation if instance.address else "running") if instance.running else "stopped"
    if instance.running and instance.deployment and runs is None:
        detail = f"{detail}, {unconfirmed(instance.deployment)}"
    return Program(
        name=name,
        running=instance.running,
        detail=detail,
        version=runs.version if runs else None,
        image=runs.image if runs else None,
    )


def unconfirmed(given: Deployment) -> str:
    """Of what runs without saying the same on each worker: it has just begun, or its log is not kept."""
    return f"was given {given.version}, but its log does not say of each worker what it runs"


def programs(state: Path) -> tuple[Program, ...]:
    found = []
    for status in control.status(state):
        variables: dict[str, str] = {}
        if status.pid:
            try:
                variables = psutil.Process(status.pid).environ()
            except psutil.Error:
                variables = {}
        found.append(
            Program(
                name=status.name,
                running=status.running,
                detail=status.detail,
                version=variables.get("RELEVO_VERSION"),
                image=variables.get("RELEVO_IMAGE"),
            )
        )
    return tuple(found)


def health(url: str, probe: Probe) -> str:
    """Empty if the public address answers the probe as it should, else what it does instead."""
    try:
        answer = httpx.get(
            f"{url}{probe.path}", headers=probe.headers, timeout=HEALTH_SECONDS, trust_env=False
        )
    except httpx.HTTPError as error:
        return f"{probe.path} does not answer ({error or type(error).__name__})"
    if answer.status_code != probe.status:
        return f"{probe.path} answers {answer.status_code} instead of {probe.status}"
    return ""


def describe(now: Situation) -> list[str]:
    lines = [f"{now.url or 'no address'}  {'healthy' if not now.health else now.health}"]
    width = max((len(program.name) for program in now.programs), default=0)
    for program in now.programs:
        runs = program.detail.lower() if program.running else f"NOT RUNNING ({program.detail.lower()})"
        lines.append(f"  {program.name:{width}}  {runs}  {program.version or ''}".rstrip())
    if now.last:
        where = f" in {now.last.failed_step}" if now.last.failed_step else ""
        error = f": {now.last.error}" if now.last.error else ""
        lines.append(f"last release  {now.last.version} ({now.last.id}) {now.last.verdict}{where}{error}")
        if now.told:
            lines.append(f"went out      {now.told.opened_at[:19]} UTC, by {now.told.responsible}")
        if back := return_time.of(now.last):
            lines.append(f"went back     {back}, since {back.decided_at}")
    if now.told:
        lines += _after(now.told, overdue=now.review is not None)
    if now.half_restored:
        lines.append(f"restore       {now.half_restored}")
    if now.review:
        lines.append(f"review        {now.review}; do it with relevo review --stack {now.stack}")
    lines.append(f"pinned        {_pinned(now)}")
    if now.logbook:
        lines.append(f"logbook       {now.logbook} (password: cat {now.password})")
    if now.back:
        lines.append(f"to go back    to {now.back.version}: {now.back.command}")
    lines += [f"next          {step}" for step in next_steps(now)]
    return lines


def as_json(now: Situation) -> dict[str, Any]:
    """For scripts; docs/logbook.md says what each field is."""
    return {
        "stack": now.stack,
        "url": now.url,
        "healthy": not now.health,
        "health": now.health or None,
        "programs": [asdict(program) for program in now.programs],
        "pinned": {"image": now.pinned, "version": now.pinned_version} if now.pinned else None,
        "pinned_serves": now.pinned is not None and now.serving == {now.pinned},
        "release": asdict(now.told) if now.told else None,
        "back": asdict(now.back) if now.back else None,
        "doubt": now.half_restored,
        "review_overdue": now.review,
        "logbook": now.logbook,
        "next": list(next_steps(now)),
    }


def _after(told: ReleaseTold, *, overdue: bool) -> list[str]:
    """What was found after the release, as far as it was asked for. `overdue`: that is said already."""
    lines = []
    if (watch := told.watch) is not None:
        found = f"{watch.verdict}: {watch.why}" if watch.verdict else f"until {watch.until}"
        breach = watch.first_breach
        worse = f"; {breach['measure']} {breach['found']}, before {breach['before']}" if breach else ""
        lines.append(f"watch         {found}{worse}")
    if (review := told.review) is not None and (review.verdict or not overdue):
        volumes = [
            f"{volume.name} {volume.found}, expected {volume.expected}"
            for volume in review.volumes
            if volume.found is not None and volume.expected is not None
        ]
        so_far = f", so far; due at {review.due}" if review.early else ""
        found = (
            "; ".join([f"{review.verdict}{so_far}", *volumes]) if review.verdict else f"due at {review.due}"
        )
        lines.append(f"review        {found}")
    return lines


def next_steps(now: Situation) -> tuple[str, str]:
    """The two commands that help most from here."""
    up = f"pulumi up --stack {now.stack} --yes"
    logs = f"relevo logs --stack {now.stack} --follow" if now.here else ELSEWHERE
    back = f"relevo rollback --stack {now.stack}"
    if now.half_restored:
        return f"relevo restore --stack {now.stack}", f"relevo restore --list --stack {now.stack}"
    if now.pinned is None:
        return f"relevo build PATH --stack {now.stack}", f"relevo pin DIGEST --stack {now.stack}"
    if now.url is None or now.last is None:
        return f"pulumi preview --stack {now.stack}", up
    if now.programs and not any(program.running for program in now.programs):
        return (f"relevo start --stack {now.stack}" if now.here else up), logs
    if now.last.verdict == "failed":
        return (back if now.can_go_back_to else up), logs.removesuffix(" --follow")
    if now.serving != {now.pinned} or now.last.verdict == "open":
        return f"pulumi preview --stack {now.stack}", up
    if now.health:
        return logs, (back if now.can_go_back_to else up)
    if now.can_go_back_to:
        return logs, back
    return logs, f"relevo build PATH --stack {now.stack}   (a new commit; then relevo pin, pulumi up)"


def _pinned(now: Situation) -> str:
    if now.pinned is None:
        return "nothing"
    name = f"{now.pinned_version or 'not in the store'} ({now.pinned})"
    return name if now.serving == {now.pinned} else f"{name}, which is not what serves"
