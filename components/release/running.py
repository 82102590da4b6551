"""How every step runs: one at a time, recorded, its secrets masked, and its failure the release's."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, TextIO

from components.release import notices
from components.release.context import Context, StepFailed
from components.release.record import Release
from components.target import TargetError

MASK = "********"
Work = Callable[[Context, Release], Mapping[str, Any]]


class Interrupted(StepFailed):
    """The engine, or somebody at a desk, ended the step."""


def main(step: str, work: Work, *, once: bool = False) -> int:
    """The exit status of a step that runs as a process of its own; a fault is one line on stderr."""
    try:
        context = Context.from_environment()
        with masked(context), interruptible():
            perform(context, step, work, once=once)
    except (StepFailed, TargetError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


def perform(context: Context, step: str, work: Work, *, once: bool = False) -> Mapping[str, Any]:
    """Run the step in the release under way and record it. Raises `StepFailed`, once that is recorded.

    `once`: not again in a release in which the record has it as done, since a killed `up` may repeat a step
    that the engine had not yet seen end.
    """
    with context.operations.exclusive():
        release = context.current()
        if once and step in release.done:
            print(f"{step} was already done in release {release.id}", flush=True)
            return release.done[step]
        context.write("step started", release.id, step=step)
        began = time.monotonic()
        try:
            data = work(context, release)
        except BaseException as fault:
            error = describe(fault)
            hidden = Masking(context)
            context.write(
                "step failed",
                release.id,
                step=step,
                seconds=time.monotonic() - began,
                error=hidden(error),
                data=getattr(fault, "data", {}),
            )
            context.write("release failed", release.id)
            notices.tell(context, context.current())
            raise StepFailed(hidden(error)) from fault
        context.write("step done", release.id, step=step, seconds=time.monotonic() - began, data=data)
        return data


def describe(fault: BaseException) -> str:
    """One line for the record and the display."""
    if isinstance(fault, (StepFailed, TargetError)):
        return " ".join(str(fault).split())
    if isinstance(fault, KeyboardInterrupt):
        return "interrupted; run pulumi up to go on."
    return f"{type(fault).__name__}: {' '.join(str(fault).split())}"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGINT raise `Interrupted`, so that what was begun is recorded as failed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> None:
        raise Interrupted(f"interrupted by {signal.Signals(number).name}; run pulumi up to go on.")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Masking:
    """Replaces the values of the stack's secrets in text."""

    def __init__(self, context: Context) -> None:
        self._values: list[str] = []
        for name in context.spec.secrets:
            with contextlib.suppress(TargetError):
                value = context.operations.secret(name)
                if value:
                    self._values += [value, json.dumps(value)[1:-1]]

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
        return text


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
        self._stream.flush()


@contextlib.contextmanager
def masked(context: Context) -> Iterator[None]:
    """No secret reaches stdout or stderr, whatever a project prints."""
    masking = Masking(context)
    streams = MaskedStream(sys.stdout, masking), MaskedStream(sys.stderr, masking)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            yield
        finally:
            for stream in streams:
                stream.finish()
