"""Opening a record: an id for each release, the same one only for an `up` that was killed at this step."""

from __future__ import annotations

import pytest

from components.release.context import StepFailed
from components.release.running import perform
from components.release.tasks.open_record import open_record
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import Killed, StandInOperations, context, image, specification


def test_the_record_says_who_releases_what_over_what(operations: StandInOperations) -> None:
    _, first = released(operations, "v1")
    assert (first.previous_image, first.previous_version) == (None, None)

    _, second = opened(operations, "v2", responsible="Grace")
    assert (second.version, second.image, second.responsible) == ("v2", image("v2"), "Grace")
    assert (second.previous_image, second.previous_version) == (image("v1"), "v1")
    assert second.lock == operations.manifests[image("v2")].lock
    assert second.verdict == "open"
    assert "open-record" in second.done


def test_what_failed_is_not_what_was_before(operations: StandInOperations) -> None:
    released(operations, "v1")
    failed, _ = opened(operations, "v2")
    with pytest.raises(StepFailed):
        perform(failed, "check", lambda *_: {}["red"])
    _, third = opened(operations, "v3")
    assert third.previous_version == "v1"


def test_the_id_is_printed_since_later_steps_are_triggered_by_it(operations, capsys) -> None:
    _, release = opened(operations)
    assert capsys.readouterr().out == f"release {release.id}: nothing → v1, by Ada\n"


def test_every_opening_has_an_id_of_its_own(operations: StandInOperations) -> None:
    """v1, then v2, then v1 again within a second: each is a release that runs every step."""
    ids = [released(operations, version)[1].id for version in ("v1", "v2", "v1", "v1")]
    assert len(set(ids)) == 4


def test_an_up_that_was_killed_before_the_engine_knew_goes_on_with_the_same_id(operations) -> None:
    _, first = opened(operations)
    _, again = opened(operations)
    assert again.id == first.id
    assert [entry.event for entry in operations.entries()].count("release opened") == 1


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_kill_in_the_middle_of_opening_then_again(operations: StandInOperations, writes: int) -> None:
    made = context(operations, specification("v1"))
    seen = []

    def die(*_) -> None:
        seen.append(1)
        if len(seen) > writes:
            operations.kill_at("append_record")
            operations.before["append_record"]()

    operations.before["append_record"] = die
    with pytest.raises(Killed):
        open_record(made)
    operations.start_again()
    open_record(made)
    assert [entry.event for entry in operations.entries()].count("release opened") == 1
    assert made.current().verdict == "open"


@pytest.mark.parametrize("end", ["done", "failed", "succeeded", "killed"])
def test_a_release_that_has_gone_further_is_not_reused(operations: StandInOperations, end: str) -> None:
    made, first = opened(operations)
    if end == "succeeded":
        made.write("release succeeded", first.id)
    elif end == "failed":
        with pytest.raises(StepFailed):
            perform(made, "preflight", lambda *_: {}["red"])
    elif end == "done":
        perform(made, "preflight", lambda *_: {})
    else:
        made.write("step started", first.id, step="preflight")
    _, again = opened(operations)
    assert again.id != first.id


def test_another_description_of_the_same_image_is_another_release(operations: StandInOperations) -> None:
    _, first = opened(operations)
    _, again = opened(operations, "v1", collectstatic=False)
    assert again.id != first.id


def test_an_artefact_that_is_not_there_fails_on_record(operations: StandInOperations) -> None:
    """Somebody pinned it and ran `up`: the record says so, with the digest for want of a version."""
    _, good = released(operations, "v1")
    with pytest.raises(StepFailed, match="not in the store"):
        opened(operations, "v9")
    failed = context(operations, specification("v9")).current()
    assert (failed.verdict, failed.failed_step) == ("failed", "open-record")
    assert image("v9").partition(":")[2].startswith(failed.version)
    assert failed.previous_version == good.version


def test_another_preview_than_the_approved_one_is_refused_on_record(operations, monkeypatch) -> None:
    made = context(operations, specification("v1"))
    monkeypatch.setenv("RELEVO_APPROVED_PREVIEW", "f" * 64)
    with pytest.raises(StepFailed) as caught:
        open_record(made)
    assert str(caught.value) == (
        f"RELEVO_APPROVED_PREVIEW is {'f' * 64}, but this release is {made.trigger}; have its preview "
        f"approved, and give the digest that it shows."
    )
    (refused,) = operations.entries()
    assert (refused.event, refused.error) == ("attempt refused", str(caught.value))
    assert (refused.data["responsible"], refused.data["approved"]) == ("Ada", "f" * 64)
    assert made.releases() == []

    monkeypatch.setenv("RELEVO_APPROVED_PREVIEW", made.trigger)
    open_record(made)
    assert made.current().approved == made.trigger


def test_the_record_has_when_a_rollback_was_asked_for(operations, monkeypatch) -> None:
    released(operations, "v1")
    released(operations, "v2")
    monkeypatch.setenv("RELEVO_DECIDED_AT", "2026-11-24T12:00:00+01:00")
    _, release = opened(operations, "v1")
    assert (release.kind, release.decided_at) == ("rollback", "2026-11-24T12:00:00+01:00")


@pytest.mark.parametrize("said", ["yesterday", "2026-11-24T12:00:00", "2999-01-01T00:00:00+00:00"])
def test_a_time_that_cannot_be_counted_from_is_refused(operations, monkeypatch, said: str) -> None:
    monkeypatch.setenv("RELEVO_DECIDED_AT", said)
    with pytest.raises(StepFailed, match=r"^RELEVO_DECIDED_AT is .*, but a past time with its zone"):
        opened(operations, "v1")
    assert operations.entries() == []


def test_a_step_of_another_release_is_refused_on_record(operations: StandInOperations) -> None:
    """Two `up` with backends of their own: the later one goes on, the earlier one says why it stops."""
    first, _ = opened(operations, "v1")
    _, second = opened(operations, "v2")
    with pytest.raises(StepFailed, match="this step is of another one"):
        perform(first, "preflight", lambda *_: {})
    refused = operations.entries()[-1]
    assert (refused.event, refused.step, refused.release) == ("attempt refused", "preflight", None)
    assert first.releases()[-1] == second


def test_the_record_has_the_run_and_the_git_identity(operations, monkeypatch, tmp_path) -> None:
    for name, value in {
        "GITHUB_ACTOR": "octocat",
        "GITHUB_RUN_ID": "7",
        "GITHUB_REPOSITORY": "team/site",
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    monkeypatch.chdir(tmp_path)  # in no checkout
    (tmp_path / "gitconfig").write_text("[user]\nname = Ada Byron\nemail = ada@site.example\n")
    _, release = opened(operations, "v1", responsible=None)
    assert release.responsible == "octocat"
    assert release.identity["ci_run"] == "https://github.com/team/site/actions/runs/7"
    assert release.identity["git"] == "Ada Byron <ada@site.example>"


def test_the_ci_actor_is_responsible_where_nobody_is_named(operations, monkeypatch) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    _, release = opened(operations, "v1", responsible=None)
    assert release.responsible == "octocat"


def test_without_ci_and_git_identity_the_user_of_the_machine_is(operations, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("GITHUB_ACTOR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    monkeypatch.setenv("LOGNAME", "ada")
    _, release = opened(operations, "v1", responsible=None)
    assert release.responsible == "ada"
