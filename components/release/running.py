"""How every step runs: one at a time, recorded, its secrets masked, and its failure the release's."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, TextIO

from components.masking import Masking
from components.release import notices, record, restoration
from components.release.context import Context, StepFailed
from components.release.record import Release
from components.release.responsible import who
from components.target import TargetError

Work = Callable[[Context, Release], Mapping[str, Any]]
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(StepFailed):
    """The engine, or somebody at a desk, ended the step."""


def main(step: str, work: Work, *, once: bool = False) -> int:
    """The exit status of a step that runs as a process of its own; a fault is one line on stderr."""
    return run(lambda context: perform(context, step, work, once=once))


def run(act: Callable[[Context], object]) -> int:
    """The same for whatever `act` does with the context that the environment describes."""
    try:
        context = Context.from_environment()
        hidden = context.masking()
    except (StepFailed, TargetError) as fault:
        print(fault, file=sys.stderr)
        return 1
    with masked(hidden):
        try:
            with interruptible():
                act(context)
        except (StepFailed, TargetError) as fault:
            print(fault, file=sys.stderr)
            return 1
        except Exception as fault:  # noqa: BLE001 - the interpreter would print its traceback unmasked
            show_traceback(fault, hidden)
            return 1
    return 0


def perform(context: Context, step: str, work: Work, *, once: bool = False) -> Mapping[str, Any]:
    """Run the step in the release under way and record it. Raises `StepFailed`, once that is recorded.

    `once`: not again in a release in which the record has it as done, since a killed `up` may repeat a step
    that the engine had not yet seen end.
    """
    with context.operations.exclusive(step):
        release = current(context, step)
        if once and step in release.done:
            print(f"{step}: already done in release {release.id}", flush=True)
            return release.done[step]
        return recorded(context, release, step, on_whole_data(work))


def on_whole_data(work: Work) -> Work:
    """What preflight asks of a restore, asked again: a release that goes on is past it."""

    def careful(context: Context, release: Release) -> Mapping[str, Any]:
        if "preflight" in release.done:
            begun = restoration.unfinished(record.parse(context.operations.read_record()))
            if begun is not None:
                raise StepFailed(f"{restoration.doubt(begun, context.stack)}.")
        return work(context, release)

    return careful


def current(context: Context, step: str) -> Release:
    """The release under way. Raises `StepFailed`, once that is recorded, where the step is of another one."""
    try:
        return context.current()
    except StepFailed as fault:
        told = who(context.spec.responsible)
        context.write("attempt refused", None, step=step, error=str(fault), data=told)
        raise


def recorded(context: Context, release: Release, step: str, work: Work) -> Mapping[str, Any]:
    """Run the step and write how it went. For who has the target to himself (`Operations.exclusive`)."""
    context.write("step started", release.id, step=step)
    began = time.monotonic()
    try:
        data = work(context, release)
    except BaseException as fault:
        raise _failure(context, release, step, fault, time.monotonic() - began) from fault
    data = context.masking().data(dict(data))
    context.write("step done", release.id, step=step, seconds=time.monotonic() - began, data=data)
    return data


def _failure(
    context: Context, release: Release, step: str, fault: BaseException, seconds: float
) -> StepFailed:
    """Have the release failed in the record, tell who is to know, and return the step's one line."""
    hidden = context.masking()
    show_traceback(fault, hidden)
    error = hidden(describe(fault))
    data = hidden.data(dict(getattr(fault, "data", {})))
    try:
        context.write("step failed", release.id, step=step, seconds=seconds, error=error, data=data)
        context.write("release failed", release.id)
        closed = context.current()
        if closed.verdict == "failed":  # what has succeeded before goes on serving
            notices.tell_on_record(context, "failed", closed)
    except TargetError as second:
        return StepFailed(f"{error} And this could not be recorded: {hidden(describe(second))}")
    return StepFailed(error, data)


def show_traceback(fault: BaseException, hidden: Masking) -> None:
    """On stderr, unless the fault was foreseen: its one line in the record does not say where it began."""
    if isinstance(fault, Exception) and not isinstance(fault, (StepFailed, TargetError)):
        print(hidden("".join(traceback.format_exception(fault))), end="", file=sys.stderr, flush=True)


def describe(fault: BaseException) -> str:
    """One line for the record and the display."""
    text = " ".join(str(fault).split())
    return text if isinstance(fault, (StepFailed, TargetError)) else f"{type(fault).__name__}: {text}"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """The first SIGTERM or SIGINT raises `Interrupted`, so that what was begun is put right and recorded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(f"cancelled by {signal.Signals(number).name}; run pulumi up to go on.")

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class MaskedStream(io.TextIOBase):
    """Passes whole lines on, masked."""

    def __init__(self, stream: TextIO, masking: Masking) -> None:
        self._stream = stream
        self._masking = masking
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._stream.write(self._masking(line) + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def finish(self) -> None:
        self._stream.write(self._masking(self._rest))
        self._rest = ""
        self._stream.flush()


@contextlib.contextmanager
def masked(masking: Masking) -> Iterator[None]:
    """No secret reaches stdout or stderr, whatever a project prints."""
    streams = MaskedStream(sys.stdout, masking), MaskedStream(sys.stderr, masking)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            yield
        finally:
            for stream in streams:
                stream.finish()
