"""Exceptions in a log: found in plain text and in JSON, and told apart by type and place. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components import log_lines

BEGIN = "Traceback (most recent call last):"
FRAME = re.compile(r'^ +File "(?P<file>[^"]+)", line \d+(?:, in (?P<function>.+))?$')
RAISED = re.compile(r"^(?P<type>(?:[A-Za-z_][\w.]*\.|(?=[A-Z]))[A-Za-z_]\w*)(?::.*)?$")
CHAINED = (  # of the module traceback: what follows is the same exception, further out
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
GROUPED = "  | "  # before each line of an exception group
LONGEST = 1000  # lines; what has no end by then is not one
INNERMOST = 3  # frames of the project
# Not the project's: installed packages, the standard library, what has no file ("<frozen …>", "<string>").
FOREIGN = re.compile(r"/(?:site|dist)-packages/|/lib/python3[^/]*/|^<")
VERSION = re.compile(r"^(?:.*?/app/[0-9a-f]{12}|/app)/")  # where a target has the project of one version


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Exceptions of one type, raised at one place: the same in every version that still has the place.

    `title` is such as "ValueError in loans/views.py, create": the exception's own text may hold anything.
    """

    fingerprint: str
    title: str


def found(lines: Iterable[str]) -> Iterator[tuple[float, Kind]]:
    """The number of the line in which it begins (from 0) and its kind, of each exception that was logged.

    One that was raised while another was handled counts once, as the last one. What of a traceback is cut
    off at either end is passed over.
    """
    reader = Reader()
    for number, line in enumerate(lines):
        yield from reader.read(number, line)
    yield from reader.end()


class Reader:
    """Reads one line after the other; `place` is what an exception is told by: its line's number, or time."""

    def __init__(self) -> None:
        self._began: float | None = None  # inside a traceback
        self._lines = 0  # of it
        self._frames: list[tuple[str, str]] = []
        self._whole: tuple[float, Kind] | None = None  # which a chained one may still follow
        self._chained = False  # one does

    @property
    def pending(self) -> float | None:
        """Where what is not yet told began."""
        return self._whole[0] if self._whole else self._began

    def read(self, place: float, line: str) -> Iterator[tuple[float, Kind]]:
        line = line.removeprefix(GROUPED)
        if BEGIN in line and (said := log_lines.parsed(line)) is not None:
            yield from self.end()
            if (kind := _in_json(said)) is not None:
                yield place, kind
        elif line.endswith(BEGIN):
            began = self._whole[0] if self._whole and self._chained else place
            if not self._chained:
                yield from self.end()
            self._began, self._lines, self._frames = began, 0, []
            self._whole, self._chained = None, False
        elif self._began is not None:
            self._inside(line)
        elif self._whole is not None and line.strip() in CHAINED:
            self._chained = True
        elif self._whole is not None and line.strip():
            yield from self.end()

    def end(self) -> Iterator[tuple[float, Kind]]:
        """What nothing more belongs to."""
        whole, self._whole, self._began, self._chained = self._whole, None, None, False
        if whole is not None:
            yield whole

    def _inside(self, line: str) -> None:
        assert self._began is not None
        self._lines += 1
        if match := FRAME.match(line):
            self._frames.append((match["file"], match["function"] or ""))
        elif line[:1] not in ("", " ", "\t") and (match := RAISED.match(line.rstrip())):
            self._whole = self._began, _kind(match["type"], self._frames)
            self._began = None
        elif self._lines > LONGEST:
            self._began = None


def _in_json(said: Mapping[str, Any]) -> Kind | None:
    """The kind of the last exception in the first text that has any."""
    for text in _texts(said):
        if BEGIN in text and (kinds := [kind for _, kind in found(text.splitlines())]):
            return kinds[-1]
    return None


def _kind(type_: str, frames: Sequence[tuple[str, str]]) -> Kind:
    places = [(_module(file), function) for file, function in frames if not FOREIGN.search(file)]
    if not places:  # raised by a library that no code of the project has called
        places = [(file.rpartition("-packages/")[2], function) for file, function in frames]
    places = places[-INNERMOST:]
    said = "|".join([type_, *(f"{module}:{function}" for module, function in places)])
    where = f" in {places[-1][0]}, {places[-1][1]}" if places else ""
    return Kind(
        fingerprint=hashlib.sha256(said.encode()).hexdigest()[:12],
        title=f"{type_.rpartition('.')[2]}{where}",
    )


def _module(file: str) -> str:
    """Without the folder of its version."""
    return VERSION.sub("", file)


def _texts(said: Mapping[str, Any] | list[Any] | str) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, Mapping | list):
        for value in said.values() if isinstance(said, Mapping) else said:
            if isinstance(value, str | Mapping | list):
                yield from _texts(value)
