"""The verification as a resource: it runs once for each release, and fails it with one line."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable
from dataclasses import replace

import pytest

from components.release import smoke as smoke_step
from components.release.context import StepFailed
from components.release.record import Release
from components.release.running import perform
from components.release.scenario import parse
from components.release.smoke import ANSWERS, SmokeProvider, smoke, why_run
from components.release.spec import Limits
from components.release.tasks.open_record import open_record
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import (
    SECRET,
    Answer,
    Asked,
    StandInOperations,
    context,
    image,
    manifest,
    probe,
    serving,
    specification,
    target_json,
)

SCENARIO = """
steps:
  - {name: opens, request: {path: /}, expect: {status: 200}}
  - name: logs in
    request: {method: POST, path: /login/, json: {password: "{secret.SECRET_KEY}"}}
    expect: {status: 200}
"""


@pytest.fixture
def props(operations: StandInOperations, monkeypatch):
    """The inputs of the resource, for a release of v1 that has just been opened."""
    monkeypatch.setattr("components.release.context.load_operations", lambda *_: operations)
    spec = specification("v1", scenario=SCENARIO, secrets=["SECRET_KEY"], probe=probe(release_header=None))
    open_record(context(operations, spec))
    return {"release": "release 1", "target": target_json(), "spec": spec.to_json(), "requests": None}


def public(operations: StandInOperations, monkeypatch, url: str) -> None:
    monkeypatch.setattr(type(operations), "public_url", url)


@pytest.mark.parametrize("call", ["create", "update"])
def test_every_request_is_an_output_and_in_the_record(operations, props, monkeypatch, call: str) -> None:
    provider = SmokeProvider()
    with serving(lambda _: Answer()) as site:
        public(operations, monkeypatch, site.url)
        outs = provider.create(props).outs if call == "create" else provider.update("smoke", {}, props).outs
    assert outs is not None
    assert [line.partition(" in ")[0] for line in outs["requests"]] == ["200", "200"]
    assert [line.rpartition(": ")[2] for line in outs["requests"]] == ["opens", "logs in"]
    assert {name: outs[name] for name in ("release", "target", "spec")} == {
        name: props[name] for name in ("release", "target", "spec")
    }
    assert site.paths == ["GET /", "POST /login/"]
    assert site.asked[1].json == {"password": SECRET}
    done = operations.entries()[-1]
    assert (done.event, done.step) == ("step done", "smoke")
    assert [request["status"] for request in done.data["requests"]] == [200, 200]
    assert SECRET not in str(outs)


def test_what_fails_is_one_line_and_recorded_without_secrets(operations, props, monkeypatch) -> None:
    with serving(lambda asked: Answer(status=500 if asked.body else 200, body=f"no {SECRET}")) as site:
        public(operations, monkeypatch, site.url)
        with pytest.raises(StepFailed) as caught:
            SmokeProvider().create(props)
    assert "\n" not in str(caught.value)
    assert '"logs in" POST /login/: status is 500, but expected 200' in str(caught.value)
    failed = next(entry for entry in operations.entries() if entry.event == "step failed")
    assert [request["fault"] is None for request in failed.data["requests"]] == [True, False]
    assert SECRET not in str(caught.value) + operations.read_record().decode()
    assert "release failed" in [entry.event for entry in operations.entries()]


def test_the_expected_fault_brings_no_traceback_into_the_display(operations, props, monkeypatch) -> None:
    with serving(lambda _: Answer(status=500)) as site:
        public(operations, monkeypatch, site.url)
        with pytest.raises(StepFailed) as caught:
            SmokeProvider().create(props)
    assert len(traceback.format_exception(caught.value)) == 1


def test_without_a_scenario_nothing_is_asked(operations: StandInOperations, props, monkeypatch) -> None:
    made, _ = opened(operations, "v2", probe=probe(release_header=None))
    outs = SmokeProvider().create({**props, "spec": made.spec.to_json()}).outs
    assert outs is not None
    assert outs["requests"] == []
    assert operations.entries()[-1].event == "step done"


def test_it_belongs_to_the_release_under_way(operations: StandInOperations, props) -> None:
    opened(operations, "v2")
    with pytest.raises(StepFailed, match="run pulumi up"):
        SmokeProvider().create(props)


@pytest.mark.parametrize("changed", ["release", "target", "spec"])
def test_another_release_runs_it_again(props, changed: str) -> None:
    olds = {**props, "requests": ["200 in 3 ms: opens"]}
    assert SmokeProvider().diff("smoke", olds, {**props, changed: "another"}).changes is True


def test_the_same_release_does_not(props) -> None:
    olds = {**props, "requests": ["200 in 3 ms: opens"]}
    assert SmokeProvider().diff("smoke", olds, props).changes is False


def test_what_was_verified_is_never_undone(operations: StandInOperations, props) -> None:
    before = operations.read_record()
    SmokeProvider().delete("smoke", props)
    assert operations.read_record() == before


# -- who answers the public --------------------------------------------------------------------------------
def says(version: str, instance: str = "instance-1", status: int = 200) -> Answer:
    return Answer(status=status, headers={"X-Release": version, "X-Instance": instance})


@pytest.fixture
def answered(operations: StandInOperations, monkeypatch) -> Callable[..., list[str]]:
    """The smoke of v2 against a public address that gives these answers in turn, the last one for ever.

    Returns what was done and asked. The scenario is one request, for "/".
    """

    def run(*answers: Answer, **changes) -> list[str]:
        turn = itertools.chain(answers, itertools.repeat(answers[-1]))
        done: list[str] = []
        operations.before["retire"] = lambda: done.append("retire")

        def answer(asked: Asked) -> Answer:
            done.append(f"{asked.method} {asked.path}")
            return next(turn)

        monkeypatch.setattr(smoke_step, "BETWEEN", 0.001)
        with serving(answer) as site:
            public(operations, monkeypatch, f"{site.url}/")
            scenario = "steps: [{name: opens, request: {path: /}}]"
            limits = Limits(drain_seconds=0.3, ready_seconds=0.3, command_seconds=1)
            made, _ = opened(operations, "v2", scenario=scenario, limits=limits, **changes)
            perform(made, "smoke", smoke)
        return done

    return run


def test_what_the_stack_has_no_more_is_out_of_rotation_before_the_public_is_asked(answered) -> None:
    assert answered(says("v2")) == ["retire", *["GET /healthz/"] * ANSWERS, "GET /"]


@pytest.mark.parametrize(
    "other", [says("v1"), says("v2", "instance-3"), says("v2", status=502), Answer()], ids=str
)
def test_the_scenario_waits_until_this_release_alone_has_answered_the_public(answered, other: Answer) -> None:
    """An edge that is everywhere learns of a change bit by bit."""
    before = [says("v2")] * 4 + [other] + [says("v2", "instance-2")] * 5 + [other]
    assert answered(*before, says("v2")) == [
        "retire",
        *["GET /healthz/"] * (len(before) + ANSWERS),
        "GET /",
    ]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (says("v1", "instance-3"), "is still answered by v1 of instance-3 after 0.3 s"),
        (Answer(), "is still answered by no version of no instance after"),
        (Answer(status=502), "is not answered well (/healthz/ answers 502, but expected 200) after"),
    ],
    ids=str,
)
def test_a_release_fails_while_something_else_answers_the_public(answered, other: Answer, told: str) -> None:
    with pytest.raises(StepFailed) as caught:
        answered(other)
    assert str(caught.value).startswith(f"the public address {told}")
    assert "but only v2 of instance-1, instance-2 may answer; see" in str(caught.value)


def test_a_project_that_names_no_instance_is_asked_for_its_version(answered) -> None:
    answer = Answer(headers={"X-Release": "v2"})
    asked = answered(answer, probe=probe(instance_header=None))
    assert asked.count("GET /healthz/") == ANSWERS


# -- checks ------------------------------------------------------------------------------------------------
CHECKED = """
steps: [{name: opens, request: {path: /}}]
checks:
  - name: import
    paths: [imports]
    steps: [{name: imports, request: {path: /import/}}]
"""


def released(operations: StandInOperations, monkeypatch, version: str, text: str, **folders: str) -> Release:
    """A release of this version, by its open record and its smoke alone."""
    operations.manifests[image(version)] = replace(manifest(version), folders=folders)
    silent = probe(release_header=None)
    here = context(operations, specification(version, scenario=text, secrets=["SECRET_KEY"], probe=silent))
    open_record(here)
    monkeypatch.setattr("components.release.context.load_operations", lambda *_: operations)
    props = {"release": version, "target": target_json(), "spec": here.spec.to_json()}
    outs = SmokeProvider().create(props).outs
    assert outs is not None
    here.write("release succeeded", here.current().id)
    return here.releases()[-1]


def test_a_check_runs_once_for_all_instances_when_the_release_touches_it(operations, monkeypatch) -> None:
    def why(version: str, text: str = CHECKED, **folders: str) -> tuple[bool, str]:
        """Whether the release asked it, and what is recorded of it."""
        site.asked.clear()
        (told,) = released(operations, monkeypatch, version, text, **folders).done["smoke"]["checks"]
        assert (told["name"], told["run"]) == ("import", "GET /import/" in site.paths)
        return told["run"], told["why"]

    with serving(lambda _: Answer()) as site:
        public(operations, monkeypatch, site.url)
        released(operations, monkeypatch, "v1", "steps: [{name: opens, request: {path: /}}]", imports="1")
        assert why("v2", imports="1") == (True, "v1 was released without it")
        assert why("v3", imports="1", loans="2") == (False, "nothing that it is about has changed")
        assert why("v4", imports="2", loans="2") == (True, "imports differs from v3")
        other = CHECKED.replace("/import/}", "/import/}, expect: {status: 200}")
        assert why("v5", other, imports="2") == (True, "v4 was released without it")
        here = context(operations, specification("v6", scenario=other, checks="always"))
        check = parse(other, "smoke.yaml").checks[0]
        release = here.releases()[-1]
        assert why_run(here, release, parse(other, "smoke.yaml"), check) == "it always runs"
        always = other.replace("paths: [imports]", "when: always")
        assert why("v6", always, imports="2") == (True, "it always runs")
        del operations.manifests[image("v6")]
        assert why("v7", other, imports="2") == (True, "the artefact of v6 cannot be read")


def test_a_check_that_fails_fails_the_release_and_says_in_the_record_why_it_ran(
    operations, monkeypatch
) -> None:
    with serving(lambda asked: Answer(status=500 if asked.path == "/import/" else 200)) as site:
        public(operations, monkeypatch, site.url)
        with pytest.raises(StepFailed, match='import: "imports" GET /import/: status is 500'):
            released(operations, monkeypatch, "v1", CHECKED, imports="1")
    failed = next(entry for entry in operations.entries() if entry.event == "step failed")
    assert failed.data["checks"][0]["why"] == "nothing served before"
    assert [request["name"] for request in failed.data["requests"]] == ["opens", "imports"]
