"""What must not be released is refused in one line, before anything has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(
    new_project: Callable[..., Project], configuration: dict[str, Any], digests: dict[str, str]
) -> Project:
    """v2, released. The tests go on from it, in their order, to v3 and v4."""
    project = new_project("refusals", configuration)
    project.release(digests["v2"])
    return project


def with_variable(configuration: dict[str, Any], **variables: str | None) -> dict[str, Any]:
    environment = {**configuration["app"]["environment"], **variables}
    kept = {name: value for name, value in environment.items() if value is not None}
    return {**configuration["app"], "environment": kept}


HOSTILE: list[tuple[str, Any, str]] = [
    ("instances", 1, "relevo:instances is 1, but a rolling release needs at least 2; raise it."),
    ("instnaces", 2, "relevo:instnaces is not a key, but only"),
    ("smoke", "nowhere.yaml", "relevo:smoke is nowhere.yaml, but it cannot be read"),
    ("image", "latest", 'relevo:image is "latest", but a digest'),
    (
        "database",
        {"binaries": "/nowhere"},
        "relevo:database.binaries is /nowhere, but there is no initdb in it;",
    ),
]


@pytest.mark.parametrize(("key", "value", "expected"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_bad_configuration_changes_nothing(site: Project, key: str, value: Any, expected: str) -> None:
    text, record, state = site.configuration.read_text(), site.record(), site.exported
    site.set(key, value)
    try:
        output = site.up(status=None)
        assert expected in output
        assert "Traceback" not in output
    finally:
        site.configuration.write_text(text)
    assert site.record() == record
    assert site.exported == state
    assert set(site.versions().values()) == {"v2"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"DEBUG": "true"}, "DEBUG is on"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS has a wildcard"),
        ({"DATABASE_URL": "postgres://app:x@127.0.0.1:1/elsewhere"}, "'elsewhere'"),
        ({"REDIS_URL": None}, "REDIS_URL"),
    ],
    ids=["debug", "wildcard", "other database", "missing variable"],
)
def test_unsafe_settings_are_refused_by_preflight(
    site: Project, configuration: dict[str, Any], variables: dict[str, str | None], expected: str
) -> None:
    text = site.configuration.read_text()
    site.set("app", with_variable(configuration, **variables))
    try:
        output = site.up(status=1, preview=False)
    finally:
        site.configuration.write_text(text)
    assert expected in output
    failed = [entry for entry in site.record() if entry["event"] == "step failed"][-1]
    assert failed["step"] == "preflight"
    assert expected in failed["error"]
    assert set(site.versions().values()) == {"v2"}
    assert httpx.get(f"{site.url}/readyz/").status_code == 200


def test_a_migration_that_breaks_the_running_version_needs_to_be_accepted(
    site: Project, digests: dict[str, str]
) -> None:
    output = site.release(digests["v3"], status=1)
    assert "relevo:acceptIncompatible: v3" in output
    assert set(site.versions().values()) == {"v2"}

    site.set("acceptIncompatible", "v3")
    site.up(preview=False)
    assert set(site.versions().values()) == {"v3"}
    site.unset("acceptIncompatible")


def test_a_rollback_over_a_migration_that_breaks_it_is_refused(
    site: Project, digests: dict[str, str]
) -> None:
    output = site.release(digests["v2"], status=1)
    assert "the database has migrations that v2 does not know" in output
    assert set(site.versions().values()) == {"v3"}


def test_two_releases_at_once_are_refused_by_the_engines_lock(site: Project, digests: dict[str, str]) -> None:
    site.pin(digests["v4"])
    first = site.start(*site.up_command(preview=False))
    try:
        before = len(site.record())
        while len(site.record()) == before:
            assert first.poll() is None
        second = site.up(status=None, preview=False)
    finally:
        output, _ = first.communicate(timeout=300)
    assert "locked" in second
    assert first.returncode == 0, output
    assert site.record()[-1]["event"] in ("step done", "notified")
    assert set(site.versions().values()) == {"v4"}


def test_a_rollback_over_a_migration_that_cannot_be_reversed_is_refused(
    site: Project, digests: dict[str, str]
) -> None:
    output = site.release(digests["v3"], status=1)
    assert "cannot be reversed" in output
    assert set(site.versions().values()) == {"v4"}
