"""A scenario that runs: what is asked, compared, captured, cleaned and hidden."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from components.masking import MASK
from components.release import verification
from components.release.scenario import parse
from components.release.verification import Result, Runner, ScenarioFailed
from tests.unit.release.stand_in import Answer, Asked, StandInSite, serving

SECRETS = {"SMOKE_PASSWORD": 'hunter2 "quoted" & more'}
ONE = "steps: [{name: one, request: {path: /}"


@pytest.fixture
def site() -> Iterator[StandInSite]:
    with serving(lambda _: Answer()) as made:
        yield made


def run(site: StandInSite, text: str, **more) -> tuple[Result, ...]:
    return Runner(
        parse(text, "smoke.yaml"), base_url=site.url, version="v2", secret=SECRETS.__getitem__, **more
    ).run()


def fault(site: StandInSite, text: str) -> str:
    """The one line of a scenario that fails."""
    with pytest.raises(ScenarioFailed) as caught:
        run(site, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def steps(**answers: Answer) -> Callable[[Asked], Answer]:
    """Answers by the last word of the path."""
    return lambda asked: answers.get(asked.path.strip("/").split("/")[-1].split("?")[0], Answer(status=404))


# -- what is asked -----------------------------------------------------------------------------------------
def test_a_story_is_asked_in_order_with_what_was_captured(site: StandInSite) -> None:
    site.answer = steps(
        token=Answer(body={"access": "jwt"}), loans=Answer(status=201, body={"id": 7, "open": True})
    )
    site.answer = lambda asked, known=site.answer: (
        Answer(body={"id": 7}) if asked.path.startswith("/loans/7") else known(asked)
    )
    results = run(
        site,
        """
        variables: {who: smoke, password: "{secret.SMOKE_PASSWORD}", amount: 3}
        headers: {X-Forwarded-Proto: https}
        steps:
          - name: log in
            request: {method: POST, path: /token, json: {username: "{who}", password: "{password}"}}
            capture: {token: $.access}
          - name: lend
            request:
              method: POST
              path: /loans
              headers: {Authorization: "Bearer {token}", X-Run: "{run.id}"}
              json: {amount: "{amount}", note: "by {who} on {release.version}"}
            expect: {status: 201}
            capture: {loan: $.id, still_open: $.open}
          - name: read
            request: {path: "/loans/{loan}?open={still_open}", headers: {X-Loan: "{loan}"}}
            expect: {json: {$.id: "{loan}"}}
          - name: form
            request: {method: POST, path: /loans, form: {loan: "{loan}", who: "{who}"}}
            expect: {status: 201}
        """,
    )
    assert [(one.name, one.status, one.fault) for one in results] == [
        ("log in", 200, None),
        ("lend", 201, None),
        ("read", 200, None),
        ("form", 201, None),
    ]
    login, lend, read, form = site.asked
    assert login.json == {"username": "smoke", "password": SECRETS["SMOKE_PASSWORD"]}
    assert lend.json == {"amount": 3, "note": "by smoke on v2"}, (
        "what is nothing but a placeholder keeps its type"
    )
    assert lend.headers["Authorization"] == "Bearer jwt"
    assert len(lend.headers["X-Run"]) == 32
    assert read.path == "/loans/7?open=true"
    assert read.headers["X-Loan"] == "7"
    assert form.body == "loan=7&who=smoke"
    assert all(asked.headers["X-Forwarded-Proto"] == "https" for asked in site.asked)


def test_headers_of_the_scenario_win_over_those_of_the_runner_whatever_their_case(site: StandInSite) -> None:
    run(
        site,
        """
        headers: {x-forwarded-proto: https}
        steps: [{name: one, request: {path: /, headers: {ACCEPT: text/html}}}]
        """,
        headers={"Host": "site.example", "X-Forwarded-Proto": "http", "Accept": "*/*"},
    )
    headers = {name.lower(): value for name, value in site.asked[0].headers.items()}
    assert headers["host"] == "site.example"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["accept"] == "text/html"


def test_redirects_are_not_followed(site: StandInSite) -> None:
    site.answer = lambda _: Answer(status=301, headers={"Location": "/elsewhere"})
    run(site, "steps: [{name: one, request: {path: /}, expect: {status: 301, headers: {Location: /else*}}}]")
    assert site.paths == ["GET /"]


def test_a_session_lasts_for_the_run(site: StandInSite) -> None:
    site.answer = lambda _: Answer(headers={"Set-Cookie": "session=abc"})
    run(site, "steps: [{name: one, request: {path: /}}, {name: two, request: {path: /}}]")
    assert "Cookie" not in site.asked[0].headers
    assert site.asked[1].headers["Cookie"] == "session=abc"


# -- what is compared --------------------------------------------------------------------------------------
BODY = {
    "id": 7,
    "price": 10.0,
    "open": True,
    "note": "lent to Ada",
    "results": [{"code": "A"}, {"code": "B"}],
}


@pytest.mark.parametrize(
    "expect",
    [
        "{}",
        "{status: 200}",
        "{status: [200, 204]}",
        "{headers: {content-type: application/json*}}",
        "{text: {contains: lent to}}",
        "{json: {$.id: 7, $.open: true, $.price: 10}}",
        "{json: {$.note: {contains: Ada}}}",
        "{json: {'$.results[0]': {code: A}}}",
        "{json: {'$.results[*].code': {count_at_least: 2}}}",
        "{json: {$.results: {count_at_least: 2}}}",
        "{json: {$.results: {contains: {code: B}}}}",
        "{json: {'$.results[?@.code == \"B\"].code': B}}",
        "{within: 5s}",
    ],
)
def test_what_is_as_expected(site: StandInSite, expect: str) -> None:
    site.answer = lambda _: Answer(body=BODY)
    assert run(site, f"steps: [{{name: one, request: {{path: /}}, expect: {expect}}}]")[0].fault is None


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{status: 201}", 'status is 200, but expected 201: {"id": 7'),
        ("{status: [201, 204]}", "status is 200, but expected 201 or 204"),
        ("{headers: {X-Release: v2}}", "header X-Release is missing, but expected v2"),
        ("{headers: {Content-Type: text/*}}", "header Content-Type is application/json, but expected text/*"),
        ("{text: {contains: Grace}}", "but expected to contain Grace"),
        ("{json: {$.id: 8}}", "$.id is 7, but expected 8"),
        ("{json: {$.id: '7'}}", '$.id is 7, but expected "7"'),
        ("{json: {$.open: 1}}", "$.open is true, but expected 1"),
        ("{json: {$.gone: 1}}", "$.gone is missing, but expected 1"),
        ("{json: {$.note: {contains: Grace}}}", '$.note is "lent to Ada", but expected to contain "Grace"'),
        ("{json: {$.id: {contains: 7}}}", "$.id is 7, but expected to contain 7"),
        ("{json: {$.results: {count_at_least: 3}}}", "$.results has 2 items, but expected at least 3"),
        ("{json: {$.gone: {count_at_least: 1}}}", "$.gone has 0 items, but expected at least 1"),
    ],
)
def test_what_is_not_is_told_with_name_expected_and_found(site: StandInSite, expect: str, said: str) -> None:
    site.answer = lambda _: Answer(body=BODY)
    line = fault(site, f"steps: [{{name: read it, request: {{path: /it}}, expect: {expect}}}]")
    assert line.startswith('"read it" GET /it: ')
    assert said in line


@pytest.mark.parametrize("status", [301, 404, 500])
def test_without_a_status_only_success_is_expected(site: StandInSite, status: int) -> None:
    site.answer = lambda _: Answer(status=status)
    assert f"status is {status}, but expected 2xx" in fault(site, ONE + "}]")


def test_an_answer_that_is_no_json_is_told(site: StandInSite) -> None:
    site.answer = lambda _: Answer(body="<html>")
    assert "the answer is not JSON" in fault(site, ONE + ", expect: {json: {$.id: 1}}}]")
    assert "loan is to be captured from it: <html>" in fault(site, ONE + ", capture: {loan: $.id}}]")


def test_a_long_answer_is_cut(site: StandInSite) -> None:
    site.answer = lambda _: Answer(status=500, body="line\n" * 1000)
    assert len(fault(site, ONE + "}]")) < 400


def test_an_answer_that_comes_too_late_is_told(site: StandInSite) -> None:
    site.answer = lambda _: time.sleep(0.3) or Answer()
    assert "but expected within 0.1 s" in fault(site, ONE + ", expect: {within: 100ms}}]")


def test_an_answer_that_does_not_come_is_not_waited_for(site: StandInSite) -> None:
    site.answer = lambda _: time.sleep(2) or Answer()
    began = time.monotonic()
    assert "no answer within 0.05 s" in fault(site, ONE + ", expect: {within: 50ms}}]")
    assert time.monotonic() - began < 1.9


@contextlib.contextmanager
def raw(send: Callable[[socket.socket], None]) -> Iterator[StandInSite]:
    """A site that answers its one request with these bytes."""

    def answer() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            send(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        yield StandInSite(url=f"http://127.0.0.1:{server.getsockname()[1]}", answer=lambda _: Answer())
        thread.join()


def test_an_answer_that_never_ends_is_not_waited_for() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b".")
            time.sleep(0.01)

    with raw(drip) as site:
        began = time.monotonic()
        assert "no answer within 0.1 s" in fault(site, ONE + ", expect: {within: 100ms}}]")
        assert time.monotonic() - began < 5


def test_a_compressed_answer_is_read_and_its_headers_are_those_that_were_sent() -> None:
    body = gzip.compress('{"name": "señal"}'.encode("latin-1"))
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin-1\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    expect = "{text: {contains: señal}, headers: {content-encoding: gzip, content-type: text/plain*}}"
    with raw(lambda connection: connection.sendall(head.encode() + body)) as site:
        assert run(site, f"{ONE}, expect: {expect}}}]")[0].fault is None


def test_nobody_there_is_told() -> None:
    with serving(lambda _: Answer()) as gone:
        pass
    assert "no answer (ConnectError" in fault(gone, ONE + "}]")


@pytest.mark.parametrize("request_", ["{path: '/{bad}'}", "{path: /, headers: {X: '{bad}'}}"])
def test_a_value_that_cannot_be_sent_is_a_fault_and_no_crash(site: StandInSite, request_: str) -> None:
    line = fault(site, f'variables: {{bad: "a\\nb\\u00e9"}}\nsteps: [{{name: one, request: {request_}}}]')
    assert line.startswith('"one" GET')


# -- what takes a while ------------------------------------------------------------------------------------
def test_what_comes_true_later_is_asked_again(site: StandInSite, monkeypatch) -> None:
    monkeypatch.setattr(verification, "RETRY_PAUSE", 0.01)
    site.answer = lambda _: Answer(body={"sent": len(site.asked) >= 3})
    results = run(site, ONE + ", expect: {json: {$.sent: true}}, retry: {for: 5s}}]")
    assert len(site.asked) == 3
    assert len(results) == 1
    assert results[0].fault is None


def test_it_is_given_up_in_time(site: StandInSite, monkeypatch) -> None:
    monkeypatch.setattr(verification, "RETRY_PAUSE", 0.01)
    site.answer = lambda _: Answer(status=404)
    began = time.monotonic()
    assert "status is 404" in fault(site, ONE + ", retry: {for: 200ms}}]")
    assert 0.2 <= time.monotonic() - began < 5
    assert len(site.asked) > 2


# -- what is cleaned ---------------------------------------------------------------------------------------
STORY = """
steps:
  - name: make
    request: {method: POST, path: /make}
    expect: {status: 201}
    capture: {made: $.id}
  - {name: use, request: {path: /use}}
  - {name: never, request: {path: /never}}
cleanup:
  - {name: unmake, request: {method: DELETE, path: "/unmake/{made}"}, expect: {status: [204, 404]}}
  - {name: sweep, request: {method: DELETE, path: /sweep}, expect: {status: 204}}
"""
MADE = Answer(status=201, body={"id": 7})


def test_the_clean_up_runs_after_a_failure_and_does_not_hide_it(site: StandInSite) -> None:
    site.answer = steps(
        make=MADE, use=Answer(status=500), **{"7": Answer(status=500)}, sweep=Answer(status=204)
    )
    with pytest.raises(ScenarioFailed) as caught:
        run(site, STORY)
    assert site.paths == ["POST /make", "GET /use", "DELETE /unmake/7", "DELETE /sweep"]
    line = str(caught.value)
    assert line.startswith('"use" GET /use: status is 500, but expected 2xx')
    assert 'and clean-up "unmake" DELETE /unmake/{made}: status is 500' in line
    assert [one.name for one in caught.value.results] == ["make", "use", "unmake", "sweep"]
    assert [one.fault is None for one in caught.value.results] == [True, False, False, True]


def test_a_clean_up_that_fails_fails_the_scenario(site: StandInSite) -> None:
    site.answer = steps(make=MADE, use=Answer(), never=Answer(), **{"7": Answer(status=204)})
    assert fault(site, STORY).startswith('clean-up "sweep" DELETE /sweep: status is 404')


def test_what_was_never_made_is_not_cleaned(site: StandInSite) -> None:
    site.answer = steps(make=Answer(status=500), sweep=Answer(status=204))
    fault(site, STORY)
    assert site.paths == ["POST /make", "DELETE /sweep"]


def test_the_clean_up_runs_when_the_run_is_interrupted(site: StandInSite, monkeypatch) -> None:
    site.answer = steps(sweep=Answer(status=204))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "_compare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(site, STORY)
    assert site.paths[0] == "POST /make"
    assert "DELETE /sweep" in site.paths


# -- what is hidden ----------------------------------------------------------------------------------------
ECHO = """
steps:
  - name: log in
    request: {method: POST, path: /token, json: {password: "{secret.SMOKE_PASSWORD}"}}
    expect: {EXPECT}
"""


@pytest.mark.parametrize(
    "expect",
    [
        "{status: 201}",
        "{headers: {X-Echo: other}}",
        "{text: {contains: other}}",
        "{json: {$.password: other}}",
        "{json: {$.password: {contains: other}}}",
        "{json: {$.gone: '{secret.SMOKE_PASSWORD}'}}",
        "{text: {contains: 'x{secret.SMOKE_PASSWORD}'}}",
    ],
)
@pytest.mark.parametrize("before", [0, 170, 185, 195])
def test_a_secret_that_a_server_echoes_is_never_shown(site: StandInSite, expect: str, before: int) -> None:
    """Not even a part of it, where the answer is cut in the middle of it."""

    def echo(asked: Asked) -> Answer:
        value = asked.json["password"]
        padded = "." * before
        return Answer(body={"password": padded + value}, headers={"X-Echo": padded + value})

    site.answer = echo
    with pytest.raises(ScenarioFailed) as caught:
        run(site, ECHO.replace("{EXPECT}", expect))
    shown = f"{caught.value} {caught.value.results}"
    assert "hunter2" not in shown
    assert "quoted" not in shown


def test_a_secret_in_html_is_not_shown_either(site: StandInSite) -> None:
    import html

    site.answer = lambda asked: Answer(status=500, body=f"<p>{html.escape(asked.json['password'])}</p>")
    line = fault(site, ECHO.replace("{EXPECT}", "{}"))
    assert MASK in line
    assert "hunter2" not in line


def test_a_secret_in_a_path_is_not_shown(site: StandInSite) -> None:
    site.answer = lambda asked: Answer(status=404, body=f"no {asked.path} here")
    line = fault(site, 'steps: [{name: one, request: {path: "/{secret.SMOKE_PASSWORD}"}}]')
    assert "/{secret.SMOKE_PASSWORD}" in line
    assert "hunter2" not in line
