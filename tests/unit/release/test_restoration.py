"""Which backup a restore brings back, and which artefact runs on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from components.release import record, recorded_schema
from components.release.record import Entry, Event
from components.release.restoration import backup_for, ran_at, within
from tests.unit.release.stand_in import image, manifest, migration

MIGRATIONS = {version: migration(f"site.000{version[1]}") for version in ("v1", "v2", "v3")}


def story(*words: str) -> list[Entry]:
    """`v1` is a good release of it; `v2!migrate` one that ends as failed after that step; `restore:v1`."""
    entries: list[Entry] = []
    applied: set[str] = set()

    def write(
        event: Event,
        release: str | None,
        version: str,
        step: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        time = f"2026-11-24T12:{len(entries):02}:00+00:00"
        entries.append(
            Entry(time=time, event=event, release=release, image=image(version), step=step, data=data or {})
        )

    for number, word in enumerate(words, start=1):
        kind, _, restored = word.partition(":")
        if kind == "restore":
            applied = {name for name in applied if name[-1] <= restored[1]}
            write("restore done", None, restored, data={"schema": sorted(applied)})
            continue
        version, _, last = word.partition("!")
        release = f"{number}-{version}"
        opening = {"version": version, "trigger": "t", "lock": "l", "responsible": "Ada"}
        write(
            "release opened",
            release,
            version,
            data={**opening, "previous_image": None, "previous_version": None},
        )
        own = {str(each) for name, each in MIGRATIONS.items() if name <= version}
        told = {"preflight": {"pending": sorted(own - applied)}, "backup": {"name": release}}
        for step in ("preflight", "backup", "migrate", "roll-instance-1"):
            write("step started", release, version, step)
            if step == last.removeprefix("in-"):
                write("release failed", release, version)
                break
            applied |= own if step == "migrate" else set()
            data = {**told.get(step, {}), "schema": sorted(applied)}
            write("step done", release, version, step, data)
        else:
            write("release succeeded", release, version)
    return entries


def schema(version: str) -> frozenset[tuple[str, str]]:
    return frozenset(each.key for name, each in MIGRATIONS.items() if name <= version)


@pytest.mark.parametrize(
    ("words", "pinned", "at", "expected"),
    [
        (["v1", "v2"], "v2", "v2", "2-v2"),  # of the release that serves
        (["v1", "v2", "v1!preflight"], "v1", "v2", "2-v2"),  # what the refusal has named
        (["v1", "v2", "v3", "v1!preflight"], "v1", "v3", "2-v2"),
        (["v1", "v2", "v3", "v2!preflight"], "v2", "v3", "3-v3"),
        (["v1", "v2", "v3!roll-instance-1"], "v3", "v3", "3-v3"),  # of the one that has failed
        (["v1", "v2", "v3!migrate"], "v3", "v2", "3-v3"),
        (["v1!preflight"], "v1", "v1", None),
    ],
)
def test_the_backup_is_that_of_before_what_the_pinned_artefact_does_not_know(
    words: Sequence[str], pinned: str, at: str, expected: str | None
) -> None:
    target = manifest(pinned, *(each for name, each in MIGRATIONS.items() if name <= pinned))
    found = backup_for(target, schema(at) | {("other", "0001")}, record.releases(story(*words)))
    assert found == expected


@pytest.mark.parametrize(
    ("rewound", "expected"),
    [
        ({}, "4-v1"),
        ({"lost": ["site.0002"]}, "2-v2"),
        ({"left_applied": ["site.0002", "site.0003"]}, "4-v1"),  # nothing is wrong with these
        ({"lost": ["site.0002"], "left_applied": ["site.0003"]}, "2-v2"),
        ({"lost": ["site.0003"], "left_behind": ["site.0002"]}, "3-v3"),
    ],
)
def test_after_a_rewind_it_is_the_one_that_has_what_was_lost(
    rewound: Mapping[str, Sequence[str]], expected: str
) -> None:
    *earlier, last = record.releases(story("v1", "v2", "v3", "v1"))
    known = [*earlier, replace(last, done={**last.done, "rewind": rewound})]
    left = {*rewound.get("left_applied", ()), *rewound.get("left_behind", ())}
    applied = schema("v1") | {one.key for one in MIGRATIONS.values() if str(one) in left}
    assert backup_for(manifest("v1", MIGRATIONS["v1"]), applied, known) == expected


@pytest.mark.parametrize(("gone", "expected"), [([], "3-v2"), (["site.0002"], "4-v1")])
def test_a_rewind_that_has_reversed_counts_where_its_release_ends_before_migrate(
    gone: Sequence[str], expected: str
) -> None:
    *earlier, last = record.releases(story("v1", "v2", "v2", "v1!migrate"))
    known = [
        *earlier,
        replace(last, begun=("backup", "rewind"), done={**last.done, "rewind": {"reversed": gone}}),
    ]
    pinned = manifest("v1", MIGRATIONS["v1"])
    assert backup_for(pinned, schema("v1"), known) == expected


@pytest.mark.parametrize(
    ("words", "backup", "expected"),
    [
        (["v1", "v2"], "1-v1", None),  # nothing ran before the first
        (["v1", "v2"], "2-v2", "v1"),
        (["v1", "v2"], None, "v2"),
        (["v1", "v2!roll-instance-1", "v3"], "3-v3", "v1"),  # what has not passed its gate never ran
        (["v1", "v2", "restore:v1", "v1"], "4-v1", "v1"),  # and not v2, whose schema is gone
        (["v1", "v2", "restore:v1"], None, "v1"),
        (["v1", "v2"], "manual-20261124T115900Z", None),
        (["v1", "v2"], "manual-20261124T121500Z", "v1"),
        (["v1", "v2"], "scheduled-20261124T235900Z", "v2"),
        (["v1", "v2"], "of-somebody", None),
    ],
)
def test_what_runs_on_a_backup_is_what_ran_when_it_was_taken(
    words: Sequence[str], backup: str | None, expected: str | None
) -> None:
    found = ran_at(backup, story(*words))
    assert (found and found.image) == (expected and image(expected))


@pytest.mark.parametrize(
    ("words", "backups", "expected"),
    [
        (["v1", "v2"], ["2-v2", "1-v1"], "2-v2"),  # taken before v2 has migrated
        (["v1", "v2"], ["manual-20261124T125900Z", "2-v2"], "2-v2"),  # since then
        (["v1", "v2", "v1", "v2"], ["4-v2", "2-v2"], "2-v2"),  # the way back has left it applied
        (["v1", "v2", "restore:v1", "v1"], ["4-v1"], "4-v1"),
        (["v1", "v2"], ["manual-20261124T125900Z"], None),
        (["v1", "v2"], ["of-somebody"], None),
        (["v1", "v2"], [], None),
    ],
)
def test_the_backup_for_a_rehearsal_has_no_migration_that_the_older_version_does_not_know(
    words: Sequence[str], backups: Sequence[str], expected: str | None
) -> None:
    assert within(manifest("v1", MIGRATIONS["v1"]), backups, story(*words)) == expected


def test_the_record_knows_the_schema_after_a_restore_that_came_to_its_end() -> None:
    def entry(event: Event, **data: Any) -> Entry:
        return Entry(time="2026-11-24T12:00:00+00:00", event=event, release=None, image=None, data=data)

    migrated = entry("step done", schema=["site.0001", "site.0002"])
    begun, done = entry("restore started"), entry("restore done", schema=["site.0001"])
    assert recorded_schema.applied([migrated, begun]) is None
    assert recorded_schema.applied([migrated, begun, done]) == {("site", "0001")}
