"""The environment that a project's process finds."""

from __future__ import annotations

from typing import Any

import pytest

from components.local import vault
from components.local.environment import process_environment, resolve
from components.target import Deployment, TargetError

SECRETS = {
    vault.DATABASE_USER: "p@ss/word",
    vault.CACHE_APP: "app-pass",
    vault.CACHE_READER: "reader-pass",
    "SECRET_KEY": "the-key",
    "ADMIN": "admin-pass",
}
FACTS: dict[str, Any] = {
    "ports": {"public": 8000, "database": 5432, "cache": 6379},
    "database": {"name": "site", "user": "owner"},
    "app": {"settings": "site.settings", "environment": {}},
    "processes": {"worker": {"command": ["celery"], "environment": {"ROLE": "worker", "SHARED": "own"}}},
}
DEPLOYMENT = Deployment(image="app@sha256:" + "a" * 64, version="v2", release="20260101T000000Z-v2")
BASE = {"PATH": "/usr/bin", "HOME": "/home/x", "LANG": "C.UTF-8", "TZ": "UTC"}


def environment(
    templates: dict[str, str], process: str = "web", database: dict[str, Any] | None = None
) -> dict[str, str]:
    facts = {**FACTS, "app": {**FACTS["app"], "environment": templates}}
    facts["database"] = {**FACTS["database"], **(database or {})}
    return process_environment(
        facts,
        process=process,
        name="instance-1",
        marker="/state/instance-1",
        deployment=DEPLOYMENT,
        environment_folder="/store/environments/e",
        base=BASE,
        static_root="/state/static/aaa",
        media_root="/state/media",
        secret=lambda name: SECRETS[name],
    )


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{database.url}", "postgres://owner:p%40ss%2Fword@127.0.0.1:5432/site"),
        ("{database.host}:{database.port}", "127.0.0.1:5432"),
        ("{insights.connection}", ""),
        ("{database.name}/{database.user}/{database.password}", "site/owner/p@ss/word"),
        ("{cache.url}", "redis://app:app-pass@127.0.0.1:6379/0"),
        ("{cache.readonly.url}", "redis://reader:reader-pass@127.0.0.1:6379/0"),
        ("{cache.readonly.user}:{cache.readonly.password}", "reader:reader-pass"),
        ("{public.url} {public.host} {public.port}", "http://127.0.0.1:8000 127.0.0.1 8000"),
        ("{release.id} {release.version}", "20260101T000000Z-v2 v2"),
        ("{instance.name}", "instance-1"),
        ("{static.root} {media.root}", "/state/static/aaa /state/media"),
        ("{secret.SECRET_KEY}", "the-key"),
        ('{{"a": "{secret.SECRET_KEY}"}}', '{"a": "the-key"}'),
        ("a constant", "a constant"),
    ],
)
def test_a_template_is_filled_from_the_facts(template: str, value: str) -> None:
    assert environment({"X": template})["X"] == value


SERVER = {"host": "::1", "port": 6432, "role": "admin", "secret": "ADMIN", "sslmode": "require"}


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ({"server": SERVER}, "postgres://owner:p%40ss%2Fword@[::1]:6432/site"),
        ({"server": {**SERVER, "role": "owner", "host": "db"}}, "postgres://owner:admin-pass@db:6432/site"),
    ],
    ids=["a role that the stack made", "the server's own role"],
)
def test_a_project_gets_the_server_that_the_configuration_names(database: dict[str, Any], url: str) -> None:
    """And TLS as the server's URL has it, for those projects that have no variable for that."""
    found = environment({"X": "{database.url}", "Y": "{database.host}"}, database=database)
    assert found["X"] == url
    assert found["Y"] == database["server"]["host"]
    assert found["PGSSLMODE"] == "require"


def test_a_value_is_not_itself_a_template() -> None:
    """A secret with braces in it must arrive as it is."""
    assert resolve("{a}", lambda _: "{b}") == "{b}"


def test_an_unknown_placeholder_is_named() -> None:
    with pytest.raises(TargetError, match=r"uses \{databse.url\}, but only \{secret.NAME\} and database.url"):
        environment({"X": "{databse.url}"})


def test_a_process_has_its_own_variables_over_the_projects() -> None:
    found = environment({"SHARED": "project", "COMMON": "1"}, process="worker")
    assert (found["ROLE"], found["SHARED"], found["COMMON"]) == ("worker", "own", "1")


def test_nothing_but_the_map_and_our_own_variables_is_there() -> None:
    assert environment({"X": "1"}) == {
        **BASE,
        "X": "1",
        "PATH": "/store/environments/e/bin:/usr/bin",
        "DJANGO_SETTINGS_MODULE": "site.settings",
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",
        "RELEVO_RELEASE_ID": DEPLOYMENT.release,
        "RELEVO_VERSION": "v2",
        "RELEVO_IMAGE": DEPLOYMENT.image,
        "RELEVO_INSTANCE": "instance-1",
        "RELEVO_PROGRAM": "/state/instance-1",
    }
