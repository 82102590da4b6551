"""Imports go one way: settings → target → release → verification → record. Nothing points back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("components", "stacks", "relevo")
SOURCES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
# What every target is made of besides its own.
SHARED = tuple(
    f"components.{name}"
    for name in (
        "target",
        "masking",
        "templates",
        "capacity",
        "startup",
        "dumping",
        "comparing",
        "restoring",
        "workers",
        "faults",
        "log_lines",
        "tracebacks",
    )
)
# What a target has of the release: what an artefact is, and how a process is asked by a scenario.
OF_RELEASE = tuple(
    f"components.release.{name}" for name in ("manifest", "aside", "scenario.parse", "verification.Result")
)
# Which of our modules a part may import, by the longest matching prefix of the importing module.
MAY_IMPORT = {
    "components.target": ("components.release.manifest", "components.release.verification.Result"),
    "components.capacity": ("components.target",),
    "components.dumping": ("components.target",),
    "components.comparing": ("components.target",),
    "components.restoring": ("components.target", "components.dumping", "components.comparing"),
    "components.startup": ("components.log_lines", "components.tracebacks"),
    "components.tracebacks": ("components.log_lines",),
    "components.release": (
        "components.target",
        "components.faults",
        "components.masking",
        "components.tracebacks",
        "components.release",
    ),
    "components.azure": (*SHARED, "components.azure", *OF_RELEASE),
    "components.local": (*SHARED, "components.local", *OF_RELEASE),
    "stacks": ("components", "stacks"),
    "relevo": OURS,
}
PURE = (
    "chain",
    "evidence",
    "history",
    "manifest",
    "measures",
    "pipeline",
    "plan",
    "reading",
    "record",
    "recorded_schema",
    "recovery",
    "restoration",
    "return_time",
    "reversal",
    "reviewing",
    "rollback",
    "spec",
    "watching",
    "touched",
    "volume_query",
)
ORDERED_SIDE_EFFECTS = ("pulumi", "pulumi_command", "subprocess", "httpx", "os", "socket", "shutil")


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Every module or name that a file imports, absolute, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    importer = module(path)
    rules = [prefix for prefix in MAY_IMPORT if within(importer, (prefix,))]
    allowed = MAY_IMPORT[max(rules, key=len)] if rules else ()
    wrong = [name for name in imported(path) if within(name, OURS) and not within(name, allowed)]
    assert not wrong, f"{importer} imports {', '.join(wrong)}"


@pytest.mark.parametrize("name", PURE)
def test_decisions_are_pure(name: str) -> None:
    wrong = [i for i in imported(ROOT / f"components/release/{name}.py") if within(i, ORDERED_SIDE_EFFECTS)]
    assert not wrong, f"components.release.{name} imports {', '.join(wrong)}"


def test_only_the_settings_read_the_configuration() -> None:
    readers = {
        module(path)
        for path in SOURCES
        if any(word in path.read_text() for word in ("pulumi.Config", "runtime.config"))
    }
    assert readers == {"stacks.settings"}


def test_only_one_place_makes_a_command() -> None:
    makers = {module(path) for path in SOURCES if any(within(i, ("pulumi_command",)) for i in imported(path))}
    assert makers == {"components.release.step"}
