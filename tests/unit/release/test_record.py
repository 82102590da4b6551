"""What follows from the lines of the record: what serves, what was before, what a rollback would pin."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from components.release import record
from components.release.record import Entry, Release
from components.release.spec import Watch
from components.target import TargetError
from tests.unit.release.stand_in import image

WATCH = Watch(minutes=30, every_seconds=15)
NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class Book:
    """Writes a record as the steps do."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._seconds = itertools.count()

    def write(self, event: record.Event, release: str, **more) -> None:
        version = release.partition("-")[2]
        self.entries.append(
            Entry(
                time=f"2026-11-24T12:00:{next(self._seconds):02}+00:00",
                event=event,
                release=release,
                image=image(version),
                **more,
            )
        )

    def open(self, release: str) -> None:
        version = release.partition("-")[2]
        data = {"version": version, "trigger": "t", "lock": "l", "responsible": "Ada"}
        data |= {"previous_image": None, "previous_version": None}
        self.write("release opened", release, data=data)

    def run(self, story: str) -> list[Release]:
        """`story` has words such as `1-v1:ok`, `2-v2:fail`, `2-v2:again`, `3-v1:open`."""
        for word in story.split():
            release, _, end = word.partition(":")
            if end != "again":
                self.open(release)
            self.write("step started", release, step="migrate")
            if end == "fail":
                self.write("step failed", release, step="migrate", seconds=1.0, error="no.")
                self.write("release failed", release)
            elif end in ("ok", "again"):
                self.write("step done", release, step="migrate", seconds=2.0, data={"applied": []})
                self.write("release succeeded", release)
        return record.releases(self.entries)


def test_a_line_is_read_as_it_was_written() -> None:
    entry = Entry(time="t", event="step done", release="r", image="i", step="s", seconds=0.5, data={"ñ": [1]})
    line = entry.after(b"")
    assert record.parse(line.encode()) == [entry]
    assert "\n" not in line


@pytest.mark.parametrize(
    "broken", [b'{"time": "2026', b"", b"[]", b"7", b"null", b'{"time": "t"}', b"\x00\x00", b'{"time": "\xc3']
)
def test_half_a_line_is_passed_over(broken: bytes) -> None:
    entry = Entry(time="t", event="release failed", release="r", image="i")
    line = entry.after(b"").encode()
    assert record.parse(b"\n".join([line, broken, line])) == [entry, entry]


def test_what_belongs_to_no_release_is_no_release() -> None:
    book = Book()
    book.run("1-v1:ok")
    drill = Entry(time="t", event="drill done", release=None, image=None, data={"seconds": 7})
    assert record.releases([drill, *book.entries, drill]) == record.releases(book.entries)


def test_what_a_newer_relevo_writes_is_read_as_far_as_it_is_known() -> None:
    """After a git revert of Relevo itself the record has keys, events and data from the future."""
    book = Book()
    book.run("1-v1:ok")
    lines = []
    for entry in book.entries:
        line = {**json.loads(entry.after(b"")), "host": "desk"}
        line["data"] |= {"ticket": "X-1", "verdict": "succeeded"} if "opened" in entry.event else {"rows": 7}
        lines.append(json.dumps(line))
    lines.append(json.dumps({**json.loads(lines[-1]), "event": "release audited"}))
    (found,) = record.releases(record.parse("\n".join(lines).encode()))
    (expected,) = record.releases(book.entries)
    assert replace(found, done={}) == replace(expected, done={})
    assert found.done == {"migrate": {"applied": [], "rows": 7}}


def test_an_opening_that_lacks_what_a_release_is_known_by_is_one_line() -> None:
    book = Book()
    book.write("release opened", "1-v1", data={"version": "v1", "trigger": "t", "lock": "l"})
    with pytest.raises(TargetError) as caught:
        record.releases(book.entries)
    assert str(caught.value) == (
        "the record's opening of release 1-v1 has no responsible, previous_image, previous_version, but a "
        "release is known by them; use the version of Relevo that wrote it."
    )


@pytest.mark.parametrize(
    ("story", "placed", "applied", "nothing"),
    [
        ("", [], [], True),
        ("", [], ["a.1"], False),
        ("1-v1:fail", [], ["a.1", "a.2"], True),
        ("1-v1:fail", [], ["a.1"], True),
        ("1-v1:fail", [], ["a.1", "legacy.1"], False),
        ("1-v1:fail", ["instance-1"], ["a.1"], False),
        ("1-v1:fail", ["worker"], ["a.1"], False),
    ],
)
def test_nothing_runs_on_a_database_that_only_failed_releases_have_changed(
    story: str, placed: list[str], applied: list[str], nothing: bool
) -> None:
    book = Book()
    book.run(story)
    if story:
        book.write("step done", "1-v1", step="preflight", data={"pending": ["a.1", "a.2"]})
    for name in placed:
        book.write("step done", "1-v1", step=f"roll-{name}")
    assert record.nothing_runs(record.releases(book.entries), applied) is nothing


def test_entries_of_a_release_whose_opening_was_lost_are_passed_over() -> None:
    book = Book()
    book.write("step started", "1-v1", step="migrate")
    assert record.releases(book.entries) == []


def test_a_release_that_fails_is_resumed_and_succeeds() -> None:
    book = Book()
    book.open("1-v1")
    assert record.releases(book.entries)[0].verdict == "open"

    book.write("step started", "1-v1", step="preflight")
    book.write("step done", "1-v1", step="preflight", seconds=0.5, data={"pending": ["a.1"]})
    book.write("step started", "1-v1", step="migrate")
    book.write("step failed", "1-v1", step="migrate", seconds=1.5, error="no disk.")
    book.write("release failed", "1-v1")
    (failed,) = record.releases(book.entries)
    assert (failed.verdict, failed.failed_step, failed.error) == ("failed", "migrate", "no disk.")
    assert failed.closed_at == book.entries[-1].time
    assert failed.begun == ("preflight", "migrate")

    book.write("step started", "1-v1", step="migrate")
    (resumed,) = record.releases(book.entries)
    assert (resumed.verdict, resumed.failed_step, resumed.error) == ("open", None, None)
    assert resumed.closed_at is None

    book.write("step done", "1-v1", step="migrate", seconds=2.5)
    book.write("release succeeded", "1-v1")
    (done,) = record.releases(book.entries)
    assert (done.verdict, done.failed_step, done.error) == ("succeeded", None, None)
    assert done.begun == ("preflight", "migrate")
    assert done.done == {"preflight": {"pending": ["a.1"]}, "migrate": {}}
    assert done.seconds == {"preflight": 0.5, "migrate": 2.5}


def test_what_happens_after_a_success_does_not_undo_it() -> None:
    """A notification that is interrupted after the release has succeeded: the version serves all the same."""
    book = Book()
    (before,) = book.run("1-v1:ok")
    book.write("step started", "1-v1", step="notify")
    book.write("step failed", "1-v1", step="notify", error="interrupted.")
    book.write("release failed", "1-v1")
    (after,) = record.releases(book.entries)
    assert (after.verdict, after.closed_at, after.error) == ("succeeded", before.closed_at, None)
    assert after.begun == ("migrate", "notify")


@pytest.mark.parametrize(
    ("story", "last_good", "target"),
    [
        pytest.param("", None, None, id="nothing was ever released"),
        pytest.param("1-v1:open", None, None, id="the first one is under way"),
        pytest.param("1-v1:fail", None, None, id="the first one failed"),
        pytest.param("1-v1:ok", "1-v1", None, id="only one"),
        pytest.param("1-v1:ok 2-v2:ok", "2-v2", "1-v1", id="after a success"),
        pytest.param("1-v1:ok 2-v2:fail", "1-v1", "1-v1", id="after a failure"),
        pytest.param("1-v1:ok 2-v2:open", "1-v1", "1-v1", id="left half-way"),
        pytest.param("1-v1:fail 1-v1:again 2-v2:ok", "2-v2", "1-v1", id="failed, then resumed"),
        pytest.param("1-v1:ok 2-v2:ok 3-v2:ok", "3-v2", "1-v1", id="the same image twice"),
        pytest.param("1-v1:ok 2-v1:ok", "2-v1", None, id="only ever one image"),
        pytest.param("1-v1:ok 2-v2:ok 3-v2:fail", "2-v2", "1-v1", id="the same image again, failed"),
        pytest.param("1-v1:ok 2-v2:ok 3-v3:fail 4-v2:ok", "4-v2", "1-v1", id="went back after a failure"),
        pytest.param("1-v1:ok 2-v2:ok 3-v3:ok 4-v2:ok", "4-v2", "1-v1", id="went back once already"),
        pytest.param(
            "1-v1:ok 2-v2:ok 3-v3:ok 4-v2:ok 5-v1:ok", "5-v1", None, id="went back to the very first"
        ),
        pytest.param("1-v1:ok 2-v2:ok 3-v1:ok", "3-v1", None, id="nothing is older than what serves"),
        pytest.param("1-v1:ok 2-v2:ok 3-v1:ok 4-v3:ok", "4-v3", "3-v1", id="forward again after going back"),
        pytest.param(
            "1-v1:ok 2-v2:ok 3-v3:ok 4-v2:ok 5-v4:ok 6-v2:ok", "6-v2", "1-v1", id="went back twice to one"
        ),
    ],
)  # fmt: skip
def test_what_a_rollback_would_pin(story: str, last_good: str | None, target: str | None) -> None:
    known = Book().run(story)
    good, found = record.last_good(known), record.rollback_target(known)
    assert (good.id if good else None) == last_good
    assert (found.image if found else None) == (image(target.partition("-")[2]) if target else None)
    assert (found.id if found else None) == target


@pytest.mark.parametrize(
    ("story", "image_of", "kind"),
    [
        pytest.param("", "v1", "release", id="the first one"),
        pytest.param("1-v1:fail", "v1", "release", id="the first one again"),
        pytest.param("1-v1:ok", "v2", "release", id="forward"),
        pytest.param("1-v1:ok", "v1", "re-release", id="another configuration"),
        pytest.param("1-v1:ok 2-v2:fail", "v2", "release", id="tried again"),
        pytest.param("1-v1:ok 2-v2:fail", "v1", "recovery", id="back after a failure"),
        pytest.param("1-v1:ok 2-v2:open", "v1", "recovery", id="back after one that was killed"),
        pytest.param("1-v1:ok 2-v2:fail 3-v1:fail", "v1", "re-release", id="the recovery again"),
        pytest.param("1-v1:ok 2-v2:ok", "v1", "rollback", id="back after a success"),
        pytest.param("1-v1:ok 2-v2:ok 3-v3:fail", "v1", "rollback", id="further back after a failure"),
        pytest.param("1-v1:ok 2-v2:ok 3-v1:ok", "v2", "re-release", id="forward again"),
        pytest.param("1-v1:ok 2-v2:ok 3-v3:ok 4-v2:ok", "v1", "rollback", id="back twice"),
    ],
)
def test_what_kind_of_release_it_is(story: str, image_of: str, kind: str) -> None:
    assert record.kind(Book().run(story), image(image_of)) == kind


def test_the_kind_of_what_an_older_relevo_opened_follows_from_the_record() -> None:
    known = Book().run("1-v1:ok 2-v2:ok 3-v1:ok 4-v3:fail 5-v1:ok")
    assert [release.kind for release in known] == ["release", "release", "rollback", "release", "recovery"]


def test_what_can_be_gone_back_to_is_never_pruned() -> None:
    story = " ".join(f"{number}-v{number}:ok" for number in range(1, 14)) + " 14-v14:fail"
    known = Book().run(story)
    assert record.reachable_images(known) == {image(f"v{number}") for number in (*range(4, 14), 14)}
    found = record.rollback_target(known)
    assert found is not None
    assert found.image in record.reachable_images(known)


def test_what_has_migrated_since_the_last_good_release_is_kept_for_its_rewind() -> None:
    """Only they say what their migrations do. One that never began to migrate has none."""
    book = Book()
    book.run("1-v1:ok 2-v2:fail")
    book.open("3-v3")
    book.write("step failed", "3-v3", step="preflight", error="no.")
    book.write("release failed", "3-v3")
    book.open("4-v1")
    known = record.releases(book.entries)
    assert record.reachable_images(known) == {image("v1"), image("v2")}


@pytest.mark.parametrize("left", ["left_applied", "left_behind"])
def test_what_has_left_migrations_applied_is_kept_however_many_releases_later(left: str) -> None:
    book = Book()
    book.open("2-v2")
    book.write("step done", "2-v2", step="preflight", data={"pending": ["a.2"]})
    book.write("release succeeded", "2-v2")
    for number in range(3, 16):
        book.open(f"{number}-v{number}")
        book.write("step done", f"{number}-v{number}", step="rewind", data={left: ["a.2"]})
        book.write("release succeeded", f"{number}-v{number}")
    assert image("v2") in record.reachable_images(record.releases(book.entries))
    book.open("16-v16")
    book.write("release succeeded", "16-v16")
    assert image("v2") not in record.reachable_images(record.releases(book.entries))


def test_an_instance_that_a_release_was_taken_from_again_serves_what_it_was_given_back() -> None:
    """Until the release goes on, which has it served there again before anything else is done."""
    book = Book()

    def served() -> dict[str, str]:
        return {name: by.version for name, by in record.serving(record.releases(book.entries)).items()}

    book.open("1-v1")
    for name in ("instance-1", "instance-2"):
        book.write("step done", "1-v1", step=f"roll-{name}")
    book.open("2-v2")
    book.write("step done", "2-v2", step="roll-instance-1")
    assert served() == {"instance-1": "v2", "instance-2": "v1"}
    book.write("step failed", "2-v2", step="roll-instance-2", error="no.", data={"left": ["instance-1"]})
    assert served() == {"instance-1": "v1", "instance-2": "v1"}
    book.write("step done", "2-v2", step="roll-instance-2")
    assert served() == {"instance-1": "v2", "instance-2": "v2"}
    book.write("release succeeded", "2-v2")
    book.write("step failed", "2-v2", step="smoke", error="no.", data={"left": ["instance-2"]})
    assert served() == {"instance-1": "v2", "instance-2": "v1"}
    book.write("step done", "2-v2", step="smoke")
    assert served() == {"instance-1": "v2", "instance-2": "v2"}


@pytest.mark.parametrize("times", [1, 12])
def test_one_image_released_often_does_not_drive_out_the_way_back(times: int) -> None:
    story = "1-v1:ok " + " ".join(f"{number}-v2:ok" for number in range(2, 2 + times))
    known = Book().run(story)
    found = record.rollback_target(known)
    assert found is not None
    assert found.image == image("v1")
    assert image("v1") in record.reachable_images(known)


def test_the_backups_of_a_way_back_outlive_any_number_of_later_releases() -> None:
    book = Book()

    def take(name: str, pending: str = "", end: record.Event = "release succeeded") -> None:
        book.open(name)
        book.write("step done", name, step="preflight", data={"pending": pending.split()})
        book.write("step done", name, step="backup", data={"name": name})
        book.write(end, name)

    take("1-v1", "a.1")
    take("2-v2", "a.2", "release failed")  # never applied it
    take("3-v2", "a.2", "release failed")  # applied it, then failed: v3 goes on from there
    take("4-v3")
    for number in range(5, 20):
        take(f"{number}-v3")
    known = record.releases(book.entries)
    assert record.reachable_backups(known) == {"1-v1", "3-v2", "4-v3"}
    assert record.backup_without(known, ["a.2"]) == "3-v2"
    for number in range(20, 32):
        take(f"{number}-v{number}", f"a.{number}")
    kept = record.reachable_backups(record.releases(book.entries))
    assert kept == {f"{number}-v{number}" for number in range(22, 32)}, "no more than can be gone back"
    assert record.reachable_backups([]) == frozenset()
    book.write("step done", "31-v31", step="migrate", data={"backup": "31-v31-2"})
    assert "31-v31-2" in record.reachable_backups(record.releases(book.entries)), "instead of one too old"


@pytest.mark.parametrize(
    ("story", "migrations", "backup"),
    [
        pytest.param({"B1": "a.1", "B2": "a.2", "B3": ""}, "a.2", "B2", id="taken before it was applied"),
        pytest.param({"B1": "a.1", "B2": "a.2", "B3": "a.3"}, "a.2 a.3", "B2", id="before the first of them"),
        pytest.param(
            {"B1": "a.1", "B2": "a.2", "B3": "a.2"}, "a.2", "B3", id="the first try never applied it"
        ),
        pytest.param({"B1": "a.1"}, "a.2", None, id="applied by hand"),
        pytest.param({"B1": "a.1"}, "a.1 a.2", None, id="one of them applied by hand"),
        pytest.param({"B1": "a.1"}, "", None, id="no surplus"),
    ],
)
def test_which_backup_has_none_of_these_migrations(story, migrations: str, backup: str | None) -> None:
    book = Book()
    for name, pending in story.items():
        book.open(name)
        book.write("step done", name, step="preflight", data={"pending": pending.split()})
        book.write("step done", name, step="backup", data={"name": name})
    assert record.backup_without(record.releases(book.entries), migrations.split()) == backup


def test_a_release_that_took_no_backup_names_none() -> None:
    book = Book()
    book.open("1-v1")
    book.write("step done", "1-v1", step="preflight", data={"pending": ["a.1"]})
    assert record.backup_without(record.releases(book.entries), ["a.1"]) is None


def test_ids_are_unique_and_usable_as_file_names() -> None:
    taken: list[str] = []
    for _ in range(5):
        taken.append(record.new_id(NOON, "v2", taken))
    assert len(set(taken)) == 5
    assert taken[0] == "20261124T120000Z-v2"
    assert "/" not in record.new_id(NOON, "feature/ü x+1", [])
    assert ".." not in record.new_id(NOON, "../../etc", []).partition("-")[0]


def test_review_and_watch_are_due_after_the_success() -> None:
    (good,) = Book().run("1-v1:ok")
    assert good.closed_at == "2026-11-24T12:00:03+00:00"
    assert record.review_due(good, None) == "2026-11-25T12:00:03+00:00"
    assert record.watch_until(good, WATCH) == "2026-11-24T12:30:03+00:00"
    assert record.watch_until(good, None) is None


@pytest.mark.parametrize("story", ["1-v1:open", "1-v1:fail"])
def test_nothing_is_due_of_a_release_that_has_not_succeeded(story: str) -> None:
    (release,) = Book().run(story)
    assert record.review_due(release, None) is None
    assert record.watch_until(release, WATCH) is None
