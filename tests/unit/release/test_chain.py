"""The record's chain: a changed past is found, and said with the line and what was expected there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.release.chain import Chain, digest, examine, link
from components.release.chain import head as chain_head

COUNT = 6


def line(number: int, earlier: bytes) -> bytes:
    entry = {"event": "step done", "time": f"2026-11-24T12:00:{number:02}+00:00", "data": {"ñ": number}}
    return link(earlier, entry).encode() + b"\n"


def record(count: int = COUNT, earlier: bytes = b"") -> bytes:
    for number in range(1, count + 1):
        earlier += line(number, earlier)
    return earlier


WHOLE = record()
HEAD = digest(WHOLE.splitlines()[-1])


def told(found: Chain) -> list[str]:
    return [str(fault) for fault in found.faults]


def test_a_whole_record_is_told_by_its_count_head_and_span() -> None:
    assert examine(WHOLE, head=HEAD) == Chain(
        count=COUNT,
        head=HEAD,
        began="2026-11-24T12:00:01+00:00",
        ended="2026-11-24T12:00:06+00:00",
        faults=(),
        sealed=(),
    )
    assert chain_head(WHOLE) == HEAD
    assert chain_head(b"") is None
    assert examine(b"") == Chain(count=0, head=None, began=None, ended=None, faults=(), sealed=())


def test_a_line_is_canonical() -> None:
    first = WHOLE.splitlines()[0]
    assert first.isascii()
    assert first == json.dumps(json.loads(first), sort_keys=True, separators=(",", ":")).encode()


def test_a_known_head_holds_when_the_record_has_grown_since() -> None:
    assert examine(record(COUNT + 3), head=HEAD).faults == ()


def tampered(change) -> bytes:
    lines = WHOLE.splitlines(keepends=True)
    change(lines)
    return b"".join(lines)


def sha(number: int) -> str:
    return digest(WHOLE.splitlines()[number - 1])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param(
            lambda lines: lines.__setitem__(2, lines[2].replace(b"12:00:03", b"12:00:04")),
            f"line 4: it was written after the line {sha(3)}, but line 3 is ",
            id="a changed byte",
        ),
        pytest.param(
            lambda lines: lines.pop(2),
            f"line 3: it was written after the line {sha(3)}, but line 2 is {sha(2)}: that was changed, or "
            f"lines are missing between them",
            id="a removed line",
        ),
        pytest.param(
            lambda lines: lines.insert(2, line(9, b"".join(lines[:2]))),
            "line 4: it was written after line 2, but stands after line 3",
            id="an inserted line",
        ),
        pytest.param(
            lambda lines: lines.__setitem__(slice(2, 4), [lines[3], lines[2]]),
            "line 3: it was written after line 4, but stands after line 2",
            id="two swapped lines",
        ),
        pytest.param(
            lambda lines: lines.insert(3, lines[2]),
            "line 4: it was written after line 2, but stands after line 3",
            id="a line twice",
        ),
        pytest.param(
            lambda lines: lines.pop(0),
            f"line 1: it was written after the line {sha(1)}, which is missing before it",
            id="the beginning cut off",
        ),
        pytest.param(
            lambda lines: lines.pop(), f"line 6: no line has the known head {HEAD}", id="the end cut off"
        ),
        pytest.param(
            lambda lines: lines.__setitem__(-1, lines[-1].replace(b"12:00:06", b"12:00:07")),
            f"line 7: no line has the known head {HEAD}",
            id="a changed byte in the last line",
        ),
        pytest.param(
            lambda lines: lines.__setitem__(-1, lines[-1][:40]),
            "line 6: it is no entry with a hash; if a crash or an older Relevo left it, the next entry seals",
            id="half the last line cut off",
        ),
        pytest.param(
            lambda lines: lines.__setitem__(-1, lines[-1][:-1]),
            "line 6: it does not end",
            id="no end of line",
        ),
        pytest.param(
            lambda lines: lines.insert(3, b'{"event":"release succeeded"}\n'),
            "line 4: an entry with a hash is expected, as line 5 has one",
            id="a line without a hash",
        ),
        pytest.param(
            lambda lines: lines.clear(), f"line 1: no line has the known head {HEAD}", id="all gone"
        ),
    ],
)
def test_tampering_is_found_in_its_line(change, fault: str) -> None:
    found = told(examine(tampered(change), head=HEAD))
    assert found
    assert found[0].startswith(fault)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, difference: int) -> None:
    changed = bytearray(WHOLE)
    changed[place] ^= difference
    assert examine(bytes(changed), head=HEAD).faults


@given(st.permutations(range(COUNT)), st.integers(0, COUNT))
def test_no_line_can_be_moved_or_left_out(order: list[int], kept: int) -> None:
    lines = WHOLE.splitlines(keepends=True)
    changed = b"".join(lines[number] for number in order[:kept])
    assert bool(examine(changed, head=HEAD).faults) == (changed != WHOLE)


OLD = b'{"event": "release opened", "time": "2026-11-01T12:00:00+00:00"}\n{"event": "release failed"}\n'


def test_the_chain_of_an_older_record_begins_with_a_line_that_covers_it() -> None:
    whole = record(3, OLD)
    assert json.loads(whole.splitlines()[2])["seals"] == len(OLD)
    found = examine(whole)
    assert (found.faults, found.sealed) == ((), ("lines 1 to 2 have no hash, and line 3 seals them",))
    changed = told(examine(whole.replace(b"release failed", b"release killed")))
    assert changed[0].startswith(
        f"line 3: it seals {len(OLD)} bytes with the hash {digest(OLD)}, but before it"
    )
    assert examine(OLD).faults == (), "nothing to verify yet"


def test_half_a_line_of_a_crash_is_sealed_by_the_next_one_which_says_so() -> None:
    half = WHOLE + b'{"data":{},"eve\n'
    whole = record(2, half)
    found = examine(whole, head=HEAD)
    assert (found.faults, found.sealed) == (
        (),
        (f"line {COUNT + 1} has no hash, and line {COUNT + 2} seals them",),
    )
    assert examine(whole.replace(b'{"data":{},"eve\n', b'{"data":{},"evil\n')).faults
    assert examine(whole.replace(b'{"data":{},"eve\n', b"")).faults
