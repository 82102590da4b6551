"""One case played on the stage: what came of it, and where that is not what has to come of it."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from components.local import ports, valkey
from components.local.vault import Vault
from components.release import record
from components.release.record import Release
from tests.e2e.load import Measured
from tests.rehearsal import full_disk
from tests.rehearsal.cases import Case
from tests.rehearsal.stage import Stage, Watch, answering

LONGEST_SHOWN = 110


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`release` is None where the attempt opened none. `faults` is empty where all is as it has to be."""

    case: Case
    injected: str
    measured: Measured
    during: Sequence[str]
    after: Sequence[str]
    release: Release | None
    then: str
    seconds: float
    faults: Sequence[str]


def play(stage: Stage, case: Case) -> Outcome:
    """About a minute. Raises only for what the rehearsal itself cannot do."""
    project = stage.project
    stage.begin(case.tag, case.limits)
    before, printed, faults = {release.id for release in known(stage)}, len(project.printed), []
    began = time.monotonic()
    with stage.load() as load, Watch(project.url) as watch:
        try:
            case.attempt(stage)
        except AssertionError as fault:
            faults.append(f"the attempt: {fault}")
        after = answering(project.url)
        during = tuple(watch.seen)
        newest = stage.release()
        release = None if newest.id in before else newest
        faults += ending(stage, case, release, after, project.printed[printed:])
        then, found = converge(stage, case, before)
        faults += found
    seconds = time.monotonic() - began
    faults += requests(load.measured, stage.away)
    return Outcome(
        case=case,
        injected=injected(case, project.printed[printed:]),
        measured=load.measured,
        during=during,
        after=sorted(after),
        release=release,
        then=then,
        seconds=seconds,
        faults=faults,
    )


def injected(case: Case, printed: str) -> str:
    """How a full disk was had depends on the machine."""
    how = next((how for how in (full_disk.TMPFS, full_disk.LIMIT) if f"\n{how}\n" in printed), None)
    return case.injected if how is None else f"{case.injected}: {how}"


def ending(stage: Stage, case: Case, release: Release | None, after: set[str], printed: str) -> list[str]:
    """What is wrong with how the attempt ended."""
    verdict = release.verdict if release else None
    found = {
        "step": step(release) if release and case.step else case.step,
        "serving": sorted(after),
    }
    wanted = {
        "step": case.step,
        "serving": {"old": [stage.base], "new": [stage.tag], "nobody": []}[case.serves],
    }
    faults = [
        f"{name} is {found[name]}, but {wanted[name]} has to be"
        for name in found
        if found[name] != wanted[name]
    ]
    if verdict not in case.verdicts:
        faults.append(f"verdict is {verdict}, but one of {case.verdicts} has to be")
    said = (release.error or "") if release else printed
    if not re.search(case.error, said):
        faults.append(f"the error does not say {case.error!r}, but {said[-500:]!r}")
    return faults


def step(release: Release) -> str:
    """Where it ended: the step that failed, else the last one that began."""
    return release.failed_step or release.begun[-1]


def converge(stage: Stage, case: Case, before: Collection[str]) -> tuple[str, list[str]]:
    """The remedy and the next `up`: what it came to, and what is wrong with that. `before`: older ones."""
    project, wanted = stage.project, stage.base if case.broken else stage.tag
    project.unset("limits")
    case.remedy(stage)
    if case.broken:
        stage.pin(stage.base)
    status = stage.up()
    stage.back()
    serving, release = sorted(answering(project.url)), stage.release()
    found = {
        "its exit status": (status, 0),
        "the verdict": (release.verdict, "succeeded"),
        "the version that serves": (serving, [wanted]),
        "what its processes run": (sorted(set(project.versions().values())), [wanted]),
        "releases left open": (
            [r.id for r in known(stage) if r.verdict == "open" and r.id not in before],
            [],
        ),
        "the cache answers": (cache_answers(stage), True),
        "one more up is unchanged": (is_unchanged(project.up(status=None, preview=False)), True),
    }
    faults = [
        f"after the next up, {name}: {is_}, not {ought}"
        for name, (is_, ought) in found.items()
        if is_ != ought
    ]
    how = "pinned back" if case.broken else "the same pin"
    return f"{', '.join(serving) or 'nothing'} ({how})", faults


def known(stage: Stage) -> list[Release]:
    return record.releases(record.parse(stage.project.record_as_it_is()))


def cache_answers(stage: Stage) -> bool:
    return valkey.answers(ports.saved(stage.layout)["cache"], Vault(stage.layout.secrets))


def is_unchanged(output: str) -> bool:
    return "unchanged" in output and not any(
        word in output for word in (" created", " updated", " replaced", " deleted")
    )


def requests(measured: Measured, away: Sequence[tuple[float, float]]) -> list[str]:
    """Those that failed although something could serve."""
    wrong = [at for at in measured.failed_at if not any(begin <= at <= end for begin, end in away)]
    return [f"{len(wrong)} requests failed: {'; '.join(measured.errors)}"] if wrong else []


# -- the table -----------------------------------------------------------------------------------------
HEADINGS = (
    "case",
    "injected",
    "requests: all / failed / slowest",
    "served during → after",
    "the record",
    "the next up",
    "seconds",
    "as it has to be",
)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """In Markdown."""
    return [_row(HEADINGS), _row(["---"] * len(HEADINGS)), *(_row(cells(outcome)) for outcome in outcomes)]


def cells(outcome: Outcome) -> list[str]:
    measured = outcome.measured
    failed = str(measured.failures)
    if measured.failures and not any("requests failed" in fault for fault in outcome.faults):
        failed += (
            f" within {max(measured.failed_at) - min(measured.failed_at):.0f} s, all {outcome.case.away}"
        )
    return [
        outcome.case.name,
        outcome.injected,
        f"{measured.requests} / {failed} / {measured.slowest:.2f} s",
        f"{', '.join(outcome.during)} → {', '.join(outcome.after) or 'nobody'}",
        told(outcome.release),
        outcome.then,
        f"{outcome.seconds:.0f}",
        "yes" if not outcome.faults else "NO",
    ]


def told(release: Release | None) -> str:
    if release is None:
        return "nothing: no release was opened"
    if release.verdict != "failed":
        return f"{release.verdict}, in {step(release)}" if release.verdict == "open" else release.verdict
    error = release.error or ""
    short = error if len(error) <= LONGEST_SHOWN else f"{error[:LONGEST_SHOWN]}…"
    return f"failed in {step(release)}: {short}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
