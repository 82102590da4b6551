"""The documentation's example is a configuration that works, and it names every key."""

from __future__ import annotations

import re
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from ruamel.yaml import YAML

from stacks.settings import PLACEHOLDERS, Settings, load_file

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()


def example() -> str:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return block


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
    path.write_text(example())
    assert load_file(path).app.settings == "mysite.settings"


def test_the_example_of_the_settings_page_has_every_key() -> None:
    document = YAML(typ="safe").load(example())
    written: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            written.update(str(key).removeprefix("relevo:") for key in value)
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    collect(document["config"])
    keys = {to_camel(name) for section in sections(Settings) for name in section.model_fields}
    assert keys - written == {"asgi"}, "asgi excludes wsgi, so it stands in a comment"


def test_the_settings_page_explains_every_placeholder() -> None:
    for placeholder in PLACEHOLDERS:
        group, _, part = placeholder.rpartition(".")
        assert f"{{{placeholder}}}" in PAGE or (f"`.{part}`" in PAGE and f"{{{group}." in PAGE), placeholder


def test_the_committed_stack_is_accepted() -> None:
    assert load_file(ROOT / "Pulumi.local.yaml").instances == 2
