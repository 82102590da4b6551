"""The smoke scenario: requests in order, what each must answer, and the clean-up that always runs."""

from __future__ import annotations

import fnmatch
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import httpx
import jsonpath
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.]*)\}")
LONGEST_REQUEST = 30.0  # seconds, where the scenario says nothing
RETRY_PAUSE = 0.2
MASK = "********"


class ScenarioError(Exception):
    """The scenario cannot be used. One line: place, what was found, what is accepted."""


class ScenarioFailed(Exception):
    """A request was not answered as expected. One line; what was seen until then is in `results`."""

    def __init__(self, message: str, results: tuple[Result, ...]) -> None:
        super().__init__(message)
        self.results = results


@dataclass(frozen=True, kw_only=True)
class Result:
    """One request as it went. `fault` is None when it was answered as expected."""

    name: str
    status: int | None
    milliseconds: int
    fault: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _seconds(text: str) -> float:
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def _is_jsonpath(text: str) -> str:
    try:
        jsonpath.compile(text)
    except jsonpath.JSONPathError as error:
        raise ValueError(f"it is not a JSONPath ({error})") from None
    return text


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Span = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(ms|s)$")]
Path = Annotated[str, Field(pattern=r"^/")]
JsonPath = Annotated[str, AfterValidator(_is_jsonpath)]
Status = Annotated[int, Field(ge=100, le=599)]


class Request(Part):
    method: Annotated[str, Field(pattern=r"^(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE)$")] = "GET"
    path: Path
    headers: dict[str, str] = {}
    json_: Any = Field(default=None, alias="json")
    form: dict[str, str] | None = None


class Expect(Part):
    """`json` maps a JSONPath to a value, {contains: …} or {count_at_least: n}; headers may use * and ?."""

    status: Status | list[Status] | None = None
    headers: dict[str, str] = {}
    json_: dict[JsonPath, Any] = Field(default={}, alias="json")
    text: dict[str, str] = {}
    within: Span | None = None


class Retry(Part):
    """Ask again until it is as expected, for at most this long."""

    for_: Span = Field(alias="for")


class Step(Part):
    name: Annotated[str, Field(min_length=1)]
    request: Request
    expect: Expect = Expect()
    capture: dict[Annotated[str, Field(pattern=r"^[a-z_]\w*$")], JsonPath] = {}
    retry: Retry | None = None


class Scenario(Part):
    variables: dict[Annotated[str, Field(pattern=r"^[a-z_]\w*$")], str] = {}
    headers: dict[str, str] = {}
    steps: Annotated[list[Step], Field(min_length=1)]
    cleanup: list[Step] = []

    def secrets(self) -> frozenset[str]:
        """Names of the secrets that it uses."""
        names = PLACEHOLDER.findall(self.model_dump_json(by_alias=True))
        return frozenset(name.removeprefix("secret.") for name in names if name.startswith("secret."))


def parse(text: str, source: str) -> Scenario:
    """The scenario in `text`; `source` names it in errors. Raises `ScenarioError`."""
    try:
        document = YAML(typ="safe").load(text)
        scenario = Scenario.model_validate(document)
    except YAMLError as error:
        raise ScenarioError(f"{source} is not YAML ({' '.join(str(error).split())}); correct it.") from None
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
        raise ScenarioError(
            f"{source}: {place.removeprefix('.') or 'the scenario'} is not accepted "
            f"({detail['msg'].removeprefix('Value error, ')}); correct it (docs/smoke.md)."
        ) from None
    _check_names(scenario, source)
    return scenario


def _check_names(scenario: Scenario, source: str) -> None:
    """Every placeholder is a variable, built in, or captured by an earlier step."""
    known = {"run.id", "release.version", *scenario.variables}
    for step in (*scenario.steps, *scenario.cleanup):
        for name in PLACEHOLDER.findall(step.request.model_dump_json(by_alias=True)):
            if name not in known and not name.startswith("secret."):
                raise ScenarioError(
                    f'{source}: step "{step.name}" uses {{{name}}}, which nothing before it defines; '
                    f"capture it, or add it to variables."
                )
        known |= step.capture.keys()


class Runner:
    """Runs a scenario once against one address. Redirects are not followed."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        base_url: str,
        version: str,
        secret: Callable[[str], str],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._scenario = scenario
        self._hidden = {name: secret(name) for name in scenario.secrets()}
        self._values: dict[str, Any] = {"run.id": uuid.uuid4().hex, "release.version": version}
        self._values |= {f"secret.{name}": value for name, value in self._hidden.items()}
        self._values |= {name: self._fill(text) for name, text in scenario.variables.items()}
        self._base_url = base_url
        self._headers = {**(headers or {}), **scenario.headers}
        self._results: list[Result] = []

    def run(self) -> tuple[Result, ...]:
        """The results, all as expected. Raises `ScenarioFailed` with the first fault, after the clean-up."""
        fault: str | None = None
        with httpx.Client(base_url=self._base_url, timeout=LONGEST_REQUEST, trust_env=False) as client:
            try:
                for step in self._scenario.steps:
                    fault = self._step(client, step)
                    if fault is not None:
                        break
            finally:
                for step in self._scenario.cleanup:
                    if self._can_fill(step):
                        left = self._step(client, step)
                        if left is not None:
                            fault = f"{fault}; and the clean-up failed: {left}" if fault else left
        results = tuple(self._results)
        if fault is not None:
            raise ScenarioFailed(fault, results)
        return results

    def _step(self, client: httpx.Client, step: Step) -> str | None:
        """Run one request, again where it may be; its fault, or None."""
        deadline = time.monotonic() + (_seconds(step.retry.for_) if step.retry else 0)
        while True:
            began = time.monotonic()
            status, fault = self._ask(client, step)
            if fault is None or time.monotonic() >= deadline:
                break
            time.sleep(RETRY_PAUSE)
        if fault is not None:
            fault = self._masked(f'"{step.name}" {step.request.method} {step.request.path}: {fault}')
        milliseconds = round((time.monotonic() - began) * 1000)
        self._results.append(Result(name=step.name, status=status, milliseconds=milliseconds, fault=fault))
        return fault

    def _ask(self, client: httpx.Client, step: Step) -> tuple[int | None, str | None]:
        request, expect = step.request, step.expect
        within = _seconds(expect.within) if expect.within else LONGEST_REQUEST
        began = time.monotonic()
        try:
            response = client.request(
                request.method,
                self._fill(request.path),
                headers=self._fill({**self._headers, **request.headers}),
                json=self._fill(request.json_),
                data=self._fill(request.form),
                timeout=within + 1,
            )
        except httpx.TimeoutException:
            return None, f"no answer within {within:g} s"
        except httpx.HTTPError as error:
            return None, f"{type(error).__name__} ({error})"
        took = time.monotonic() - began
        fault = self._compare(expect, response)
        if fault is None and took > within:
            fault = f"answered after {took:.2f} s, but expected within {within:g} s"
        if fault is None:
            fault = self._capture(step, response)
        return response.status_code, fault

    def _compare(self, expect: Expect, response: httpx.Response) -> str | None:
        accepted = expect.status if isinstance(expect.status, list) else [expect.status]
        if expect.status is not None and response.status_code not in accepted:
            wanted = " or ".join(map(str, accepted))
            body = " ".join(response.text.split())[:200]
            return f"status is {response.status_code}, but expected {wanted}: {body}"
        for name, pattern in expect.headers.items():
            found = response.headers.get(name)
            wanted = self._fill(pattern)
            if found is None or not fnmatch.fnmatchcase(found, wanted):
                return f"header {name} is {found!r}, but expected {wanted!r}"
        contained = expect.text.get("contains")
        if contained is not None and self._fill(contained) not in response.text:
            return f"the text has no {self._fill(contained)!r}"
        if not expect.json_:
            return None
        try:
            document = response.json()
        except ValueError:
            return "the answer is not JSON"
        for path, wanted in expect.json_.items():
            fault = _compare_value(path, jsonpath.findall(path, document), self._fill(wanted))
            if fault is not None:
                return fault
        return None

    def _capture(self, step: Step, response: httpx.Response) -> str | None:
        if not step.capture:
            return None
        try:
            document = response.json()
        except ValueError:
            return "the answer is not JSON, but something is to be captured of it"
        for name, path in step.capture.items():
            found = jsonpath.findall(path, document)
            if not found:
                return f"{path} is not in the answer, but {name} is to be captured from it"
            self._values[name] = found[0]
        return None

    def _can_fill(self, step: Step) -> bool:
        """Whether everything that a clean-up step names was captured; else there is nothing to clean."""
        names = PLACEHOLDER.findall(step.request.model_dump_json(by_alias=True))
        return all(name in self._values for name in names)

    def _fill(self, value: Any) -> Any:
        """`value`, its placeholders replaced. Text that is nothing but one keeps the value's JSON type."""
        if isinstance(value, str):
            whole = PLACEHOLDER.fullmatch(value)
            if whole and whole[1] in self._values:
                return self._values[whole[1]]
            return PLACEHOLDER.sub(lambda match: str(self._values.get(match[1], match[0])), value)
        if isinstance(value, dict):
            return {name: self._fill(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item) for item in value]
        return value

    def _masked(self, text: str) -> str:
        for value in self._hidden.values():
            text = text.replace(value, MASK).replace(json.dumps(value)[1:-1], MASK)
        return text


def _compare_value(path: str, found: list[Any], wanted: Any) -> str | None:
    if isinstance(wanted, dict) and wanted.keys() == {"count_at_least"}:
        items = found[0] if len(found) == 1 and isinstance(found[0], list) else found
        if len(items) < wanted["count_at_least"]:
            return f"{path} has {len(items)} items, but expected at least {wanted['count_at_least']}"
        return None
    if not found:
        return f"{path} is not in the answer"
    if isinstance(wanted, dict) and wanted.keys() == {"contains"}:
        if wanted["contains"] not in found[0]:
            return f"{path} is {_shown(found[0])}, but expected to contain {_shown(wanted['contains'])}"
        return None
    if found[0] != wanted:
        return f"{path} is {_shown(found[0])}, but expected {_shown(wanted)}"
    return None


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:100]
