"""The smoke language: a scenario that would check nothing, or fail on its own fault, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.release.scenario import ScenarioError, parse

ROOT = Path(__file__).parents[3]
ONE = "steps: [{name: one, request: {path: /}"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("steps: [", "not YAML", "correct it"),
        ("", "the file", "dictionary"),
        ("- a\n", "the file", "dictionary"),
        ("steps: []", "steps is", "at least 1"),
        ("stepz: []\nsteps: [{name: one, request: {path: /}}]", "stepz", "Extra inputs"),
        ("steps: [{request: {path: /}}]", "steps[0].name", "required"),
        ("steps: [{name: one}]", "steps[0].request", "required"),
        ("steps: [{name: one, request: {path: api}}]", "steps[0].request.path", "pattern"),
        ("steps: [{name: one, request: {path: /, method: get}}]", "steps[0].request.method", "pattern"),
        ("steps: [{name: one, request: {path: /, body: x}}]", "steps[0].request.body", "Extra inputs"),
        ("steps: [{name: one, request: {path: /, json: {}, form: {}}}]", "steps[0].request", "exclude"),
        (ONE + ", expect: {status: 99}}]", "steps[0].expect.status", "greater than or equal to 100"),
        (ONE + ", expect: {status: '200'}}]", "steps[0].expect.status", "valid integer"),
        (ONE + ", expect: {status: [200, 600]}}]", "steps[0].expect.status[1]", "less than or equal to 599"),
        (ONE + ", expect: {status: []}}]", "steps[0].expect.status", "at least 1"),
        (ONE + ", expect: {within: 2 seconds}}]", "steps[0].expect.within", "pattern"),
        (ONE + ", expect: {json: {'$.[': 1}}}]", "steps[0].expect.json", "not a JSONPath"),
        (ONE + ", expect: {json: {'$.x': {count_at_least: -1}}}}]", "steps[0].expect.json", "whole number"),
        (ONE + ", expect: {json: {'$.x': {contains: a, count_at_least: 1}}}}]", "expect.json", "exactly one"),
        (ONE + ", expect: {text: {contians: x}}}]", "steps[0].expect.text", "required"),
        (ONE + ", capture: {Loan: $.id}}]", "steps[0].capture.Loan", "pattern"),
        (ONE + ", capture: {loan: '$.['}}]", "steps[0].capture.loan", "not a JSONPath"),
        (ONE + ", retry: 10s}]", "steps[0].retry", "dictionary"),
        (ONE + "}]\ncleanup: [{name: two}]", "cleanup[0].request", "required"),
        (ONE + "}]\nvariables: {a: [1]}", "variables.a", "valid"),
        ("steps: [{name: one, request: {path: /, json: {at: 2026-01-01}}}]", "request.json", "valid"),
        ("steps: [{name: one, request: {path: '/{loan}'}}]", 'steps[0] "one" uses {loan}', "capture it"),
        (ONE + ", expect: {json: {$.id: '{loan}'}}}]", 'steps[0] "one" uses {loan}', "capture it"),
        (ONE + ", capture: {loan: $.id}}]\nheaders: {X: '{loan}'}", "headers.X uses {loan}", "variables"),
        ("variables: {a: '{b}', b: c}\n" + ONE + "}]", "variables.a uses {b}", "variables"),
        ("steps: [{name: one, request: {path: '/{run.ip}'}}]", "uses {run.ip}", "capture it"),
    ],
)
def test_a_scenario_that_is_none_is_refused_with_its_place(text: str, place: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "smoke.yaml")
    line = str(caught.value)
    assert line.startswith("smoke.yaml")
    assert place in line
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "path",
    ["examples/prestamos/smoke.yaml", "tests/e2e/sites/bare/smoke.yaml", "tests/e2e/sites/other/smoke.yaml"],
)
def test_the_scenarios_of_the_sites_are_accepted(path: str) -> None:
    assert parse((ROOT / path).read_text(), path).steps


def test_the_page_about_the_language_shows_a_scenario_that_is_accepted() -> None:
    page = (ROOT / "docs/smoke.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    found = parse(example, "docs/smoke.md")
    assert found.secrets() == {"SMOKE_PASSWORD"}
    assert found.cleanup


def test_secrets_are_known_by_name_wherever_they_stand() -> None:
    found = parse(
        """
        variables: {a: "{secret.A}"}
        headers: {X-Key: "{secret.B}"}
        steps:
          - {name: one, request: {path: "/{secret.C}"}, expect: {text: {contains: "{secret.D}"}}}
        cleanup:
          - {name: two, request: {path: /, form: {key: "{secret.E}"}}}
        """,
        "smoke.yaml",
    )
    assert found.secrets() == {"A", "B", "C", "D", "E"}


def test_the_read_part_is_what_reads_and_needs_nothing_that_a_write_has_captured() -> None:
    found = parse(
        """
        variables: {user: smoke}
        steps:
          - {name: docs, request: {path: /docs/}}
          - {name: log in, request: {method: POST, path: /token/}, capture: {token: $.access}, reads: true}
          - {name: assign, request: {method: POST, path: /loans/}, capture: {loan: $.id}}
          - {name: list, request: {path: /loans/, headers: {Authorization: "{token} {user} {run.id}"}}}
          - {name: the loan, request: {path: "/loans/{loan}/"}, capture: {owner: $.owner}}
          - {name: the owner, request: {path: "/people/{owner}/"}}
          - {name: expects the loan, request: {path: /last/}, expect: {json: {$.id: "{loan}"}}}
          - {name: a GET that writes, request: {path: /reset/}, reads: false}
        cleanup:
          - {name: tidy, request: {method: DELETE, path: /loans/smoke/}}
        """,
        "smoke.yaml",
    )
    part = found.of(found.read_part())
    assert [step.name for step in part.steps] == ["docs", "log in", "list"]
    assert part.cleanup == []
    assert parse(part.to_text(), "the part") == part


def test_the_example_reads_with_a_log_in() -> None:
    text = (ROOT / "examples/prestamos/smoke.yaml").read_text()
    names = [step.name for step in parse(text, "smoke.yaml").read_part()]
    assert names == ["the documentation opens", "log in", "the catalogue answers"]
