"""The language of smoke scenarios, told in docs/smoke.md. verification.py runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Self

import jsonpath
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.]*)\}")
BUILT_IN = ("run.id", "release.version")
SAFE = ("GET", "HEAD", "OPTIONS")  # "Safe Methods", RFC 9110


class ScenarioError(Exception):
    """The scenario cannot be used. One line: file, place, what was found, remedy."""


def seconds(text: str) -> float:
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def _is_jsonpath(text: str) -> str:
    try:
        jsonpath.compile(text)
    except jsonpath.JSONPathError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{text} is not a JSONPath: {reason}") from None
    return text


def _is_expectation(value: JsonValue) -> JsonValue:
    """A map that means a comparison must be one: a misspelt one would be compared as a value."""
    if isinstance(value, dict) and value.keys() & {"contains", "count_at_least"}:
        if len(value) != 1:
            raise ValueError("exactly one of contains and count_at_least is accepted")
        least = value.get("count_at_least", 0)
        if not isinstance(least, int) or isinstance(least, bool) or least < 0:
            raise ValueError("count_at_least is a whole number of at least 0")
    return value


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Span = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(ms|s)$", description="a time such as 2s or 500ms")]
UrlPath = Annotated[str, Field(pattern=r"^/", description="a path that begins with /")]
JsonPath = Annotated[str, AfterValidator(_is_jsonpath)]
Name = Annotated[str, Field(pattern=r"^[a-z_]\w*$", description="a name such as loan_id")]
Status = Annotated[int, Field(ge=100, le=599, description="an HTTP status")]
Method = Annotated[str, Field(pattern=r"^(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE)$", description="a method")]


class Request(Part):
    method: Method = "GET"
    path: UrlPath
    headers: dict[str, str] = {}
    json_: JsonValue = Field(default=None, alias="json")
    form: dict[str, str] | None = None

    @model_validator(mode="after")
    def one_body(self) -> Self:
        if self.json_ is not None and self.form is not None:
            raise ValueError("json and form exclude each other")
        return self


class Text(Part):
    contains: str


class Expect(Part):
    """`json`: a JSONPath → a value, {contains: …} or {count_at_least: n}. Headers may use * and ?."""

    status: Annotated[list[Status], BeforeValidator(_as_list), Field(min_length=1)] | None = None  # None: 2xx
    headers: dict[str, str] = {}
    json_: dict[JsonPath, Annotated[JsonValue, AfterValidator(_is_expectation)]] = Field(
        default={}, alias="json"
    )
    text: Text | None = None
    within: Span | None = None


class Retry(Part):
    """Ask again until it is as expected, for at most this long."""

    for_: Span = Field(alias="for")


class Step(Part):
    name: Annotated[str, Field(min_length=1)]
    request: Request
    expect: Expect = Expect()
    capture: dict[Name, JsonPath] = {}
    retry: Retry | None = None
    reads: bool | None = None  # None: as its method says

    @property
    def is_read(self) -> bool:
        return self.request.method in SAFE if self.reads is None else self.reads

    def placeholders(self) -> Iterator[str]:
        yield from placeholders(self.request)
        yield from placeholders(self.expect)


class Scenario(Part):
    variables: dict[Name, str | bool | int | float] = {}
    headers: dict[str, str] = {}  # of every request
    steps: Annotated[list[Step], Field(min_length=1)]
    cleanup: list[Step] = []

    def secrets(self) -> frozenset[str]:
        """Names of the secrets that it uses."""
        return frozenset(
            name.removeprefix("secret.") for name in placeholders(self) if name.startswith("secret.")
        )

    def read_part(self) -> list[Step]:
        """The steps that read, but for those that need what a step that writes has captured."""
        captured = {name for step in self.steps for name in step.capture}
        known: set[str] = set()
        part = []
        for step in self.steps:
            if step.is_read and captured.intersection(step.placeholders()) <= known:
                part.append(step)
                known |= step.capture.keys()
        return part

    def of(self, steps: Sequence[Step]) -> Scenario:
        """The same with these steps and no clean-up."""
        return self.model_copy(update={"steps": list(steps), "cleanup": []})

    def to_text(self) -> str:
        """As `parse` takes it."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)


def placeholders(part: Part) -> list[str]:
    return PLACEHOLDER.findall(part.model_dump_json(by_alias=True))


def parse(text: str, source: str) -> Scenario:
    """The scenario in `text`; `source` names it in errors. Raises `ScenarioError`."""
    document: Any = None
    try:
        document = YAML(typ="safe").load(text)
        scenario = Scenario.model_validate(document)
    except YAMLError as error:
        raise ScenarioError(f"{source} is not YAML ({' '.join(str(error).split())}); correct it.") from None
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = _place(document, detail["loc"], of_key=detail["type"] in ("missing", "extra_forbidden"))
        reason = " ".join(detail["msg"].removeprefix("Value error, ").split())
        raise ScenarioError(f"{source}: {place} is not accepted ({reason}); see docs/smoke.md.") from None
    _check_names(scenario, source)
    return scenario


def _place(document: Any, path: tuple[int | str, ...], *, of_key: bool) -> str:
    """Where in the document a fault lies, without what pydantic adds for its unions."""
    place = ""
    for position, part in enumerate(path):
        inside = isinstance(document, dict) and part in document
        if inside or (isinstance(document, list) and isinstance(part, int)):
            document = document[part]  # pyright: ignore[reportIndexIssue, reportCallIssue, reportArgumentType]
        elif not (of_key and position == len(path) - 1):
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return place.removeprefix(".") or "the file"


def _check_names(scenario: Scenario, source: str) -> None:
    """Every placeholder is built in, a variable, or captured by an earlier step."""
    known = {*BUILT_IN}

    def check(place: str, names: Iterator[str] | list[str]) -> None:
        for name in names:
            if name not in known and not name.startswith("secret."):
                raise ScenarioError(
                    f"{source}: {place} uses {{{name}}}, which nothing before it defines; "
                    f"capture it, or add it to variables."
                )

    for name, value in scenario.variables.items():
        check(f"variables.{name}", PLACEHOLDER.findall(str(value)))
        known.add(name)
    for name, value in scenario.headers.items():
        check(f"headers.{name}", PLACEHOLDER.findall(value))
    for part, steps in (("steps", scenario.steps), ("cleanup", scenario.cleanup)):
        for number, step in enumerate(steps):
            check(f'{part}[{number}] "{step.name}"', step.placeholders())
            known |= step.capture.keys()
