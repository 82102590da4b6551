"""What a resource type takes and gives, read from the source of the installed SDKs.

From the source and not from the classes: to import them and resolve their hints takes seconds for a module
such as `web`, and the stand-in's process starts with each preview.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE, DOCKER = "azure-native", "docker"
VERSION = importlib.metadata.version("pulumi-azure-native")
DOCKER_VERSION = importlib.metadata.version("pulumi-docker")
# An enum of the same name in another API of the module has taken the place of this one in the SDK; the values
# are those of azure-mgmt-postgresqlflexibleservers.
MENDED = {("dbforpostgresql", "PrincipalType"): ("Unknown", "User", "Group", "ServicePrincipal")}
PLAIN = {"str": str, "int": int, "float": float, "bool": bool, "Any": object}


class UnknownType(Exception):
    """The SDK has no such resource; the text names it."""


@dataclass(frozen=True)
class Listed:
    item: Type


@dataclass(frozen=True)
class Mapped:
    value: Type


@dataclass(frozen=True)
class Chosen:
    """One of several."""

    among: tuple[Type, ...]


@dataclass(frozen=True)
class Enumerated:
    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Nested:
    """An object; its class in the SDK's `_inputs` module is looked up only when a value is there."""

    module: str
    name: str

    @functools.cached_property
    def fields(self) -> dict[str, Field]:
        return _fields(_class(self.module, "_inputs", self.name), self.module)


Type = type | Listed | Mapped | Chosen | Enumerated | Nested


@dataclass(frozen=True)
class Field:
    """An input. `constant`: the only value that tells this object from its alternatives."""

    type: Type
    required: bool
    constant: Any = None


@dataclass(frozen=True)
class Resource:
    """`inputs` and `outputs` as they travel, in camel case. `api_version` as the SDK's documentation says."""

    token: str
    api_version: str
    inputs: dict[str, Field]
    outputs: tuple[str, ...]


@functools.cache
def resource(token: str) -> Resource:
    """Of a token such as "azure-native:keyvault:Vault". Raises `UnknownType`."""
    package, module, name = token.split(":")
    module = DOCKER if package == DOCKER else module  # has no modules
    path = _folder(module)
    stem = name.lower()
    files = [file for file in path.glob("*.py") if file.stem.replace("_", "").rstrip("_") == stem]
    if package not in (PACKAGE, DOCKER) or not files:
        raise UnknownType(f"{token} is no resource of pulumi-azure-native {VERSION}.")
    (file,) = files
    text = _text(file)
    (versions,) = {tuple(re.findall(r"Uses Azure REST API version ([0-9a-z-]+)\.", text)[:1])}
    arguments = re.findall(r"^__all__ = \['(\w+)', '(\w+)'\]", text, re.MULTILINE)
    (args, made) = arguments[0]
    if made != name:
        raise UnknownType(f"{token} is no resource of pulumi-azure-native {VERSION}.")
    outputs = text[text.index(f"\nclass {name}(pulumi.CustomResource):") :]
    return Resource(
        token=token,
        api_version=versions[0] if versions else "",
        inputs=_fields(_cut(text, args), module),
        outputs=tuple(_getters(outputs).values()),
    )


@functools.cache
def _folder(module: str) -> Path:
    spec = importlib.util.find_spec("pulumi_docker" if module == DOCKER else "pulumi_azure_native")
    assert spec
    assert spec.submodule_search_locations
    found = Path(spec.submodule_search_locations[0])
    return found if module == DOCKER else found / module


@functools.cache
def _text(file: Path) -> str:
    return file.read_text()


def _class(module: str, file: str, name: str) -> str:
    return _cut(_text(_folder(module) / f"{file}.py"), name)


def _cut(text: str, name: str) -> str:
    """The source of one class of a generated module."""
    start = re.search(rf"^class {name}\b", text, re.MULTILINE)
    assert start, name
    end = re.compile(r"^\S", re.MULTILINE).search(text, start.end())
    return text[start.start() : end.start() if end else None]


def _getters(source: str) -> dict[str, str]:
    """Python name → name as it travels."""
    found = re.findall(
        r"^    @pulumi\.getter(?:\(name=\"(\w+)\"\))?\n    def (\w+)\(self\)", source, re.MULTILINE
    )
    return {python: travelling or python for travelling, python in found}


def _fields(source: str, module: str) -> dict[str, Field]:
    names = _getters(source)
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    init = next(
        node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    constants = dict(_constants(init))
    fields = {}
    arguments = [*zip(init.args.args[1:], init.args.defaults, strict=False)]  # none in generated classes
    assert not arguments
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        assert argument.annotation
        fields[names[argument.arg]] = Field(
            type=_type(argument.annotation, module),
            required=default is None,
            constant=constants.get(argument.arg),
        )
    return fields


def _constants(init: ast.FunctionDef) -> Iterator[tuple[str, Any]]:
    """`pulumi.set(__self__, "name", 'ModifyRequestHeader')`: an argument that has one value only."""
    for node in init.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            _, name, value = node.value.args
            if isinstance(name, ast.Constant) and isinstance(value, ast.Constant):
                yield str(name.value), value.value


def _type(annotation: ast.expr, module: str) -> Type:
    if isinstance(annotation, ast.Constant):
        return _named(str(annotation.value), module)
    if isinstance(annotation, ast.Attribute):
        return PLAIN[annotation.attr]
    if isinstance(annotation, ast.Name):
        return PLAIN[annotation.id]
    assert isinstance(annotation, ast.Subscript)
    origin = annotation.value
    kind = origin.attr if isinstance(origin, ast.Attribute) else getattr(origin, "id", "")
    parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    if kind in ("Input", "Optional"):
        return _type(parts[0], module)
    if kind == "Sequence":
        return Listed(_type(parts[0], module))
    if kind == "Mapping":
        return Mapped(_type(parts[1], module))
    assert kind == "Union", kind
    among = [_type(part, module) for part in parts]
    # Most of Azure's enums are open in the SDK: any text passes there, and is refused by ARM much later.
    if any(isinstance(one, Enumerated) for one in among):
        among = [one for one in among if isinstance(one, Enumerated)]
    return among[0] if len(among) == 1 else Chosen(tuple(among))


@functools.cache
def _named(name: str, module: str) -> Type:
    if name.endswith("Args"):
        return Nested(module, name)
    if (module, name) in MENDED:
        return Enumerated(name, MENDED[module, name])
    tree = ast.parse(_class(module, "_enums", name))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    values = [ast.literal_eval(node.value) for node in definition.body if isinstance(node, ast.Assign)]
    return Enumerated(name, tuple(values))
