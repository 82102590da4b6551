"""What a step knows, and how it refuses what it was not meant for."""

from __future__ import annotations

import json
import threading

import pytest

from components.release.context import SPEC, TARGET, Context, StepFailed
from components.target import Artefact
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import (
    OPERATIONS,
    StandInOperations,
    image,
    specification,
    target_json,
)

GOOD = specification("v1").to_json()


def test_a_step_is_described_by_two_variables(monkeypatch) -> None:
    monkeypatch.setenv(TARGET, target_json({"secrets": {"A": "b"}}))
    monkeypatch.setenv(SPEC, GOOD)
    known = Context.from_environment()
    assert (known.stack, known.spec) == ("local", specification("v1"))
    assert isinstance(known.operations, StandInOperations)
    assert known.operations.secret("A") == "b"


@pytest.mark.parametrize("given", [(), (TARGET,), (SPEC,)])
def test_without_them_it_names_what_is_missing(monkeypatch, given) -> None:
    for name in (TARGET, SPEC):
        monkeypatch.delenv(name, raising=False)
    for name in given:
        monkeypatch.setenv(name, "{}")
    with pytest.raises(StepFailed) as caught:
        Context.from_environment()
    missing = str(caught.value).partition(" missing")[0]
    assert missing.split(" and ") == [name for name in (TARGET, SPEC) if name not in given]


@pytest.mark.parametrize(
    ("target", "spec"),
    [
        ("", GOOD),
        ("[]", GOOD),
        ("{}", GOOD),
        (target_json(), ""),
        (target_json(), "{}"),
        (target_json(), json.dumps({**json.loads(GOOD), "unknown": 1})),
        (json.dumps({"stack": "s", "operations": OPERATIONS}), GOOD),
    ],
)
def test_a_description_that_is_none_is_one_line(target: str, spec: str) -> None:
    with pytest.raises(StepFailed) as caught:
        Context.load(target, spec)
    assert "does not describe a release" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spec_is_read_as_it_was_written() -> None:
    assert specification("v1").from_json(GOOD) == specification("v1")


def test_only_the_release_under_way_is_worked_on(operations: StandInOperations) -> None:
    first, release = opened(operations, "v1")
    assert first.current() == release
    opened(operations, "v2")
    with pytest.raises(StepFailed, match="under way, but this step is of another one"):
        first.current()


def test_another_description_of_the_same_image_is_not_the_release_under_way(operations) -> None:
    first, _ = opened(operations, "v1")
    opened(operations, "v1", collectstatic=False)
    with pytest.raises(StepFailed, match="run pulumi up"):
        first.current()


def test_what_ran_before_is_known_newest_first_and_each_once(operations: StandInOperations) -> None:
    for version in ("v1", "v2", "v1", "v3"):
        released(operations, version)
    made, _ = opened(operations, "v4")
    assert [known.manifest.version for known in made.earlier()[0]] == ["v3", "v1", "v2"]


def test_what_ran_before_is_read_together(operations: StandInOperations, monkeypatch) -> None:
    """A registry is asked for each, and a preview has 20 s for a history of years."""
    for version in ("v1", "v2", "v3"):
        released(operations, version)
    together, artefact = threading.Barrier(3, timeout=30), operations.artefact

    def slow(image: str) -> Artefact:
        together.wait()
        return artefact(image)

    made, _ = opened(operations, "v4")
    monkeypatch.setattr(operations, "artefact", slow)
    assert [known.manifest.version for known in made.earlier()[0]] == ["v3", "v2", "v1"]


def test_what_is_released_now_does_not_count_as_earlier(operations: StandInOperations) -> None:
    for version in ("v1", "v2"):
        released(operations, version)
    made, _ = opened(operations, "v1")
    assert [known.manifest.version for known in made.earlier()[0]] == ["v2"]


def test_what_is_not_kept_any_more_is_passed_over(operations: StandInOperations) -> None:
    for version in ("v1", "v2"):
        released(operations, version)
    made, _ = opened(operations, "v3")
    del operations.manifests[image("v2")]
    found, unread = made.earlier()
    assert [known.manifest.version for known in found] == ["v1"]
    assert unread is None
