"""What the documentation shows is accepted, and what it names exists."""

from __future__ import annotations

import itertools
import json
import re
import typing
from pathlib import Path

import pytest
import typer
import typer.core
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from ruamel.yaml import YAML

from components.release import scenario
from relevo import cli
from stacks.azure_settings import AzureSection
from stacks.settings import PLACEHOLDERS, Settings, load_file

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()


def examples() -> tuple[str, str]:
    """The whole configuration of a local stack, and what one on Azure has besides."""
    local, azure = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return local, azure


def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model and every section below it."""
    found = {model}
    pending = [field.annotation for field in model.model_fields.values()]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found |= sections(annotation)
        else:
            pending.extend(typing.get_args(annotation))
    return found


def test_the_example_of_the_settings_page_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.example.yaml"
    local, azure = examples()
    path.write_text(local)
    assert load_file(path).app.settings == "mysite.settings"
    document = YAML(typ="safe").load(local)["config"]
    for key in ("port", "stateDir", "logbook", "database", "cache"):
        del document[f"relevo:{key}"]
    document |= YAML(typ="safe").load(azure)["config"]
    document |= {"relevo:target": "azure", "relevo:limits": {"readySeconds": 600, "drainSeconds": 2700}}
    path.write_text(json.dumps({"config": document}))
    settings = load_file(path)
    assert settings.azure is not None
    assert settings.azure.front_door.domain == "shop.example.org"


def test_the_example_of_the_settings_page_has_every_key() -> None:
    local, azure = examples()
    document = YAML(typ="safe").load(local)["config"] | YAML(typ="safe").load(azure)["config"]
    written: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            written.update(str(key).removeprefix("relevo:") for key in value)
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    collect(document)
    keys = {to_camel(name) for section in sections(Settings) for name in section.model_fields}
    assert keys - written == {"asgi", "server", "serverSecret", "allBut"}, (
        "exclude others, so they stand in comments"
    )
    assert all(re.search(rf"\b{key}: ", local) for key in keys - written)


def test_the_settings_page_explains_every_placeholder() -> None:
    for placeholder in PLACEHOLDERS:
        group, _, part = placeholder.rpartition(".")
        assert f"{{{placeholder}}}" in PAGE or (f"`.{part}`" in PAGE and f"{{{group}." in PAGE), placeholder


@pytest.mark.parametrize(("stack", "instances"), [("local", 2), ("dev", 2), ("qa", 2), ("prod", 3)])
def test_the_committed_stacks_are_accepted(stack: str, instances: int) -> None:
    assert load_file(ROOT / f"Pulumi.{stack}.yaml").instances == instances


@pytest.mark.parametrize("stack", ["dev", "qa", "prod"])
def test_a_stack_on_azure_has_every_key_of_azure_and_a_comment_on_each(stack: str) -> None:
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    azure = AzureSection.model_validate(YAML(typ="safe").load(text)["config"]["relevo:azure"])
    assert azure.model_dump(exclude_unset=True) == azure.model_dump()
    lines = text.splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if re.match(r" +[\w:]+:", line) and "# " not in line and "# " not in before
    ]
    assert bare == []


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_configuration_and_the_scenario_of_the_own_project_are_accepted(tmp_path: Path) -> None:
    whole, steps, database, server = re.findall(r"```yaml\n(.*?)```", read("own-project"), re.DOTALL)
    path = tmp_path / "Pulumi.shop.yaml"
    path.write_text(whole + database.removeprefix("config:\n"))
    settings = load_file(path)
    assert settings.app.build.project == "server"
    assert settings.database.binaries is not None
    path.write_text(whole.replace("  relevo:secrets:\n", server.removeprefix("config:\n"), 1))
    assert load_file(path).database.server_secret == "DATABASE_ADMIN"
    assert scenario.parse(steps, "docs/own-project.md").steps[0].expect.status == [301]


def test_the_smoke_page_names_every_word_of_the_language() -> None:
    words = {
        field.alias or name
        for section in sections(scenario.Scenario)
        for name, field in section.model_fields.items()
    }
    assert {word for word in words if not re.search(rf"\b{word}\b", read("smoke"))} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists(page: Path) -> None:
    known = typer.main.get_command(cli.app)
    assert isinstance(known, typer.core.TyperGroup)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = re.findall(r"(?:`|^\$ |&& )(relevo|make) ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert {word for program, word in commands if program == "relevo"} <= set(known.commands)
    assert {word for program, word in commands if program == "make"} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_map_names_what_is_there() -> None:
    named = re.findall(r"^\| (.+?) \|", read("map"), re.MULTILINE)[2:]
    paths = [path for cell in named for path in re.findall(r"`([^`<]+)`", cell)]
    folders = ("", "stacks", "components/release", "tests")  # a row gives the folder once
    missing = [path for path in paths if not any((ROOT / folder / path).exists() for folder in folders)]
    assert missing == []


def read(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text()
