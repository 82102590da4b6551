"""The watch on a clock of the test's own: what it records and tells, when it ends, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from components.release import watch as watches
from components.release.context import Context
from components.release.record import Release
from components.release.spec import Receiver, Watch
from components.target import LATENCY_BOUNDS, Observed, Raised, TargetError
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import StandInOperations, nothing_observed

CONSOLE = Receiver(console=True, file=None, url=None, apprise_secret=None)
Observing = Callable[[datetime, datetime], Observed]


class Clock:
    """Time passes only by sleeping. At `at` seconds, `act` is done once."""

    def __init__(self, start: datetime) -> None:
        self.start = self.now = start
        self.at: dict[float, Callable[[], None]] = {}

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += timedelta(seconds=seconds)
        for at in [at for at in self.at if self.start + timedelta(seconds=at) <= self.now]:
            self.at.pop(at)()


def traffic(closed: datetime, *, before: float = 0.0, since: float = 0.0, every: float = 0.1) -> Observing:
    """A request every tenth of a second, of which a share fails before and since the release."""

    def observe(begin: datetime, end: datetime) -> Observed:
        requests = round((end - begin).total_seconds() / every)
        share = since if begin >= closed else before
        errors = round(requests * share)
        latencies = [requests, *(0,) * len(LATENCY_BOUNDS)]
        raised = (Raised(fingerprint="f", title="ValueError in a.py, b", count=errors),) if errors else ()
        return nothing_observed(
            begin, end, requests=requests, errors_5xx=errors, latencies=tuple(latencies), exceptions=raised
        )

    return observe


def watched(operations: StandInOperations, **changes: Any) -> tuple[Context, Release]:
    """v2, released over v1."""
    released(operations, "v1")
    watch = Watch(minutes=60, every_seconds=100)
    made, _ = released(operations, "v2", **{"notify": (CONSOLE,), "watch": watch, **changes})
    return made, made.current()


def run(made: Context, release: Release, clock: Clock, **options: Any) -> dict[str, Any]:
    watches.watch(made, release, clock=clock, sleep=clock.sleep, **options)
    done = next(one for one in made.releases() if one.id == release.id).watched
    assert done is not None
    return dict(done)


def clock_of(release: Release) -> Clock:
    assert release.closed_at is not None
    return Clock(datetime.fromisoformat(release.closed_at))


def events(operations: StandInOperations) -> list[str]:
    told = [
        entry.data["event"] if entry.event == "notified" else entry.event for entry in operations.entries()
    ]
    return [event for event in told if event.startswith("watch")]


def test_a_quiet_hour_is_recorded_and_nobody_is_told(operations: StandInOperations) -> None:
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, before=0.002, since=0.002)
    done = run(made, release, clock)
    assert done["verdict"] == "quiet"
    assert 3600 <= (clock.now - clock.start).total_seconds() <= 3601
    assert events(operations) == ["watch started", "watch done"]
    started = next(e for e in operations.entries() if e.event == "watch started")
    assert datetime.fromisoformat(started.data["until"]) == clock.start + timedelta(hours=1)
    assert 36_000 <= started.data["before"]["requests"] <= 36_600  # begins with a minute
    assert 35_000 < done["requests"] < 36_000


def test_a_breach_is_recorded_and_told_once_and_the_watch_goes_on(
    operations: StandInOperations, capsys: pytest.CaptureFixture[str]
) -> None:
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.05)
    done = run(made, release, clock)
    assert done["verdict"] == "breached"
    assert events(operations).count("watch-breached") == 1
    breached = [e.data["measure"] for e in operations.entries() if e.event == "watch breached"]
    assert sorted(breached) == ["errors-5xx", "exceptions"]
    assert clock.now - clock.start >= timedelta(hours=1)
    assert "v2 does not run as well as before" in capsys.readouterr().out
    assert made.current().breached is not None


def test_a_stack_that_comes_back_does_not_wait_for_the_hour_to_end(operations: StandInOperations) -> None:
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.5)
    assert run(made, release, clock, until_breach=True)["verdict"] == "breached"
    assert clock.now - clock.start < timedelta(minutes=5)


def test_what_was_found_before_the_stack_asked_for_a_way_back_is_no_reason_for_one(
    operations: StandInOperations,
) -> None:
    """Its watch is killed and begins again, and by then the stack asks; what is new is a reason."""
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.5)

    class Killed(Exception):
        pass

    def kill() -> None:
        raise Killed

    clock.at[600] = kill
    with pytest.raises(Killed):
        run(made, release, clock)
    release = made.current()
    assert release.unasked == release.breaches
    assert release.breaches
    done = run(made, release, clock, until_breach=True)
    assert (done["verdict"], done["goes_back"]) == ("breached", False)
    assert clock.now - clock.start >= timedelta(hours=1)


def test_a_breach_that_visitors_can_bring_about_is_no_reason_to_look_away(
    operations: StandInOperations,
) -> None:
    made, release = watched(operations)
    clock = clock_of(release)

    def observe(begin: datetime, end: datetime) -> Observed:
        found = traffic(clock.start, since=0.5 * (begin >= clock.start + timedelta(minutes=40)))(begin, end)
        return replace(found, errors_4xx=(found.requests - found.errors_5xx) // 2 * (begin >= clock.start))

    operations.observing = observe
    run(made, release, clock, until_breach=True)
    assert "errors-5xx" in made.current().breaches
    assert timedelta(minutes=40) < clock.now - clock.start < timedelta(minutes=50)


def test_a_way_back_that_is_worse_is_watched_to_the_end(operations: StandInOperations) -> None:
    """It is not gone back from."""
    watched(operations)
    made, _ = released(operations, "v1", watch=Watch(minutes=60, every_seconds=100))
    release = made.current()
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.5)
    assert run(made, release, clock, until_breach=True)["verdict"] == "breached"
    assert clock.now - clock.start >= timedelta(hours=1)


def test_another_release_ends_it(operations: StandInOperations) -> None:
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start)
    clock.at[600] = lambda: reaches(operations, "v3")
    assert run(made, release, clock)["verdict"] == "cut short"
    assert clock.now - clock.start < timedelta(minutes=12)
    assert watches.due(made.releases(), made.spec.watch) is None


def test_another_release_that_is_refused_does_not_end_it(operations: StandInOperations) -> None:
    """Not for as long as nobody knows, either: preflight and backup may take minutes."""
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start)
    clock.at[600] = lambda: opened(operations, "v3") and None
    clock.at[900] = lambda: made.write("release failed", made.releases()[-1].id)
    assert run(made, release, clock)["verdict"] == "quiet"
    assert clock.now - clock.start >= timedelta(hours=1)


def test_the_first_release_has_nothing_before_it(operations: StandInOperations) -> None:
    made, _ = released(operations, "v1", watch=Watch(minutes=60, every_seconds=100))
    release = made.current()
    clock = clock_of(release)
    operations.observing = traffic(clock.start)
    assert run(made, release, clock)["verdict"] == "quiet"
    assert all(since >= clock.start for _, since, _ in operations.acted("observe"))


@pytest.mark.parametrize("killed_at", [100.0, 1800.0])
def test_killed_in_the_middle_it_goes_on_with_what_happened_meanwhile(
    operations: StandInOperations, killed_at: float
) -> None:
    """The breach lies in the time in which nobody watched, and is told once."""

    class Gone(Exception):
        pass

    def die() -> None:
        raise Gone

    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.05)
    clock.at[killed_at] = die
    with pytest.raises(Gone):
        run(made, release, clock)
    clock.now += timedelta(minutes=15)
    again = watches.due(made.releases(), made.spec.watch)
    assert again is not None
    assert run(made, again, clock)["verdict"] == "breached"
    said = events(operations)
    assert (said.count("watch started"), said.count("watch done")) == (1, 1)
    assert said.count("watch-breached") == 1
    assert said.count("watch breached") == 2


def test_one_that_was_killed_until_after_its_end_is_judged_by_the_logs(operations: StandInOperations) -> None:
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start)
    clock.now += timedelta(hours=5)
    done = run(made, release, clock)
    assert (done["verdict"], clock.now - clock.start) == ("quiet", timedelta(hours=5))
    assert done["requests"] < 36_000


def test_a_target_that_cannot_be_asked_for_a_while_is_asked_again(
    operations: StandInOperations, capsys: pytest.CaptureFixture[str]
) -> None:
    made, release = watched(operations)
    clock = clock_of(release)
    good = traffic(clock.start)

    def fault(*_: object) -> Observed:
        raise TargetError("the workspace does not answer.")

    operations.observing = fault
    clock.at[120] = lambda: setattr(operations, "observing", good)
    assert run(made, release, clock)["verdict"] == "quiet"
    assert "watch of v2: the workspace does not answer." in capsys.readouterr().err


def test_a_target_that_cannot_be_asked_to_the_end_leaves_nothing_quiet(operations: StandInOperations) -> None:
    """However good what was seen before: not quiet, and not too little traffic either."""
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start)

    def fault(*_: object) -> Observed:
        raise TargetError("the workspace does not answer.")

    clock.at[1800] = lambda: setattr(operations, "observing", fault)
    done = run(made, release, clock)
    assert (done["verdict"], done["why"]) == (
        "not measured",
        "It was not seen to the end: the workspace does not answer.",
    )
    assert clock.now - clock.start < timedelta(minutes=75)


def test_of_two_watches_one_records_and_the_other_leaves_off(operations: StandInOperations) -> None:
    """A desk looks on while CI watches."""
    made, release = watched(operations)
    clock, other = clock_of(release), clock_of(release)
    operations.observing = traffic(clock.start, since=0.5)
    ends = []

    def meanwhile() -> None:
        ends.append(watches.watch(made, release, clock=other, sleep=other.sleep, until_breach=True))

    clock.at[200] = meanwhile
    ends.append(watches.watch(made, release, clock=clock, sleep=clock.sleep, until_breach=True))
    assert ends[0] is not None
    assert ends[0].verdict == "breached"
    assert ends[1] is None
    said = events(operations)
    assert [said.count(event) for event in ("watch started", "watch-breached", "watch done")] == [1, 1, 1]
    measures = [e.data["measure"] for e in operations.entries() if e.event == "watch breached"]
    assert len(measures) == len(set(measures))


def test_a_target_that_counts_by_the_minute_and_late_is_seen_whole(operations: StandInOperations) -> None:
    """As Front Door's metrics: whole minutes, five minutes later."""
    made, release = watched(operations, watch=Watch(minutes=20, every_seconds=15))
    clock = clock_of(release)
    good = traffic(clock.start, since=0.0)
    minute = timedelta(minutes=1)

    def observe(since: datetime, until: datetime) -> Observed:
        begin = since.replace(second=0, microsecond=0)
        begin += minute if begin < since else timedelta()
        end = min(until, clock.now - 5 * minute).replace(second=0, microsecond=0)
        return good(begin, end) if begin < end else nothing_observed(since, since)

    operations.observing = observe
    done = run(made, release, clock)
    assert done["verdict"] == "quiet"
    assert 18 * 600 <= done["requests"] <= 20 * 600
    assert clock.now - clock.start < timedelta(minutes=27)


@pytest.mark.parametrize(
    ("changes", "is_due"),
    [
        ({}, True),
        ({"verdict": "open"}, False),
        ({"verdict": "failed"}, False),
        ({"watched": {"verdict": "quiet"}}, False),
        ({"watching": {"until": ""}}, True),
    ],
)
def test_the_newest_good_release_is_watched_once(
    operations: StandInOperations, changes: dict[str, Any], is_due: bool
) -> None:
    made, release = watched(operations)
    known = [replace(release, **changes)]
    assert (watches.due(known, made.spec.watch) is not None) is is_due
    assert watches.due(known, None) is None


def reaches(operations: StandInOperations, version: str) -> None:
    """A release of the version is opened, and begins to replace the first instance."""
    made, release = opened(operations, version)
    made.write("step started", release.id, step="roll-instance-1")


def fails(operations: StandInOperations, version: str, *steps: str, left: tuple[str, ...] = ()) -> None:
    """A release of the version is opened, and fails in the last of these steps."""
    made, release = opened(operations, version)
    for step in steps:
        made.write("step started", release.id, step=step)
        if step != steps[-1]:
            made.write("step done", release.id, step=step)
    made.write("step failed", release.id, step=steps[-1], error="no.", data={"left": left})
    made.write("release failed", release.id)


@pytest.mark.parametrize(
    ("steps", "left", "serves"),
    [
        (("preflight",), (), True),
        (("preflight", "migrate"), (), True),
        (("roll-instance-1",), ("instance-1",), True),
        (("roll-instance-1", "roll-instance-2"), ("instance-2",), False),
        (("roll-instance-1", "smoke"), (), False),
        (("roll-instance-1",), (), False),  # killed there: what runs on it is not known
    ],
)
def test_what_serves_is_watched_whatever_came_after_it_and_failed(
    operations: StandInOperations, steps: tuple[str, ...], left: tuple[str, ...], serves: bool
) -> None:
    made, release = watched(operations)
    fails(operations, "v3", *steps, left=left)
    due = watches.due(made.releases(), made.spec.watch)
    assert (due and due.id) == (release.id if serves else None)


def test_a_newer_release_that_is_under_way_leaves_nothing_to_watch(operations: StandInOperations) -> None:
    made, _ = watched(operations)
    opened(operations, "v3")
    assert watches.due(made.releases(), made.spec.watch) is None


def test_a_watch_after_a_failed_release_goes_to_its_end_and_not_back(operations: StandInOperations) -> None:
    """What is pinned is the newer one, so somebody has it in hand."""
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.5)
    clock.at[50] = lambda: fails(operations, "v3", "preflight")
    done = run(made, release, clock, until_breach=True)
    assert (done["verdict"], done["goes_back"]) == ("breached", False)
    assert clock.now - clock.start >= timedelta(hours=1)


class Outage:
    """The record can be neither read nor written from one second of the watch to another."""

    def __init__(self, operations: StandInOperations, clock: Clock, begin: float, end: float) -> None:
        self.read = operations.read_record
        self.lasts = False
        operations.read_record = self
        clock.at[begin] = lambda: setattr(self, "lasts", True)
        clock.at[end] = lambda: setattr(self, "lasts", False)

    def __call__(self) -> bytes:
        if self.lasts:
            raise TargetError("the record does not answer.")
        return self.read()


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        pytest.param(50, 800, id="at the first breach"),
        pytest.param(1800, 2400, id="in the middle"),
        pytest.param(3500, 4100, id="at the end"),
    ],
)
def test_what_is_found_while_the_record_is_away_is_recorded_once_it_is_back(
    operations: StandInOperations, capsys: pytest.CaptureFixture[str], begin: float, end: float
) -> None:
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.05)
    Outage(operations, clock, begin, end)
    assert run(made, release, clock)["verdict"] == "breached"
    said = events(operations)
    assert [said.count(one) for one in ("watch started", "watch-breached", "watch done")] == [1, 1, 1]
    measures = [e.data["measure"] for e in operations.entries() if e.event == "watch breached"]
    assert sorted(measures) == ["errors-5xx", "exceptions"]
    assert "watch of v2: the record does not answer." in capsys.readouterr().err


@pytest.mark.parametrize("late", [timedelta(), timedelta(hours=5)])
def test_a_record_that_stays_away_ends_the_watch_only_long_after(
    operations: StandInOperations, late: timedelta
) -> None:
    """Also of a watch that begins, or is gone on with, when its time has passed."""
    made, release = watched(operations)
    clock = clock_of(release)
    begun = clock.now = clock.start + late
    operations.observing = traffic(clock.start)
    operations.fail("append_record", "the record is full.")
    with pytest.raises(TargetError, match="the record is full"):
        watches.watch(made, release, clock=clock, sleep=clock.sleep)
    end = max(begun, clock.start + timedelta(hours=1))
    assert timedelta(minutes=12) < clock.now - end < timedelta(minutes=15)


def test_an_end_that_was_written_although_the_target_said_no_is_its_own(
    operations: StandInOperations,
) -> None:
    """Else nobody would go back: it would take it for the end of another watch."""
    made, release = watched(operations)
    clock = clock_of(release)
    operations.observing = traffic(clock.start, since=0.5)
    append = operations.append_record

    def lost(make: Callable[[bytes], str]) -> None:
        append(make)
        if events(operations)[-1] == "watch done":
            raise TargetError("the answer was lost.")

    operations.append_record = lost
    ended = watches.watch(made, release, clock=clock, sleep=clock.sleep, until_breach=True)
    assert ended is not None
    assert events(operations).count("watch done") == 1
