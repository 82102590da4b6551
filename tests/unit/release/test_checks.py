"""Checks of a scenario: what is uploaded, what arrived row by row, what is cleaned, and when they run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from openpyxl import load_workbook

from components.release import touched, verification
from components.release.scenario import ScenarioError, parse
from components.release.verification import Result, Runner, ScenarioFailed
from tests.unit.release.stand_in import Answer, Asked, StandInSite, manifest, serving


@pytest.fixture
def site() -> Iterator[StandInSite]:
    with serving(lambda _: Answer()) as made:
        yield made


def run(site: StandInSite, text: str, *checks: str) -> tuple[Result, ...]:
    scenario = parse(text, "smoke.yaml")
    runner = Runner(scenario, base_url=site.url, version="v2", secret=lambda name: f"secret of {name}")
    return runner.run([check for check in scenario.checks if check.name in checks])


def fault(site: StandInSite, text: str, *checks: str) -> str:
    with pytest.raises(ScenarioFailed) as caught:
        run(site, text, *checks)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what is uploaded --------------------------------------------------------------------------------------
def parts(asked: Asked) -> dict[str, Any]:
    """Form field → (file name, content) of a multipart body."""
    head = f"Content-Type: {asked.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + asked.content, policy=policy.HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): (
            part.get_filename(),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    }


UPLOAD = """
variables: {amount: 3}
tables:
  good:
    columns: [code, name, amount, since, active, note]
    rows:
      - ["{run.id}-1", "Señal", "{amount}", {date: 2026-02-28}, true, null]
      - ["{run.id}-2", "=1+1", 2.5, {date: "2026-12-31"}, false, "007"]
steps:
  - name: import
    request:
      method: POST
      path: /import/
      form: {kind: assets}
      files: {file: {workbook: good, name: "assets-{run.id}.xlsx"}}
"""


def test_a_table_is_uploaded_as_a_workbook_whose_cells_have_their_types(site: StandInSite) -> None:
    run(site, UPLOAD)
    sent = parts(site.asked[0])
    assert sent["kind"] == (None, b"assets")
    name, content = sent["file"]
    titles, first, second = load_workbook(io.BytesIO(content)).worksheets[0].iter_rows(values_only=True)
    assert titles == ("code", "name", "amount", "since", "active", "note")
    run_id = str(first[0]).removesuffix("-1")
    assert name == f"assets-{run_id}.xlsx"
    assert len(run_id) == 32
    assert first[1:] == ("Señal", 3, datetime(2026, 2, 28), True, None)
    assert second == (f"{run_id}-2", "=1+1", 2.5, datetime(2026, 12, 31), False, "007")
    cell = load_workbook(io.BytesIO(content)).worksheets[0]["B3"]
    assert cell.data_type == "s", "text that begins with = is no formula"


def test_a_file_beside_the_scenario_travels_inside_it(site: StandInSite) -> None:
    text = """
    steps: [{name: send, request: {method: POST, path: /, files: {file: {path: data/some.csv}}}}]
    checks:
      - name: again
        when: always
        steps: [{name: a, request: {path: /, method: PUT, files: {f: {path: b.bin}}}}]
    """
    read = {"data/some.csv": b"code\xff\x00\n", "b.bin": b"bytes"}
    scenario = parse(text, "smoke.yaml")
    assert sorted(scenario.paths()) == sorted(read)
    whole = scenario.with_files(read.__getitem__).to_text()
    assert parse(whole, "smoke.yaml").paths() == []
    run(site, whole, "again")
    assert parts(site.asked[0]) == {"file": ("some.csv", b"code\xff\x00\n")}
    assert parts(site.asked[1]) == {"f": ("b.bin", b"bytes")}


def test_a_cell_that_no_workbook_can_have_is_a_fault_and_no_crash(site: StandInSite) -> None:
    site.answer = lambda _: Answer(body={"bell": "\a", "list": [1]})
    text = """
    tables: {t: {columns: [a], rows: [["{CELL}"]]}}
    steps:
      - {name: read, request: {path: /}, capture: {bell: $.bell, list: $.list}}
      - {name: send, request: {method: POST, path: /, files: {file: {workbook: t}}}}
    """
    assert "row 2 has a character" in fault(site, text.replace("CELL", "bell"))
    assert '"send" POST /: ' in fault(site, text.replace("CELL", "list"))


# -- what has arrived --------------------------------------------------------------------------------------
ARRIVED = """
tables:
  good: {columns: [code, name, size], rows: [[A, Ada, 1], [B, "{release.version}", 2]]}
steps:
  - name: it arrived
    request: {path: "/rows/?page=1"}
    expect: {rows: {of: good, at: "$.results[*]", next: $.next, MORE}}
"""
A, B = {"code": "A", "name": "Ada", "size": 1}, {"code": "B", "name": "v2", "size": 2.0}


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([B, A], "", None),
        ([A, {**B, "more": "x"}], "", None),
        ([A, {**B, "name": "v1"}], "", 'row 3 of good (code "B"): name is "v1", but expected "v2"'),
        ([{**A, "size": "1"}, B], "", 'row 2 of good (code "A"): size is "1", but expected 1'),
        ([{**A, "size": True}, B], "", 'row 2 of good (code "A"): size is true, but expected 1'),
        ([{"code": "A", "size": 1}, B], "", 'row 2 of good (code "A"): name is missing, but expected "Ada"'),
        ([A], "", 'row 3 of good (code "B") is missing'),
        ([A, B, B], "", 'row 3 of good (code "B") is there 2 times, but expected once'),
        ([A, B, {"code": "C"}], "", 'a row is there (code "C") that good does not have'),
        ([A, B, "text"], "", "a row is there (code missing) that good does not have"),
        ([A, B, {"code": "C"}], "others: true", None),
        ([A, {**B, "name": "x"}], "columns: {size: $.size}", None),
        ([{**A, "n": 9}, {**B, "n": 2}], "columns: {size: $.n}", "size is 9, but expected 1"),
        ([{**A, "id": 4}, B], "key: [code, size]", None),
        ([A, A], "key: [code, size]", 'row 2 of good (code "A", size 1) is there 2 times'),
        ([A, B], "key: [size, code], columns: {name: $.name}", None),
        ([], "", 'row 2 of good (code "A") is missing; row 3 of good (code "B") is missing'),
    ],
)
def test_rows_are_compared_one_by_one(
    site: StandInSite, rows: list[Any], more: str, said: str | None
) -> None:
    site.answer = lambda _: Answer(body={"results": rows, "next": None})
    text = ARRIVED.replace(", MORE", f", {more}" if more else "")
    if said is None:
        assert run(site, text)[0].fault is None
    else:
        assert said in fault(site, text)


def test_a_key_that_rows_share_is_told(site: StandInSite) -> None:
    site.answer = lambda _: Answer(body={"results": [A, B]})
    text = ARRIVED.replace("[A, Ada, 1]", "[B, Ada, 1]").replace(", MORE", "")
    assert 'row 3 of good (code "B") has the key of row 2' in fault(site, text)


def test_many_differences_are_counted(site: StandInSite) -> None:
    rows = [{"code": f"X{number}"} for number in range(5)]
    site.answer = lambda _: Answer(body={"results": rows})
    assert fault(site, ARRIVED.replace(", MORE", "")).endswith("; and 4 more")


@pytest.mark.parametrize("address", ["http://elsewhere.example:1/rows/?page=2", "/rows/?page=2", "?page=2"])
def test_all_pages_are_read_and_always_from_here(site: StandInSite, address: str) -> None:
    """A site behind a balancer names itself by other addresses, and a token is for this one alone."""
    site.answer = lambda asked: Answer(
        body={"results": [B], "next": None} if "page=2" in asked.path else {"results": [A], "next": address}
    )
    run(site, ARRIVED.replace(", MORE", ""))
    assert site.paths == ["GET /rows/?page=1", "GET /rows/?page=2"]


def test_pages_that_fail_or_never_end_are_told(site: StandInSite, monkeypatch) -> None:
    monkeypatch.setattr(verification, "MOST_PAGES", 3)
    text = ARRIVED.replace(", MORE", "")
    site.answer = lambda _: Answer(body={"results": [], "next": "?page=1"})
    assert "$.next leads on after 3 pages" in fault(site, text)
    site.answer = lambda asked: Answer(
        status=500 if "page=2" in asked.path else 200, body={"results": [], "next": "?page=2"}
    )
    assert "page 2 has status 500" in fault(site, text)
    site.answer = lambda _: Answer(body="<html>")
    assert "page 1 is not JSON" in fault(site, text)


def test_an_import_that_goes_on_is_waited_for_and_asked_at_intervals(site: StandInSite) -> None:
    site.answer = lambda _: Answer(body={"results": [A, B][: len(site.asked)]})
    text = ARRIVED.replace(", MORE", "") + "    retry: {for: 5s, every: 10ms}\n"
    assert run(site, text)[0].milliseconds < 200
    assert len(site.asked) == 2


def test_a_refusal_is_compared_row_by_row_too(site: StandInSite) -> None:
    text = """
    tables:
      bad: {columns: [code, name], rows: [[A, null], [A, x]]}
      faults: {columns: [row, column, message], rows: [[2, B, required], [3, A, twice]]}
    steps:
      - name: a workbook with faults is refused
        request: {method: POST, path: /import/, files: {file: {workbook: bad}}}
        expect: {status: 400, rows: {of: faults, at: "$.errors[*]", key: [row, column]}}
    """
    errors = [{"row": 2, "column": "B", "message": "required"}, {"row": 3, "column": "A", "message": "twice"}]
    site.answer = lambda _: Answer(status=400, body={"errors": errors})
    assert run(site, text)[0].status == 400
    site.answer = lambda _: Answer(status=400, body={"errors": errors[:1]})
    assert 'row 3 of faults (row 3, column "A") is missing' in fault(site, text)
    site.answer = lambda _: Answer(status=201, body={"errors": errors})
    assert "status is 201, but expected 400" in fault(site, text)


# -- what is cleaned ---------------------------------------------------------------------------------------
CHECKED = """
steps: [{name: log in, request: {path: /login/}, capture: {token: $.token}}]
cleanup: [{name: log out, request: {path: "/logout/{token}"}}]
checks:
  - name: import
    when: always
    steps:
      - {name: send, request: {path: "/send/{token}"}}
      - {name: look, request: {path: /look/}}
    cleanup: [{name: tidy, request: {path: /tidy/}}]
  - name: export
    when: always
    steps: [{name: fetch, request: {path: /fetch/}}]
"""


def test_checks_run_after_the_steps_with_their_captures_each_with_its_clean_up(site: StandInSite) -> None:
    site.answer = lambda _: Answer(body={"token": "jwt"})
    run(site, CHECKED, "import", "export")
    order = ["login/", "send/jwt", "look/", "tidy/", "fetch/", "logout/jwt"]
    assert site.paths == [f"GET /{path}" for path in order]
    site.asked.clear()
    run(site, CHECKED, "export")
    assert site.paths == ["GET /login/", "GET /fetch/", "GET /logout/jwt"]


def test_a_check_that_fails_is_cleaned_and_told_with_what_its_clean_up_left(site: StandInSite) -> None:
    broken = {"/look/", "/tidy/"}
    site.answer = lambda asked: Answer(status=500 if asked.path in broken else 200, body={"token": "jwt"})
    line = fault(site, CHECKED, "import", "export")
    assert line.startswith('import: "look" GET /look/: status is 500')
    assert '; and import: clean-up "tidy" GET /tidy/: status is 500' in line
    assert site.paths[-2:] == ["GET /tidy/", "GET /logout/jwt"]


def test_nothing_is_checked_where_the_steps_have_failed(site: StandInSite) -> None:
    site.answer = lambda _: Answer(status=500)
    fault(site, CHECKED, "import", "export")
    assert site.paths == ["GET /login/"]


# -- when they run -----------------------------------------------------------------------------------------
V1 = replace(manifest("v1"), folders={".": "1", "imports": "2", "imports/rules": "3", "imports2": "4"})


@pytest.mark.parametrize(
    ("changes", "paths", "why"),
    [
        ({}, ["imports"], None),
        ({"folders": {**V1.folders, "imports2": "x", ".": "x", "new": "x"}}, ["imports"], None),
        ({"folders": {**V1.folders, "imports": "x"}}, ["loans", "imports"], "no version has a folder loans"),
        ({"folders": {**V1.folders, "imports": "x"}}, ["imports"], "imports differs from v1"),
        ({"folders": {**V1.folders, "imports/rules": "x"}}, ["imports"], "imports/rules differs from v1"),
        ({"folders": {**V1.folders, "imports/new": "x"}}, ["imports"], "imports/new differs from v1"),
        ({"folders": {".": "1", "imports": "2"}}, ["imports"], "imports/rules differs from v1"),
        ({"folders": {**V1.folders, "anything": "x"}}, ["."], "anything differs from v1"),
        ({"lock": "sha256:2"}, ["imports"], "the dependencies are not those of v1"),
        ({"python": "3.12"}, ["imports"], "the dependencies are not those of v1"),
        ({"folders": {}}, ["imports"], "the manifest of v2 does not say"),
    ],
)
def test_a_check_runs_when_its_folders_or_the_dependencies_have_changed_and_when_in_doubt(
    changes: dict[str, Any], paths: list[str], why: str | None
) -> None:
    found = touched.reason(paths, V1, replace(V1, **{"version": "v2", **changes}))
    assert found == why if why is None else (found or "").startswith(why)


# -- what is refused ---------------------------------------------------------------------------------------
TABLES = "tables: {t: {columns: [a, b], rows: [[1, 2]]}, d: {columns: [a, a], rows: []}}\n"
SEND = TABLES + "steps: [{name: one, request: {path: /, method: POST, "
LOOK = TABLES + "steps: [{name: one, request: {path: /}, expect: {rows: {at: '$[*]', "
CHECK = "steps: [{name: one, request: {path: /}}]\nchecks: [{name: c, "
STEPS = "steps: [{name: two, request: {path: /}}]"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("tables: {t: {columns: [a], rows: [[1, 2]]}}\n" + CHECK, "not YAML", ""),
        (SEND.replace("[[1, 2]]", "[[1]]") + "}}]", "tables.t", "rows[0] has 1 cells for 2 columns"),
        (SEND.replace("[[1, 2]]", "[[[1], 2]]") + "}}]", "tables.t.rows[0][0]", "valid"),
        (SEND.replace("1, 2", "1, {date: 2026-13-01}") + "}}]", "not YAML", "month"),
        (SEND.replace("1, 2", "1, {date: '2026-02-30'}") + "}}]", "tables.t.rows[0][1]", "a date such as"),
        (SEND + "json: {}, files: {f: {workbook: t}}}}]", "steps[0].request", "exclude each other"),
        (SEND + "files: {f: {}}}}]", "steps[0].request.files.f", "exactly one of workbook and path"),
        (SEND + "files: {f: {workbook: t, path: x}}}}]", "steps[0].request.files.f", "exactly one"),
        (SEND + "files: {f: {workbook: u}}}}]", 'steps[0] "one" names table u', "add it there"),
        (SEND.replace("1, 2", "'{x}', 2") + "files: {f: {workbook: t}}}}]", "uses {x}", "capture it"),
        (LOOK + "of: u}}}]", 'steps[0] "one" names table u', "add it there"),
        (LOOK + "of: t, key: c}}}]", "names column c, but table t has a, b", "one of these"),
        (LOOK + "of: t, columns: {c: $.c}}}}]", "names column c", "one of these"),
        (LOOK + "of: t, columns: {a: '$.['}}}}]", "steps[0].expect.rows.columns.a", "not a JSONPath"),
        (LOOK + "of: d}}}]", "a column comes twice", "none does"),
        (CHECK + STEPS + "}]", "checks[0]", "needs at least one folder"),
        (CHECK + "paths: ['imports/**'], " + STEPS + "}]", "checks[0].paths[0]", "pattern"),
        (CHECK + "when: sometimes, " + STEPS + "}]", "checks[0].when", "'touched' or 'always'"),
        (CHECK + "when: always, steps: []}]", "checks[0].steps", "at least 1"),
        (
            CHECK + f"when: always, {STEPS}}}, {{name: c, when: always, {STEPS}}}]",
            "the file",
            "c names several checks",
        ),
        (
            CHECK + "when: always, steps: [{name: two, request: {path: '/{x}'}}]}]",
            'checks[0].steps[0] "two" uses {x}',
            "capture it",
        ),
    ],
)
def test_what_would_check_nothing_is_refused_with_its_place(text: str, place: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "smoke.yaml")
    line = str(caught.value)
    assert line.startswith("smoke.yaml")
    assert place in line
    assert said in line
    assert "\n" not in line


def test_a_check_does_not_count_on_what_another_has_captured() -> None:
    first = "when: always, steps: [{name: a, request: {path: /}, capture: {x: $.x}}]}"
    second = "{name: d, when: always, steps: [{name: b, request: {path: '/{x}'}}]}"
    with pytest.raises(ScenarioError, match=r"checks\[1\]"):
        parse(f"{CHECK}{first}, {second}]", "smoke.yaml")


def test_the_version_before_is_asked_nothing_that_uploads_and_no_check() -> None:
    found = parse(
        SEND + "files: {f: {workbook: t}}}, reads: true}, "
        "{name: rows, request: {path: /}, expect: {rows: {of: t, at: $}}}]\n"
        "checks: [{name: c, when: always, " + STEPS + "}]",
        "smoke.yaml",
    )
    part = found.of(found.read_part())
    assert [step.name for step in part.steps] == ["rows"]
    assert (list(part.tables), part.checks) == (["t"], [])
    assert parse(part.to_text(), "the part") == part


def test_what_is_read_from_a_scenario_again_is_the_same() -> None:
    checks = CHECKED.partition("checks:")[2].replace("/{token}", "/x")
    found = parse(f"{UPLOAD}checks:{checks}", "smoke.yaml")
    assert parse(found.to_text(), "again") == found
    assert [len(check.steps) for check in found.checks] == [2, 1]
