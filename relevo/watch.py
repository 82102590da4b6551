"""The watch over a stack's last release: live in a terminal, in plain lines elsewhere, its result at the end.

A local stack has an attendant that watches, and what is shown is what it sees; of a stack elsewhere this is
the watch itself, which records what it finds and comes back where the stack asks for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from components.release import record, return_time, spec
from components.release import watch as watches
from components.release.context import Context
from components.release.logbook import now
from components.release.messages import phrase
from components.release.record import Release
from components.release.watch import Watch
from components.release.watching import Judgement
from components.target import TargetError
from relevo import operating, recovery
from relevo.errors import RelevoError
from relevo.project import Project

NOTHING: dict[str, Any] = {"release": None, "version": None, "verdict": None}
Data = Mapping[str, Any]  # of an entry `watch done`
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60  # of a sparkline
ATTENDED_SECONDS = 30.0  # after its end, within which an attendant has said what it found
LINE_SECONDS = 60.0  # between plain lines


def watch(
    project: Project, stack: str, *, quietly: bool, say: Callable[[str], None], within: float | None = None
) -> dict[str, Any]:
    """The entry `watch done` of the last release, with its `release` and `version`, once there is one.

    Its `verdict` is None where there is nothing to watch. `quietly`: nothing is shown. `within`: the minutes
    that it has; it says so where they may not be enough. Raises `RelevoError` where no release has succeeded,
    and `TargetError` where the record cannot be read or written.
    """
    settings = project.settings(stack)
    context = operating.context(project, stack)
    if context.spec.watch is None:  # no fault: CI asks after each release
        say(f"relevo:watch.minutes of stack {stack} is 0, so nothing is watched.")
        return NOTHING
    known = recovery.patiently(context.releases, say=say)
    pinned = settings.image if settings.target != "local" else None
    release = _watched(known, stack, context.spec.watch, pinned)
    if isinstance(release, str):
        say(release)
        return NOTHING
    comes_back = settings.on_failure == "rollback"
    if within is not None and (needed := _minutes(context.spec.watch, comes_back=comes_back)) > within:
        say(
            f"relevo:watch.minutes of stack {stack} is {context.spec.watch.minutes:g}, for which a job may "
            f"need {needed:g} minutes, but this one ends after {within:g}; lower it, or see docs/ci.md."
        )
    if release.watched is None:
        with _shown(release, quietly=quietly) as show:
            if settings.target == "local":
                data = _follow(context, release, show, say)
            else:
                ended = watches.watch(
                    context, release, clock=now, sleep=time.sleep, until_breach=comes_back, show=show
                )
                data = recovery.patiently(lambda: _again(context, release), say=say).watched
                comes_back = comes_back and ended is not None  # else it is the affair of who was faster
    else:
        data = release.watched
        comes_back = comes_back and release.id == known[-1].id
    assert data is not None
    if not quietly:
        Console().print(_picture(release, data))
    if settings.target != "local" and comes_back and data.get("goes_back"):
        recovery.recover(project, stack, say=say, context=context)
    return {"release": release.id, "version": release.version, **data}


def _watched(known: Sequence[Release], stack: str, watch: spec.Watch, pinned: str | None) -> Release | str:
    """What is to be watched or was; else, in a sentence, why there is nothing.

    `pinned` is the image of the checkout, where who watches is who goes back: only what is pinned there is
    gone back from there, and the watch of a later release is the affair of its own job.
    """
    good = record.last_good(known)
    if good is None:
        raise RelevoError(
            f"no release of stack {stack} has succeeded, but only one that serves is watched; see "
            f"relevo status --stack {stack}."
        )
    if good.watched is None and watches.due(known, watch) is None:
        newest = known[-1]
        if newest.verdict == "open":
            why = f"release {newest.id} is under way, which is to take the place of {good.version}"
        else:
            why = f"since release {newest.id} failed, {good.version} may not be all that serves"
        return f"nothing is watched: {why}; see relevo status --stack {stack}."
    if pinned not in (None, good.image) and good.kind not in record.WAYS_BACK:
        return (
            f"nothing is watched: release {good.id} of {good.version} serves by now, and this checkout pins "
            f"{pinned}; watch it from one that has its pin."
        )
    return good


def _minutes(watch: spec.Watch, *, comes_back: bool) -> float:
    """What it may take at most: until all is known, and with a way back, what that takes, and its watch."""
    until_known = watch.minutes + 2 * watches.LATE.total_seconds() / 60
    return 2 * until_known + return_time.LIMIT.total_seconds() / 60 if comes_back else until_known


def _follow(
    context: Context, release: Release, show: Callable[[Watch, Judgement], None], say: Callable[[str], None]
) -> Data:
    """What the attendant records at the end. Meanwhile the same is read here, and shown."""
    assert context.spec.watch is not None
    view = Watch(context, release, context.spec.watch)
    try:
        while True:
            judgement = view.look(now())
            show(view, judgement)
            if (recorded := _again(context, release).watched) is not None:
                return recorded
            if (now() - view.spans.until).total_seconds() > ATTENDED_SECONDS:
                say("the attendant has not recorded the end of the watch; see relevo status and relevo start")
                return judgement.done()
            time.sleep(min(view.wait(now()), 5.0))
    except KeyboardInterrupt:
        raise RelevoError(
            "not shown any more; the attendant goes on watching, and relevo watch shows it again."
        ) from None
    except TargetError as fault:
        raise RelevoError(f"the watch cannot be shown: {fault}") from None


def _again(context: Context, release: Release) -> Release:
    return record.again(context.releases(), release)


# -- what is shown -----------------------------------------------------------------------------------------


@contextmanager
def _shown(release: Release, *, quietly: bool) -> Iterator[Callable[[Watch, Judgement], None]]:
    console = Console()
    if quietly:
        yield lambda *_: None
    elif console.is_terminal:
        with Live(console=console, refresh_per_second=2, transient=True) as live:

            def draw(view: Watch, judgement: Judgement) -> None:
                live.update(Group(_progress(view, now()), _picture(release, judgement.done())))

            yield draw
    else:
        yield _lines(release)


def _lines(release: Release) -> Callable[[Watch, Judgement], None]:
    """A line at the beginning, every minute, and whenever another measure is breached."""
    told: list[tuple[float, Sequence[str]]] = []

    def line(view: Watch, judgement: Judgement) -> None:
        spent = (now() - view.spans.since).total_seconds()
        if told and told[-1][1] == judgement.breached and spent < told[-1][0] + LINE_SECONDS:
            return
        told.append((spent, judgement.breached))
        measures = ", ".join(f"{name} {measure.found}" for name, measure in judgement.measures.items())
        worse = f"; BREACHED: {', '.join(judgement.breached)}" if judgement.breached else ""
        print(
            f"[{_clock(spent)} of {_clock(view.minutes * 60)}] {release.version}: "
            f"{judgement.requests} requests, {measures}{worse}",
            flush=True,
        )

    return line


def _progress(view: Watch, at: datetime) -> RenderableType:
    total = (view.spans.until - view.spans.since).total_seconds()
    spent = min(max((at - view.spans.since).total_seconds(), 0.0), total)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=total, completed=spent, width=WIDTH - 14), f"{_clock(spent)} of {_clock(total)}"
    )
    return bar


def _picture(release: Release, data: Data) -> RenderableType:
    """A curve of requests and of failed ones, the measures, and the exceptions that weigh most."""
    breached = data["verdict"] == "breached"
    style = "bold red" if breached else "green" if data["verdict"] == "quiet" else "yellow"
    parts: list[RenderableType] = [
        Text.assemble(
            (release.version, "bold"),
            f" ({release.id})  {data['requests']} requests  ",
            (data["verdict"], style),
        ),
        Text(data["why"]),
    ]
    if curve := data["curve"]:
        requests = [point[1] for point in curve]
        failed = [point[3] / point[1] if point[1] else 0.0 for point in curve]
        lines = Table.grid(padding=(0, 1))
        lines.add_row("requests", _spark(requests), f"up to {max(requests)}")
        lines.add_row("5xx", Text(_spark(failed), style="red"), f"up to {max(failed):.1%}")
        parts.append(lines)
    table = Table("measure", "now", "before", "", box=None, pad_edge=False, header_style="dim")
    for name, measure in data["measures"].items():
        verdict = Text("BREACHED", style="bold red") if measure["breached"] else Text("")
        table.add_row(phrase("en", name), measure["found"], measure["before"], verdict)
    parts.append(table)
    if data["exceptions"]:
        kinds = Table("exceptions", "now", "before", box=None, pad_edge=False, header_style="dim")
        for kind in data["exceptions"][:5]:
            kinds.add_row(Text(kind["title"]), str(kind["count"]), str(kind["before"]))
        parts.append(kinds)
    return Group(*parts)


def _spark(values: Sequence[float]) -> str:
    """At most `WIDTH` bars, each the highest of those that it stands for."""
    size = -(-len(values) // WIDTH)
    heights = [max(values[at : at + size]) for at in range(0, len(values), size)]
    top = max(heights) or 1
    return "".join(BARS[round(height / top * (len(BARS) - 1))] for height in heights)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes:02}:{rest:02}"
