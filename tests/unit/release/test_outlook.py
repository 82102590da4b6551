"""What a preview tells of the schema: from the record and the artefacts, without asking the database."""

from __future__ import annotations

import pytest

from components.release import outlook, record
from components.release.running import perform
from components.release.tasks.manage import migrate
from components.release.tasks.preflight import preflight
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import Killed, StandInOperations, context, image, specification, target_json


def released(operations: StandInOperations, version: str) -> None:
    operations.backup("before", kept=())
    made, release = opened(operations, version, accept_incompatible=version, backup_max_age_hours=1e6)
    perform(made, "preflight", preflight)
    perform(made, "migrate", migrate)
    made.write("release succeeded", release.id)


def told(operations: StandInOperations, version: str) -> str:
    operations.calls.clear()
    found = outlook.of(context(operations, specification(version)))
    asked = {call[0] for call in operations.calls}
    assert asked <= {"artefact"}, "nothing is started, and the database is not asked"
    return str(found)


def test_back_and_forth(operations: StandInOperations) -> None:
    assert "migrate applies loans.0001_initial (additive)" in told(operations, "v1")
    released(operations, "v1")
    assert told(operations, "v3").splitlines() == [
        "schema: nothing to rewind: the artefact knows every applied migration",
        "schema: migrate applies loans.0002_location (additive)",
        "schema: migrate applies loans.0003_rename (breaking)",
    ]
    released(operations, "v3")
    assert told(operations, "v1").splitlines() == [
        "schema: REWIND: v3 reverses loans.0003_rename (migrate loans 0002_location), and requests may fail "
        "from then until the last instance is replaced",
        "schema: left applied, they only add: loans.0002_location",
        "schema: nothing to migrate",
    ]


def test_a_refusal_is_told_as_one(operations: StandInOperations) -> None:
    released(operations, "v4")
    found = outlook.of(context(operations, specification("v2")))
    assert found is not None
    assert found.refused
    assert "REFUSED: the database has migrations that v2 does not know (loans.0004_drop)" in str(found)


def test_where_nothing_will_run_nothing_is_told(operations: StandInOperations) -> None:
    made, release = opened(operations, "v1")
    made.write("release succeeded", release.id)
    assert outlook.of(made) is None


@pytest.mark.parametrize("killed", [True, False], ids=["migrate was killed", "an old record"])
def test_what_the_record_does_not_tell_is_not_guessed(operations: StandInOperations, killed: bool) -> None:
    if killed:
        released(operations, "v1")
        made, _ = opened(operations, "v3")
        operations.kill_at("manage")
        with pytest.raises(Killed):
            perform(made, "migrate", migrate)
        operations.start_again()
    else:
        opened(operations, "v1")
    assert "not known before preflight: the record does not say what is applied" in told(operations, "v2")


def test_what_cannot_be_read_is_told_and_fails_nothing() -> None:
    found = outlook.in_time(target_json({"manifests": {}}), specification("v1").to_json())
    assert f"not known before preflight: {image('v1')} is not in the store" in str(found)


def test_a_record_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(outlook, "PATIENCE", 0.01)
    never = threading.Event()
    monkeypatch.setattr(outlook, "of", lambda _: never.wait(5))
    said = str(outlook.in_time(target_json(), specification("v1").to_json()))
    assert "record or registry did not answer in" in said
    never.set()


def test_artefacts_whose_migrations_nobody_else_knows_are_kept(operations: StandInOperations) -> None:
    """v3 has begun to migrate and failed; then others were tried and did not get as far."""
    released(operations, "v2")
    made, third = opened(operations, "v3", accept_incompatible="v3", backup_max_age_hours=1e6)
    perform(made, "preflight", preflight)
    perform(made, "migrate", migrate)
    made.write("release failed", third.id)
    opened(operations, "v5")
    opened(operations, "v4")
    kept = record.reachable_images(record.releases(operations.entries()))
    assert image("v3") in kept
    assert image("v5") not in kept
