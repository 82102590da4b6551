"""The chain of the record: each line carries the hash of what is before it, so that a changed past shows.

Pure. A line is canonical JSON (sorted keys, no spaces, ASCII) with `previous`, the SHA-256 of the line before
without its end. Where the line before carries none, `previous` is of all that is before, and `seals` says how
many bytes that is: so the first line of all (0 bytes), the first after lines of an older Relevo, and the
first after half a line that a crash left, say of themselves that they cover what they found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`line` counts from 1; `text` says what stands there and what was expected."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What the record is. `head`: the hash of its last line, None where it has none."""

    count: int
    head: str | None
    began: str | None  # times of the first and the last entry
    ended: str | None
    faults: tuple[Fault, ...]
    sealed: tuple[str, ...]  # what had no hash of its own, and is covered by a later line


def link(earlier: bytes, entry: Mapping[str, Any]) -> str:
    """The line of `entry` after `earlier`, which is empty or ends with the end of a line."""
    last = earlier[earlier[:-1].rfind(b"\n") + 1 : -1]
    if _linked(last) is None:
        return _canonical({**entry, "previous": digest(earlier), "seals": len(earlier)})
    return _canonical({**entry, "previous": digest(last)})


def head(record: bytes) -> str | None:
    """The hash of the last line, None where there is none: who knows it sees any change before it later."""
    last = record[record[:-1].rfind(b"\n") + 1 :].removesuffix(b"\n")
    return digest(last) if record else None


def digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def examine(record: bytes, *, head: str | None = None) -> Chain:
    """Whether every line follows the one before it, and whether the line of a known `head` is there."""
    lines = record.split(b"\n")
    half = lines.pop()
    if half:
        lines.append(half)
    digests = [digest(line) for line in lines]
    faults, sealed = list(_faults(lines, digests, record)), tuple(_sealed(lines))
    if half and _linked(half):
        faults.append(Fault(line=len(lines), text="it does not end; the end of the line is expected"))
    if head is not None and head not in digests:
        faults.append(
            Fault(
                line=len(lines) + 1,
                text=f"no line has the known head {head}: the last was changed, or more are missing",
            )
        )
    times = [entry["time"] for entry in map(_entry, lines) if entry and isinstance(entry.get("time"), str)]
    return Chain(
        count=len(lines),
        head=digests[-1] if digests else None,
        began=times[0] if times else None,
        ended=times[-1] if times else None,
        faults=tuple(faults),
        sealed=sealed,
    )


def begun(record: bytes) -> bool:
    """Whether any line carries a hash."""
    return any(_linked(line) is not None for line in record.split(b"\n"))


def _faults(lines: list[bytes], digests: list[str], record: bytes) -> Iterator[Fault]:
    offset, chained, loose = 0, False, 0
    for number, line in enumerate(lines, start=1):
        found = _linked(line)
        if found is None:
            loose = loose or number
        elif found.seals is None:
            if loose:
                yield Fault(line=loose, text=f"an entry with a hash is expected, as line {number} has one")
            elif number == 1:
                yield Fault(
                    line=1, text=f"it was written after the line {found.previous}, which is missing before it"
                )
            if not loose and number > 1 and found.previous != digests[number - 2]:
                yield Fault(line=number, text=_out_of_place(found.previous, number, digests))
            chained, loose = True, 0
        else:
            before = record[:offset]
            if (found.seals, found.previous) != (len(before), digest(before)):
                yield Fault(
                    line=number,
                    text=f"it seals {found.seals} bytes with the hash {found.previous}, but before it are "
                    f"{len(before)} with {digest(before)}",
                )
            chained, loose = True, 0
        offset += len(line) + 1
    if chained and loose:
        yield Fault(
            line=loose,
            text="it is no entry with a hash; if a crash or an older Relevo left it, the next entry seals it",
        )


def _out_of_place(previous: str, number: int, digests: list[str]) -> str:
    if previous in digests:
        place = digests.index(previous) + 1
        return f"it was written after line {place}, but stands after line {number - 1}"
    return (
        f"it was written after the line {previous}, but line {number - 1} is {digests[number - 2]}: that "
        f"was changed, or lines are missing between them"
    )


def _sealed(lines: list[bytes]) -> Iterator[str]:
    first = 0
    for number, line in enumerate(lines, start=1):
        found = _linked(line)
        if found is None:
            first = first or number
        elif first:
            what = f"line {first} has" if first == number - 1 else f"lines {first} to {number - 1} have"
            if found.seals is not None:
                yield f"{what} no hash, and line {number} seals them"
            first = 0


@dataclass(frozen=True, kw_only=True)
class _Link:
    previous: str
    seals: int | None


def _linked(line: bytes) -> _Link | None:
    entry = _entry(line)
    if entry is None or not isinstance(entry.get("previous"), str):
        return None
    return _Link(previous=entry["previous"], seals=entry.get("seals"))


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _canonical(entry: Mapping[str, Any]) -> str:
    # ASCII, so that no reader splits or decodes a line otherwise.
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))
