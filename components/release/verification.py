"""A smoke scenario, run against one address: requests in order, and the clean-up that always follows."""

from __future__ import annotations

import base64
import fnmatch
import json
import mimetypes
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import jsonpath

from components.masking import Masking
from components.release.comparison import MISSING, differences, dumped, same
from components.release.http import heeds_environment
from components.release.polling import poll
from components.release.scenario import (
    PLACEHOLDER,
    Check,
    Date,
    Expect,
    Request,
    Rows,
    Scenario,
    Step,
    Table,
    Upload,
    seconds,
)

LONGEST_REQUEST = 30.0  # seconds, where the scenario says nothing
RETRY_PAUSE = 0.2
MOST_PAGES = 1000
SHOWN = 200  # characters of an answer in an error


class ScenarioFailed(Exception):
    """A request was not answered as expected. One line; how each request went is in `results`."""

    def __init__(self, message: str, results: tuple[Result, ...]) -> None:
        super().__init__(message)
        self.results = results


@dataclass(frozen=True, kw_only=True)
class Result:
    """One request as it went. `fault` is None when it was answered as expected."""

    name: str
    status: int | None  # None: no answer
    milliseconds: int
    fault: str | None


def recorded(results: Sequence[Result]) -> dict[str, Any]:
    """The results as the data of a step in the record."""
    return {"requests": [asdict(result) for result in results]}


class Runner:
    """Runs a scenario once against one address. Redirects are not followed.

    `secret` gives the value of a name; no value gets into a fault or a result. `headers` are those of every
    request which the scenario does not set itself. `over`: there is nobody who could answer any more.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        base_url: str,
        version: str,
        secret: Callable[[str], str],
        headers: Mapping[str, str] | None = None,
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        known = {name: secret(name) for name in scenario.secrets()}
        self._scenario = scenario
        self._masked = Masking(known.values())
        self._values: dict[str, Any] = {
            "run.id": uuid.uuid4().hex,
            "run.number": f"{secrets.randbelow(10**12):012}",
            "release.version": version,
        }
        self._values |= {f"secret.{name}": value for name, value in known.items()}
        for name, value in scenario.variables.items():
            self._values[name] = self._fill(value)
        self._base_url = base_url
        self._over = over
        self._headers = httpx.Headers(dict(headers or {}))
        self._headers.update(self._texts(scenario.headers))
        self._results: list[Result] = []

    def run(self, checks: Sequence[Check] = ()) -> tuple[Result, ...]:
        """The results, all as expected. Raises `ScenarioFailed` with the first fault, after the clean-up.

        Of the scenario's checks these ones run too.
        """
        with httpx.Client(
            base_url=self._base_url, timeout=LONGEST_REQUEST, trust_env=heeds_environment(self._base_url)
        ) as client:
            faults = self._play(client, self._scenario, checks)
        results = tuple(self._results)
        if faults:
            raise ScenarioFailed("; and ".join(faults), results)
        return results

    def _play(
        self, client: httpx.Client, part: Scenario | Check, checks: Sequence[Check] = ()
    ) -> Sequence[str]:
        """The faults: of the first step that has one, or of the first such check, and of the clean-up."""
        faults: list[str] = []
        try:
            for step in part.steps:
                if fault := self._step(client, step):
                    faults.append(fault)
                    break
            for check in checks:
                if faults:
                    break
                faults += [f"{check.name}: {fault}" for fault in self._play(client, check)]
        finally:
            for step in part.cleanup:
                # what was never captured was never made: there is nothing to clean
                if not self._undefined(step) and (fault := self._step(client, step)):
                    faults.append(f"clean-up {fault}")
        return faults

    def _step(self, client: httpx.Client, step: Step) -> str | None:
        """Run one request, again where it may be; its fault, or None."""

        def ask() -> tuple[int | None, str | None, int]:
            began = time.monotonic()
            status, fault = self._ask(client, step)
            return status, fault, round((time.monotonic() - began) * 1000)

        status, fault, milliseconds = poll(
            ask,
            lambda answer: answer[1] is None or self._over(),
            seconds=seconds(step.retry.for_) if step.retry else 0,
            pause=seconds(step.retry.every) if step.retry and step.retry.every else RETRY_PAUSE,
        )
        if fault is not None:
            fault = self._masked(f'"{step.name}" {step.request.method} {step.request.path}: {fault}')
        self._results.append(Result(name=step.name, status=status, milliseconds=milliseconds, fault=fault))
        return fault

    def _ask(self, client: httpx.Client, step: Step) -> tuple[int | None, str | None]:
        request, expect = step.request, step.expect
        within = seconds(expect.within) if expect.within else LONGEST_REQUEST

        def send(path: str) -> httpx.Response:
            return self._send(client, request, path, within)

        began = time.monotonic()
        try:
            response = send(self._text(request.path))
            took = time.monotonic() - began
            fault = self._compare(expect, response)
            if fault is None and took > within:
                fault = f"answered after {took:.2f} s, but expected within {within:g} s"
            if fault is None and expect.rows is not None:
                fault = self._compare_rows(expect.rows, response, request.path, send)
        except httpx.TimeoutException:
            return None, f"no answer within {within:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return None, f"no answer ({type(error).__name__}: {self._shown(str(error))})"
        return response.status_code, fault or self._capture(step, response)

    def _send(self, client: httpx.Client, request: Request, path: str, within: float) -> httpx.Response:
        headers = httpx.Headers(self._headers)
        headers.update(self._texts(request.headers))
        files = {field: self._file(upload) for field, upload in request.files.items()}
        began = time.monotonic()
        with client.stream(
            request.method,
            path,
            headers=headers,
            json=self._fill(request.json_),
            data=None if request.form is None else self._texts(request.form),
            files=files or None,
            timeout=within + 1,
        ) as streamed:
            return _whole(streamed, began + within + 1)

    def _file(self, upload: Upload) -> tuple[str, bytes, str]:
        """Name, content and type. Raises `ValueError` for a cell that no workbook can have."""
        name = self._text(upload.filename)
        if upload.workbook is None:
            if upload.content is None:
                raise ValueError(f"{upload.path} was not read before the release")
            return (
                name,
                base64.b64decode(upload.content),
                mimetypes.guess_type(name)[0] or "application/octet-stream",
            )
        from components.release import workbook  # openpyxl, which an image on Azure does not have

        table = self._scenario.tables[upload.workbook]
        return name, workbook.write(table.columns, self._cells(table)), workbook.MEDIA_TYPE

    def _cells(self, table: Table) -> list[list[Any]]:
        return self._fill(table.rows)

    def _compare_rows(
        self, expect: Rows, response: httpx.Response, path: str, send: Callable[[str], httpx.Response]
    ) -> str | None:
        """All pages are read. Of the next one's address only path and query count: it is asked here too."""
        found: list[Any] = []
        page = httpx.URL(self._base_url).join(self._text(path))
        for number in range(1, MOST_PAGES + 1):
            document = _json(response)
            if not response.is_success and number > 1:
                return f"page {number} has status {response.status_code}: {self._shown(response.text)}"
            if document is MISSING:
                return f"page {number} is not JSON, but {expect.at} is expected in it"
            found += jsonpath.findall(expect.at, document)
            further = jsonpath.findall(expect.next, document) if expect.next else []
            if not further or not further[0]:
                break
            page = page.join(str(further[0]))
            response = send(page.raw_path.decode())
        else:
            return f"{expect.next} leads on after {MOST_PAGES} pages, but an end is expected"
        table = self._scenario.tables[expect.of]
        cells = [
            [cell.date if isinstance(cell, Date) else cell for cell in row] for row in self._cells(table)
        ]
        return differences(expect, table.columns, cells, found, self._shown)

    def _compare(self, expect: Expect, response: httpx.Response) -> str | None:
        status = response.status_code
        if not (status in expect.status if expect.status else response.is_success):
            wanted = " or ".join(map(str, expect.status)) if expect.status else "2xx"
            return f"status is {status}, but expected {wanted}: {self._shown(response.text)}"
        for name, pattern in expect.headers.items():
            found, wanted = response.headers.get(name), self._text(pattern)
            if found is None or not fnmatch.fnmatchcase(found, wanted):
                shown = "missing" if found is None else self._shown(found)
                return f"header {name} is {shown}, but expected {wanted}"
        if expect.text is not None:
            wanted = self._text(expect.text.contains)
            if wanted not in response.text:
                return f"the text is {self._shown(response.text)}, but expected to contain {wanted}"
        if not expect.json_:
            return None
        document = _json(response)
        if document is MISSING:
            return f"the answer is not JSON, but {next(iter(expect.json_))} is expected in it"
        for path, wanted in expect.json_.items():
            fault = self._compare_value(path, jsonpath.findall(path, document), self._fill(wanted))
            if fault is not None:
                return fault
        return None

    def _compare_value(self, path: str, found: list[Any], wanted: Any) -> str | None:
        if isinstance(wanted, dict) and wanted.keys() == {"count_at_least"}:
            items = found[0] if len(found) == 1 and isinstance(found[0], list) else found
            least = wanted["count_at_least"]
            return (
                None
                if len(items) >= least
                else f"{path} has {len(items)} items, but expected at least {least}"
            )
        if not found:
            return f"{path} is missing, but expected {self._shown(dumped(wanted))}"
        shown = f"{path} is {self._shown(dumped(found[0]))}, but expected"
        if isinstance(wanted, dict) and wanted.keys() == {"contains"}:
            part = wanted["contains"]
            if isinstance(found[0], str):
                contained = isinstance(part, str) and part in found[0]
            else:
                contained = isinstance(found[0], (list, dict)) and part in found[0]
            return None if contained else f"{shown} to contain {self._shown(dumped(part))}"
        return None if same(found[0], wanted) else f"{shown} {self._shown(dumped(wanted))}"

    def _capture(self, step: Step, response: httpx.Response) -> str | None:
        document = _json(response) if step.capture else None
        for name, path in step.capture.items():
            found = [] if document is MISSING else jsonpath.findall(path, document)
            if not found:
                return (
                    f"{path} is missing, but {name} is to be captured from it: {self._shown(response.text)}"
                )
            self._values[name] = found[0]
        return None

    def _undefined(self, step: Step) -> bool:
        return any(name not in self._values for name in self._scenario.names(step))

    def _fill(self, value: Any) -> Any:
        """`value` with its placeholders replaced. A whole placeholder keeps the value's JSON type."""
        if isinstance(value, str):
            whole = PLACEHOLDER.fullmatch(value)
            return self._values[whole[1]] if whole else self._text(value)
        if isinstance(value, dict):
            return {name: self._fill(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item) for item in value]
        return value

    def _text(self, text: str) -> str:
        def word(match: re.Match[str]) -> str:
            value = self._values[match[1]]
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

        return PLACEHOLDER.sub(word, text)

    def _texts(self, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: self._text(text) for name, text in texts.items()}

    def _shown(self, text: str) -> str:
        """The beginning of what was found, on one line. Masked before it is cut."""
        line = " ".join(self._masked(text).split())
        return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def _whole(streamed: httpx.Response, until: float) -> httpx.Response:
    """The answer with its body. Raises `httpx.ReadTimeout`: httpx limits each read, and some never end."""
    body = bytearray()
    for part in streamed.iter_bytes():
        body += part
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer does not end")
    response = httpx.Response(streamed.status_code, content=bytes(body))
    response.headers = streamed.headers  # only now, since the body is decoded already
    return response


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return MISSING
