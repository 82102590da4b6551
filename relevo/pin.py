"""The one line that says what runs, `relevo:image` in Pulumi.<stack>.yaml, edited without touching others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.local import durable
from relevo.errors import RelevoError

KEY = "relevo:image"
_LINE = re.compile(
    r"^(?P<head>[ \t]+(?P<quote>['\"]?)relevo:image(?P=quote)[ \t]*:)[ \t]*"
    r"(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s#]*)(?P<tail>[ \t]*(?:#[^\r\n]*)?\r?)$",
    re.MULTILINE,
)
# The first is where a reader looks for it.
_PLACES = (
    re.compile(r"^(?P<indent>[ \t]+)relevo:target:[ \t]*[^\s#]+[^\n]*\n", re.MULTILINE),
    re.compile(
        r"^config:[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*(?=(?P<indent>[ \t]+)\S)", re.MULTILINE
    ),
)


def pinned(configuration: Path) -> str | None:
    """The image that the stack's configuration names. Raises `RelevoError` if there is no configuration."""
    _, document = _read(configuration)
    value = _config(document).get(KEY)
    return None if value is None else str(value)


def is_on_azure(configuration: Path) -> bool:
    """Read from the file alone, so that a pin can be put right that makes the configuration invalid."""
    _, document = _read(configuration)
    return _config(document).get("relevo:target") == "azure"


def pin(configuration: Path, image: str) -> str | None:
    """Write the line; returns what it was before. Raises `RelevoError` and changes nothing if it cannot."""
    configuration = configuration.resolve()  # a link stays one
    text, document = _read(configuration)
    before = _config(document).get(KEY)
    if before == image:
        return before
    changed = edited(text, image, configuration.name)
    durable.write(configuration, changed, mode=configuration.stat().st_mode & 0o777)
    return None if before is None else str(before)


def edited(text: str, image: str, name: str) -> str:
    """A configuration's text with another image; `name` is its file. Raises `RelevoError` if it cannot be."""
    document = _checked(text, name)
    changed = _edit(text, image)
    expected = {**document, "config": {**_config(document), KEY: image}}
    if changed is None or _parse(changed) != expected:
        raise RelevoError(
            f"{name} is written in a way in which {KEY} cannot be set without touching more; "
            f"write one key a line under config, or set {KEY}: {image} by hand."
        )
    return changed


def _edit(text: str, image: str) -> str | None:
    if _LINE.search(text):
        return _LINE.sub(lambda line: f"{line['head']} {image}{line['tail']}", text, count=1)
    for place in _PLACES:
        found = place.search(text)
        if found:
            return f"{text[: found.end()]}{found['indent']}{KEY}: {image}\n{text[found.end() :]}"
    return None


def _read(configuration: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = configuration.read_bytes().decode()
    except FileNotFoundError:
        raise RelevoError(
            f"{configuration.name} is not in {configuration.parent}, but each stack has one; "
            f"name another by --stack, or copy Pulumi.local.yaml."
        ) from None
    except UnicodeDecodeError:
        raise RelevoError(f"{configuration.name} is not UTF-8, but YAML is; correct it.") from None
    return text, _checked(text, configuration.name)


def _checked(text: str, name: str) -> dict[str, Any]:
    document = _parse(text)
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        raise RelevoError(f"{name} has no map of keys under config, but {KEY} is one of them; correct it.")
    return document


def _config(document: dict[str, Any]) -> dict[str, Any]:
    return document["config"]


def _parse(text: str) -> Any:
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise RelevoError(
            f"the stack's configuration is not YAML ({' '.join(str(error).split())}); correct it."
        ) from None
