"""What the record tells of the schema: an app that was renamed is known by it, and by nothing else."""

from __future__ import annotations

import pytest

from components.release.record import Entry, Event
from components.release.recorded_schema import renamed
from tests.unit.release.stand_in import keys

EVENTS: dict[str, Event] = {
    "restore": "restore done",
    "restore begun": "restore started",
    "failed": "step failed",
}
A_TO_Z = {("a", "1"): ("z", "1"), ("a", "2"): ("z", "2")}


def told(*words: str) -> list[Entry]:
    """`a.1 a.2` is a step that found or left these applied; `restore: a.1` what a restore has."""
    entries = []
    for word in words:
        kind, _, rows = word.rpartition(":")
        schema = [f"{app}.{name}" for app, name in keys(rows)]
        event = EVENTS.get(kind, "step done")
        entries.append(
            Entry(time="t", event=event, release=None, image=None, step="migrate", data={"schema": schema})
        )
    return entries


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["a.1 a.2", "z.1 z.2"], id="its rows were renamed"),
        pytest.param(["a.1 a.2 b.1", "z.1 z.2 z.3 b.1"], id="and the new name has more"),
        pytest.param(["a.1 a.2", "z.1 z.2", "z.1 z.2 b.1", "failed: z.1 z.2"], id="and others came and went"),
        pytest.param(["a.1 a.2", "z.1 z.2", "a.1 a.2", "z.1 z.2"], id="undone, and done again"),
        pytest.param(["a.1 a.2", "z.1 z.2", "restore: z.1 z.2"], id="restored as it was since"),
        pytest.param(["a.1 a.2", "restore: a.1 a.2", "z.1 z.2"], id="renamed after a restore"),
    ],
)
def test_an_app_was_renamed(words: list[str]) -> None:
    *before, now = words
    assert renamed(told(*before), set(keys(now.rpartition(":")[2]))) == A_TO_Z
    assert renamed(told(*words), set(keys(now.rpartition(":")[2]))) == A_TO_Z


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["a.1 a.2"], id="nothing is known of before"),
        pytest.param(["a.1 a.2", "a.1 a.2 z.1 z.2"], id="both names are there"),
        pytest.param(["a.1 a.2", "a.1", "a.1 z.2"], id="one was reversed, then another app came"),
        pytest.param(["a.1 a.2 z.1", "z.1"], id="reversed to zero, where another has the name already"),
        pytest.param(["a.1 a.2", "z.1"], id="another app came that has not its names"),
        pytest.param(["a.1 a.2", "a.2 z.1"], id="it has a row left"),
        pytest.param(["a.1 a.2", "a.1 a.2 a.s", "a.s"], id="squashed, and the old rows removed"),
        pytest.param(["a.1 a.2", "restore: z.1 z.2"], id="a restore"),
        pytest.param(["a.1 a.2", "restore begun:", "z.1 z.2"], id="a restore that was killed"),
        pytest.param(["a.1 a.2", "z.1 z.2", "restore: a.1 a.2"], id="a restore of before"),
        pytest.param(["a.1 a.2", "z.1 z.2", "a.1 a.2"], id="undone"),
        pytest.param(["a.1 a.2", "", "z.1 z.2"], id="a new database"),
    ],
)
def test_no_app_was_renamed(words: list[str]) -> None:
    entries = told(*words[:-1], *(words[-1:] if words[-1].startswith("restore") else []))
    assert renamed(entries, set(keys(words[-1].rpartition(":")[2]))) == {}
