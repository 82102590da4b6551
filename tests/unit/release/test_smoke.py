"""The verification as a resource: it runs once for each release, and fails it with one line."""

from __future__ import annotations

import traceback
from dataclasses import replace

import pytest

from components.release.context import StepFailed
from components.release.record import Release
from components.release.scenario import parse
from components.release.smoke import SmokeProvider, why_run
from components.release.tasks.open_record import open_record
from tests.unit.release.conftest import opened
from tests.unit.release.stand_in import (
    SECRET,
    Answer,
    StandInOperations,
    context,
    image,
    manifest,
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
    spec = specification("v1", scenario=SCENARIO, secrets=["SECRET_KEY"])
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
    made, _ = opened(operations, "v2")
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
    here = context(operations, specification(version, scenario=text, secrets=["SECRET_KEY"]))
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
