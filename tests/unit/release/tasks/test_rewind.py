"""rewind: the direct way back is taken and said; else the newer artefact reverses what was decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from components.release import recorded_schema
from components.release.context import Context, StepFailed
from components.release.logbook import now
from components.release.record import Release
from components.release.running import perform
from components.release.tasks.backup import backup
from components.release.tasks.manage import migrate
from components.release.tasks.preflight import preflight
from components.release.tasks.rewind import rewind
from components.target import Completed
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import Killed, StandInOperations, image

INITIAL, ADDS, RENAME, FILL = (
    ("loans", name) for name in ("0001_initial", "0002_location", "0003_rename", "0004_fill")
)


def back_to(operations: StandInOperations, version: str) -> tuple[Context, Release]:
    """A release of the version that has come as far as its backup."""
    operations.backup("before", kept=())
    made, _ = opened(operations, version, backup_max_age_hours=1e6)
    perform(made, "preflight", preflight)
    perform(made, "backup", backup)
    operations.calls.clear()
    operations.managed.clear()
    return made, made.current()


def commands(operations: StandInOperations) -> list[tuple[str, str]]:
    """What was run, but for the text of the question to Django."""
    return [(by, words.partition(" -c ")[0]) for by, words in operations.managed]


def test_forward_there_is_nothing_to_rewind(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    made, release = back_to(operations, "v2")
    assert rewind(made, release) == {
        "left_applied": [],
        "left_behind": [],
        "reversed": [],
        "lost": [],
        "schema": ["loans.0001_initial"],
    }
    assert "nothing to rewind" in capsys.readouterr().out
    assert commands(operations) == []


def test_what_only_adds_stays_and_is_said_and_recorded(operations: StandInOperations, capsys) -> None:
    released(operations, "v1")
    released(operations, "v2")
    made, release = back_to(operations, "v1")
    found = rewind(made, release)
    assert (found["left_applied"], found["reversed"]) == (["loans.0002_location"], [])
    assert "left applied, they only add: loans.0002_location" in capsys.readouterr().out
    assert commands(operations) == []


def test_the_newer_artefact_reverses_what_the_older_cannot_live_with(operations, capsys) -> None:
    released(operations, "v1")
    released(operations, "v3")
    made, _ = back_to(operations, "v1")
    found = perform(made, "rewind", rewind)
    assert commands(operations) == [
        (image("v3"), "shell"),
        (image("v3"), "migrate loans 0002_location --noinput"),
    ]
    assert operations.applied == {INITIAL, ADDS}
    assert found["reversed"] == ["loans.0003_rename"]
    assert found["left_applied"] == ["loans.0002_location"]
    assert recorded_schema.applied(operations.entries()) == {INITIAL, ADDS}
    said = capsys.readouterr().out
    assert (
        "REWIND: v3 reverses loans.0003_rename (migrate loans 0002_location), and requests may fail" in said
    )


def test_what_has_come_back_empty_is_on_record(operations: StandInOperations) -> None:
    newer = operations.manifests[image("v3")]
    drops = replace(newer.migrations[-1], loses=("Remove field note from loan",))
    operations.manifests[image("v3")] = replace(newer, migrations=(*newer.migrations[:-1], drops))
    released(operations, "v1")
    released(operations, "v3")
    made, release = back_to(operations, "v1")
    assert rewind(made, release)["lost"] == ["loans.0003_rename"]


def test_what_a_failed_release_has_applied_is_reversed_as_well(operations: StandInOperations) -> None:
    """v3 migrated and then failed; the way back to v2 must know what v3 did."""
    released(operations, "v2")
    opened(operations, "v3")
    operations.applied.add(RENAME)
    made, release = back_to(operations, "v2")
    assert rewind(made, release)["reversed"] == ["loans.0003_rename"]


def test_an_interrupted_rewind_goes_on_and_the_record_names_all_that_was_reversed(operations) -> None:
    released(operations, "v2")
    released(operations, "v5")
    made, release = back_to(operations, "v2")

    def killed_in_the_middle(words: str) -> None:
        if words.startswith("migrate"):
            operations.applied.discard(FILL)
            raise Killed

    operations.before["manage"] = killed_in_the_middle
    with pytest.raises(Killed):
        rewind(made, release)
    assert operations.applied == {INITIAL, ADDS, RENAME}
    operations.start_again()
    assert perform(made, "rewind", rewind)["reversed"] == ["loans.0003_rename", "loans.0004_fill"]
    assert operations.applied == {INITIAL, ADDS}
    assert perform(made, "rewind", rewind)["reversed"] == ["loans.0003_rename", "loans.0004_fill"]
    ended = [words for _, words in operations.managed if words.startswith("migrate")]
    assert len(ended) == 1, "the killed one is not among them, and the last try had nothing to do"


def test_a_reverse_function_that_fails_is_told_with_what_is_reversed(operations: StandInOperations) -> None:
    released(operations, "v2")
    released(operations, "v5")
    made, _ = back_to(operations, "v2")
    operations.completed["migrate"] = Completed(status=1, output="ValueError: no way", seconds=0)

    def part_of_it(words: str) -> None:
        if words.startswith("migrate"):
            operations.applied.discard(FILL)

    operations.before["manage"] = part_of_it
    with pytest.raises(
        StepFailed, match=r"migrate loans 0002_location of v5 exited 1 \(ValueError: no way\)"
    ) as no:
        perform(made, "rewind", rewind)
    assert "reversed is loans.0004_fill;" in str(no.value)
    assert no.value.data["reversed"] == ["loans.0004_fill"]
    assert recorded_schema.applied(operations.entries()) == {INITIAL, ADDS, RENAME}
    operations.start_again()
    operations.completed.clear()
    assert perform(made, "rewind", rewind)["reversed"] == ["loans.0003_rename", "loans.0004_fill"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(
            lambda stands: stands.lasting.add(RENAME), "cannot reverse loans.0003_rename", id="lasting"
        ),
        pytest.param(
            lambda stands: stands.completed.update(
                shell=Completed(status=0, seconds=0, output='{"unapplied": [["loans.0002_location", true]]}')
            ),
            "would reverse loans.0002_location, but loans.0003_rename was decided",
            id="another plan",
        ),
        pytest.param(
            lambda stands: stands.completed.update(
                shell=Completed(status=1, seconds=0, output="ImportError: x")
            ),
            r"plan in v3 cannot be read \(ImportError: x\)",
            id="no plan",
        ),
    ],
)
def test_where_django_does_not_agree_nothing_is_changed(
    operations: StandInOperations, spoil, said: str
) -> None:
    released(operations, "v2")
    released(operations, "v3")
    made, release = back_to(operations, "v2")
    spoil(operations)
    with pytest.raises(StepFailed, match=said):
        rewind(made, release)
    assert operations.applied == {INITIAL, ADDS, RENAME}
    assert commands(operations) == [(image("v3"), "shell")]


def test_without_a_verified_backup_of_this_release_nothing_is_reversed(operations: StandInOperations) -> None:
    released(operations, "v2")
    released(operations, "v3")
    made, release = opened(operations, "v2")
    with pytest.raises(StepFailed, match="no verified backup of release"):
        rewind(made, release)
    assert operations.managed == []


@pytest.mark.parametrize(("minutes", "taken"), [(5, 0), (61, 1)])
def test_a_release_that_goes_on_later_takes_another_backup_before_it_reverses(
    operations: StandInOperations, minutes: int, taken: int
) -> None:
    released(operations, "v2")
    released(operations, "v3")
    made, release = back_to(operations, "v2")
    at = now() - timedelta(minutes=minutes)
    data = {**release.done["backup"], "taken_at": at.isoformat(timespec="seconds")}
    made.write("step done", release.id, step="backup", data=data)
    found = rewind(made, made.current())
    assert found["reversed"] == ["loans.0003_rename"]
    assert [name for _, name in operations.acted("backup")] == ([found["backup"]] if taken else [])
    # what a restore takes, if it names none
    assert made.current().done["backup"]["name"] == (found["backup"] if taken else release.id)


def test_a_backup_that_is_taken_in_the_middle_of_a_rewind_is_not_the_one_of_before(operations) -> None:
    released(operations, "v2")
    released(operations, "v5")
    made, release = back_to(operations, "v2")
    data = {**release.done["backup"], "taken_at": (now() - timedelta(hours=2)).isoformat()}
    made.write("step done", release.id, step="backup", data=data)
    operations.applied.discard(FILL)
    found = rewind(made, made.current())
    assert found["backup"] != release.id
    assert made.current().done["backup"]["name"] == release.id


def test_what_somebody_else_applies_meanwhile_is_noticed(operations: StandInOperations) -> None:
    released(operations, "v2")
    released(operations, "v3")
    made, release = back_to(operations, "v2")
    real = operations.manage

    def manage(image: str, arguments, **about):
        done = real(image, arguments, **about)
        operations.applied.add(RENAME)
        return done

    operations.manage = manage
    with pytest.raises(StepFailed, match="the database still has more than v2 can live with"):
        rewind(made, release)


def test_what_cannot_be_reversed_is_refused_and_nothing_changes(operations: StandInOperations) -> None:
    released(operations, "v2")
    released(operations, "v4")
    before = operations.applied.copy()
    made, release = opened(operations, "v2")
    with pytest.raises(
        StepFailed, match=r"v2 does not know \(loans.0004_drop\), of which loans.0004_drop cannot"
    ):
        rewind(made, release)
    assert operations.applied == before
    assert operations.acted("manage") == []


def test_an_artefact_that_is_not_kept_any_more_makes_its_migrations_unknown(operations) -> None:
    released(operations, "v1")
    released(operations, "v2")
    del operations.manifests[image("v2")]
    made, release = opened(operations, "v1")
    with pytest.raises(StepFailed, match="in no artefact that is kept"):
        rewind(made, release)


def test_the_backup_that_is_named_was_taken_before_that_release(operations: StandInOperations) -> None:
    """The newest backup is of this release, and already has what is to be got rid of."""
    released(operations, "v2")
    made, third = opened(operations, "v4", accept_incompatible="v4", backup_max_age_hours=1e6)
    operations.backup("before", kept=())
    perform(made, "preflight", preflight)
    perform(made, "backup", backup)
    perform(made, "migrate", migrate)
    made.write("release succeeded", third.id)
    made, release = opened(operations, "v2")
    perform(made, "backup", backup)
    with pytest.raises(StepFailed, match=rf"restore the backup {third.id} with relevo restore \(rows"):
        rewind(made, release)
