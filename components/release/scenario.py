"""The language of smoke scenarios, told in docs/smoke.md. verification.py runs them."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, Self

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
BUILT_IN = ("run.id", "run.number", "release.version")
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


def _is_base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


def _as_date(value: Any) -> str:
    """YAML makes a date of what looks like one."""
    if type(value) is datetime.date:
        return value.isoformat()
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise ValueError("a date such as 2026-11-24 is accepted") from None


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Span = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(ms|s)$", description="a time such as 2s or 500ms")]
UrlPath = Annotated[str, Field(pattern=r"^/", description="a path that begins with /")]
JsonPath = Annotated[str, AfterValidator(_is_jsonpath)]
Name = Annotated[str, Field(pattern=r"^[a-z_]\w*$", description="a name such as loan_id")]
Status = Annotated[int, Field(ge=100, le=599, description="an HTTP status")]
Method = Annotated[str, Field(pattern=r"^(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE)$", description="a method")]
Folder = Annotated[str, Field(pattern=r"^(\.|[^/*?]+(/[^/*?]+)*)$", description="a folder such as imports")]


class Date(Part):
    """A cell that is a date, as a spreadsheet knows it. In an answer it is this text."""

    date: Annotated[str, BeforeValidator(_as_date)]


Cell = Date | str | bool | int | float | None


class Table(Part):
    """What a workbook has in its one sheet, below a row of titles, or what must have arrived."""

    columns: Annotated[list[str], Field(min_length=1)]
    rows: list[list[Cell]]

    @model_validator(mode="after")
    def rectangular(self) -> Self:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"rows[{number}] has {len(row)} cells for {len(self.columns)} columns")
        return self


class Upload(Part):
    """One file of a form: a table as an Excel workbook, or a file beside the scenario.

    `content` is what becomes of `path` before the release begins, so that no step can read another file.
    """

    workbook: Name | None = None  # a table's name
    path: Annotated[str, Field(min_length=1)] | None = None
    content: Annotated[str, AfterValidator(_is_base64)] | None = None
    name: Annotated[str, Field(min_length=1)] | None = None  # None: as the table, or the file

    @model_validator(mode="after")
    def one_source(self) -> Self:
        if sum(source is not None for source in (self.workbook, self.path, self.content)) != 1:
            raise ValueError("exactly one of workbook and path is accepted")
        return self

    @property
    def filename(self) -> str:
        return self.name or (f"{self.workbook}.xlsx" if self.workbook else (self.path or "").split("/")[-1])


class Request(Part):
    method: Method = "GET"
    path: UrlPath
    headers: dict[str, str] = {}
    json_: JsonValue = Field(default=None, alias="json")
    form: dict[str, str] | None = None
    files: dict[str, Upload] = {}  # by form field; with `form`, a multipart body

    @model_validator(mode="after")
    def one_body(self) -> Self:
        if self.json_ is not None and (self.form is not None or self.files):
            raise ValueError("json and form or files exclude each other")
        return self


class Text(Part):
    contains: str


class Rows(Part):
    """The rows of an answer are those of a table, each found by its key, in any order."""

    of: Name
    at: JsonPath  # each match is a row
    next: JsonPath | None = None  # the address of the next page; None: all rows are in one answer
    key: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)] | None = (
        None  # None: 1st column
    )
    columns: dict[str, JsonPath] | None = None  # the compared ones, each in a row; None: all, by their names
    others: bool = False  # whether there may be further rows


class Expect(Part):
    """`json`: a JSONPath → a value, {contains: …} or {count_at_least: n}. Headers may use * and ?."""

    status: Annotated[list[Status], BeforeValidator(_as_list), Field(min_length=1)] | None = None  # None: 2xx
    headers: dict[str, str] = {}
    json_: dict[JsonPath, Annotated[JsonValue, AfterValidator(_is_expectation)]] = Field(
        default={}, alias="json"
    )
    rows: Rows | None = None
    text: Text | None = None
    within: Span | None = None


class Retry(Part):
    """Ask again until it is as expected, for at most this long."""

    for_: Span = Field(alias="for")
    every: Span | None = None


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

    def tables(self) -> Iterator[str]:
        """Names of those that it sends or expects."""
        yield from (upload.workbook for upload in self.request.files.values() if upload.workbook)
        if self.expect.rows is not None:
            yield self.expect.rows.of


class Check(Part):
    """A part of its own, of what not every release touches. It runs after the steps, with their captures."""

    name: Annotated[str, Field(min_length=1)]
    when: Literal["touched", "always"] = "touched"
    paths: list[Folder] = []  # folders of the source, with all below them
    steps: Annotated[list[Step], Field(min_length=1)]
    cleanup: list[Step] = []

    @model_validator(mode="after")
    def can_be_touched(self) -> Self:
        if self.when == "touched" and not self.paths:
            raise ValueError("paths is missing, but when: touched needs at least one folder")
        return self


class Scenario(Part):
    variables: dict[Name, str | bool | int | float] = {}
    headers: dict[str, str] = {}  # of every request
    tables: dict[Name, Table] = {}
    steps: Annotated[list[Step], Field(min_length=1)]
    cleanup: list[Step] = []
    checks: list[Check] = []

    @model_validator(mode="after")
    def checks_have_names(self) -> Self:
        names = [check.name for check in self.checks]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))} names several checks, but a name stands for one")
        return self

    def names(self, step: Step) -> Iterator[str]:
        """The placeholders of the step and of its tables."""
        yield from step.placeholders()
        for table in step.tables():
            yield from placeholders(self.tables[table])

    def secrets(self) -> frozenset[str]:
        """Names of the secrets that it uses."""
        return frozenset(
            name.removeprefix("secret.") for name in placeholders(self) if name.startswith("secret.")
        )

    def read_part(self) -> list[Step]:
        """The steps that read and upload nothing, without those that need what a write has captured."""
        captured = {name for step in self.steps for name in step.capture}
        known: set[str] = set()
        part = []
        for step in self.steps:
            if step.is_read and not step.request.files and captured.intersection(self.names(step)) <= known:
                part.append(step)
                known |= step.capture.keys()
        return part

    def of(self, steps: Sequence[Step]) -> Scenario:
        """The same with these steps and their tables, no clean-up and no checks."""
        used = {name: self.tables[name] for step in steps for name in step.tables()}
        return self.model_copy(update={"steps": list(steps), "tables": used, "cleanup": [], "checks": []})

    def paths(self) -> list[str]:
        """Of the files that it uploads from beside it."""
        parts = (self, *self.checks)
        steps = (step for part in parts for step in (*part.steps, *part.cleanup))
        uploads = (upload for step in steps for upload in step.request.files.values())
        return [upload.path for upload in uploads if upload.path is not None]

    def with_files(self, read: Callable[[str], bytes]) -> Scenario:
        """The same with the content of each file in place of its path."""

        def sent(upload: Upload) -> Upload:
            if upload.path is None:
                return upload
            content = base64.b64encode(read(upload.path)).decode()
            return Upload.model_validate({"content": content, "name": upload.filename})

        def filled(steps: Iterable[Step]) -> list[Step]:
            made = []
            for step in steps:
                files = {field: sent(upload) for field, upload in step.request.files.items()}
                request = step.request.model_copy(update={"files": files})
                made.append(step.model_copy(update={"request": request}))
            return made

        def part(whole: Scenario | Check) -> dict[str, list[Step]]:
            return {"steps": filled(whole.steps), "cleanup": filled(whole.cleanup)}

        checks = [check.model_copy(update=part(check)) for check in self.checks]
        return self.model_copy(update={**part(self), "checks": checks})

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
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = _place(document, detail["loc"], of_key=detail["type"] in ("missing", "extra_forbidden"))
        reason = " ".join(detail["msg"].removeprefix("Value error, ").split())
        raise ScenarioError(f"{source}: {place} is not accepted ({reason}); see docs/smoke.md.") from None
    except (YAMLError, ValueError) as error:  # the latter for 2026-02-30
        raise ScenarioError(f"{source} is not YAML ({' '.join(str(error).split())}); correct it.") from None
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
    """Every placeholder is built in, a variable, or captured by an earlier step; every table is there."""
    known = {*BUILT_IN}

    def check(place: str, names: Iterable[str]) -> None:
        for name in names:
            if name not in known and not name.startswith("secret."):
                raise ScenarioError(
                    f"{source}: {place} uses {{{name}}}, which nothing before it defines; "
                    f"capture it, or add it to variables."
                )

    def check_steps(part: str, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps):
            place = f'{part}[{number}] "{step.name}"'
            if fault := _of_tables(scenario, step):
                raise ScenarioError(f"{source}: {place} {fault}.")
            check(place, scenario.names(step))
            known.update(step.capture)

    for name, value in scenario.variables.items():
        check(f"variables.{name}", PLACEHOLDER.findall(str(value)))
        known.add(name)
    for name, value in scenario.headers.items():
        check(f"headers.{name}", PLACEHOLDER.findall(value))
    check_steps("steps", scenario.steps)
    shared = frozenset(known)
    check_steps("cleanup", scenario.cleanup)
    for number, one in enumerate(scenario.checks):
        known = {*shared}  # the checks before it may not have run
        check_steps(f"checks[{number}].steps", one.steps)
        check_steps(f"checks[{number}].cleanup", one.cleanup)


def _of_tables(scenario: Scenario, step: Step) -> str | None:
    """What is wrong with the step's tables, or None."""
    if missing := [name for name in step.tables() if name not in scenario.tables]:
        return f"names table {missing[0]}, which is not in tables; add it there"
    rows = step.expect.rows
    if rows is None:
        return None
    columns = scenario.tables[rows.of].columns
    named = (*(rows.key or ()), *(rows.columns or ()))
    if unknown := [name for name in named if name not in columns]:
        return f"names column {unknown[0]}, but table {rows.of} has {', '.join(columns)}; name one of these"
    if len({*columns}) != len(columns):
        return f"expects table {rows.of}, but a column comes twice in it; expect one in which none does"
    return None
