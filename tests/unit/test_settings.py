"""The hostile configuration table: each fault gets its one line before anything changes."""

from __future__ import annotations

import json
import re
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from stacks.settings import Settings, SettingsError, load_file, parse

APP: dict[str, Any] = {
    "settings": "mysite.settings",
    "wsgi": "mysite.wsgi:application",
    "environment": {"SECRET_KEY": "{secret.SECRET_KEY}", "DATABASE_URL": "{database.url}"},
}
GOOD: dict[str, Any] = {"target": "local", "app": APP}


def app(**changes: Any) -> dict[str, Any]:
    return {"app": {**APP, **changes}}


def environment(**variables: Any) -> dict[str, Any]:
    return app(environment={**APP["environment"], **variables})


def existing(**changes: Any) -> dict[str, Any]:
    database = {"server": "postgresql://admin@db/", "serverSecret": "ADMIN", **changes}
    return {"database": database, "secrets": {"SECRET_KEY": {}, "ADMIN": {"generate": False}}}


def ci(**changes: Any) -> dict[str, Any]:
    return {"pipeline": {"github": "owner/name", "checks": ["tests"], **changes}}


def parsed(changes: dict[str, Any]) -> Settings:
    document = {**GOOD, **changes}
    values = {
        f"relevo:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in document.items()
        if value is not ...
    }
    return parse(values, source="Pulumi.local.yaml")


SPAN = "at >= %(since)s AND at < %(until)s"
COUNT = f"SELECT count(*) FROM loans WHERE {SPAN}"


def volume(**changes: Any) -> dict[str, Any]:
    return {"review": {"volumes": {"loans": changes}}}


def query(sql: str) -> dict[str, Any]:
    return volume(sql=sql)


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"target": ...}, "relevo:target is missing, but local or azure is needed; add it to Pulumi.local.yaml."),
    (
        {"target": "aws"},
        'relevo:target is "aws", but local or azure is accepted; correct it in Pulumi.local.yaml.',
    ),
    ({"app": ...}, "relevo:app is missing, but"),
    ({"app": "mysite"}, 'relevo:app is "mysite", but a map is accepted;'),
    ({"app": []}, "relevo:app is [], but a map is accepted;"),
    ({"image": "latest"}, 'relevo:image is "latest", but a digest as relevo build prints it'),
    ({"image": "app:v1"}, 'relevo:image is "app:v1", but a digest'),
    ({"image": "app@sha256:abc"}, 'relevo:image is "app@sha256:abc", but a digest'),
    ({"image": "app@sha256:" + "A" * 64}, 'relevo:image is "app@sha256:AAAA'),
    ({"instances": 1}, "relevo:instances is 1, but a rolling release needs at least 2; raise it."),
    ({"instances": 0}, "relevo:instances is 0, but a rolling release needs at least 2; raise it."),
    ({"instances": -3}, "relevo:instances is -3, but"),
    ({"instances": "two"}, 'relevo:instances is "two", but a whole number of at least 2 is accepted;'),
    ({"instances": 2.5}, "relevo:instances is 2.5, but a whole number of at least 2 is accepted;"),
    ({"instances": True}, "relevo:instances is true, but a whole number of at least 2 is accepted;"),
    ({"instances": None}, "relevo:instances is null, but a whole number of at least 2 is accepted;"),
    ({"instnaces": 2}, "did you mean instances."),
    ({"checks": "never"}, 'relevo:checks is "never", but touched or always is accepted;'),
    ({"onFailure": "retry"}, 'relevo:onFailure is "retry", but stop or rollback is accepted;'),
    ({"watch": {"minutes": -1}}, "relevo:watch.minutes is -1, but a number of minutes from 0 (no watch) to"),
    ({"watch": {"minutes": 1441}}, "relevo:watch.minutes is 1441, but a number of minutes"),
    ({"watch": {"minutes": True}}, "relevo:watch.minutes is true, but a number of minutes"),
    ({"watch": False}, "relevo:watch is false, but a map is accepted;"),
    ({"logbook": {}}, "relevo:logbook.secret is missing, but a secret's name such as SECRET_KEY is needed;"),
    ({"logbook": "/logbook/"}, 'relevo:logbook is "/logbook/", but a map is accepted;'),
    ({"logbook": {"secret": "OTHER"}}, "relevo:logbook.secret is OTHER, which is not among relevo:secrets;"),
    ({"logbook": {"secret": "SECRET_KEY"}}, "relevo:logbook.secret is SECRET_KEY, which signs the project's"),
    (
        {
            **app(probe={"path": "/logbook/healthz/"}),
            "secrets": {"SECRET_KEY": {}, "PAGES": {}},
            "logbook": {"secret": "PAGES", "path": "/logbook/"},
        },
        "relevo:logbook.path is /logbook/, but relevo:app.probe.path is below it and needs no password;",
    ),
    *(
        (
            {"logbook": {"secret": "SECRET_KEY", "path": path}},
            f'relevo:logbook.path is "{path}", but a path such as /.relevo/logbook/, which begins and ends',
        )
        for path in ("/", "logbook/", "/logbook", "", "/a//b/", "/a/../b/", "/./", "/a b/", "/a;b/", "/{a}/")
    ),
    (
        {"logbook": {"secret": "SECRET_KEY", "user": "a:b"}},
        'relevo:logbook.user is "a:b", but a name of letters, digits and ._- is accepted;',
    ),
    (
        app(processes={"pages": {"command": ["x"]}}),
        'relevo:app.processes has a process "pages", but',
    ),
    ({"watch": {"everySeconds": 0}}, "relevo:watch.everySeconds is 0, but a number of seconds from 1 to"),
    ({"review": {}}, "relevo:review.volumes is missing, but a map from names to volumes, at least one is"),
    ({"review": {"volumes": {}}}, "relevo:review.volumes is {}, but a map from names to volumes, at least"),
    (
        {"review": {"volumes": {"a/b": {"sql": COUNT}}}},
        'relevo:review.volumes.a/b is "a/b", but a name such as loans, of',
    ),
    (
        {"review": {"hours": 0, **volume(sql=COUNT)["review"]}},
        "relevo:review.hours is 0, but a number of hours",
    ),
    ({"review": {"hours": 169, **volume(sql=COUNT)["review"]}}, "relevo:review.hours is 169, but a number"),
    (
        {"review": {"weeks": -1, **volume(sql=COUNT)["review"]}},
        "relevo:review.weeks is -1, but a number of we",
    ),
    (
        {"review": {"days": 1, **volume(sql=COUNT)["review"]}},
        "relevo:review.days is not a key, but only hours, v",
    ),
    (volume(), "relevo:review.volumes.loans has neither sql nor command, but exactly one is accepted;"),
    (
        volume(sql=COUNT, command=["count", "{since}", "{until}"]),
        "relevo:review.volumes.loans has both sql and command, but exactly one is accepted;",
    ),
    (
        volume(sql=COUNT, tolerance=5),
        "relevo:review.volumes.loans.tolerance is not a key, but only command, s",
    ),
    (
        volume(sql=COUNT, tolerancePercent=101),
        "relevo:review.volumes.loans.tolerancePercent is 101, but a perc",
    ),
    (
        volume(command=["count", "{since}"]),
        "relevo:review.volumes.loans.command has no {until}, but it is to",
    ),
    (volume(command=[]), "relevo:review.volumes.loans.command is [], but a list of words, at least one is"),
    (query(""), 'relevo:review.volumes.loans.sql is "", but text that is not empty is accepted;'),
    (query("SELEKT"), "relevo:review.volumes.loans.sql is not SQL (syntax error at or near"),
    (
        query("SELECT 1"),
        "relevo:review.volumes.loans.sql has no %(since)s and no %(until)s, but one SELECT with",
    ),
    (
        query("SELECT 1 WHERE at > %(since)s -- %(until)s"),
        "relevo:review.volumes.loans.sql has no %(until)s, but",
    ),
    (query("SELECT '%(since)s', %(until)s"), "relevo:review.volumes.loans.sql has no %(since)s, but"),
    (query(f"{COUNT}; DROP TABLE loans"), "relevo:review.volumes.loans.sql is 2 statements, but one SELECT"),
    (
        query(f"DELETE FROM loans WHERE {SPAN}"),
        "relevo:review.volumes.loans.sql is no SELECT, but one SELECT",
    ),
    (
        query(f"WITH gone AS (DELETE FROM loans WHERE {SPAN} RETURNING 1) SELECT count(*) FROM gone"),
        "relevo:review.volumes.loans.sql does more than read, but one SELECT",
    ),
    (
        query(f"SELECT count(*) INTO n FROM loans WHERE {SPAN}"),
        "relevo:review.volumes.loans.sql does more than",
    ),
    (query(f"{COUNT} FOR UPDATE"), "relevo:review.volumes.loans.sql does more than read, but one SELECT"),
    (
        query(f"{COUNT} AND name LIKE 'a%'"),
        "relevo:review.volumes.loans.sql has a % that begins no parameter,",
    ),
    (query(f"{COUNT} AND id = $1"), "relevo:review.volumes.loans.sql has a parameter $1, but one SELECT"),
    ({"watch": {"seconds": 5}}, "relevo:watch.seconds is not a key, but only everySeconds, minutes are"),
    ({"port": 80}, "relevo:port is 80, but a port from 1024 to 65535 is accepted;"),
    ({"port": 70000}, "relevo:port is 70000, but a port from 1024 to 65535 is accepted;"),
    (
        {"port": 8000, "database": {"port": 8000}},
        "relevo:database.port is 8000, which relevo:port has already; give each its own port.",
    ),
    ({"smoke": ""}, 'relevo:smoke is "", but text that is not empty is accepted;'),
    ({"database": {"name": "Bad Name"}}, 'relevo:database.name is "Bad Name", but a PostgreSQL name'),
    ({"database": {"user": "app; drop"}}, 'relevo:database.user is "app; drop", but a PostgreSQL name'),
    ({"database": {"maxConnections": 5}}, "relevo:database.maxConnections is 5, but a number from 10"),
    ({"database": {"server": "postgresql://admin@db/"}}, "relevo:database has server but no serverSecret;"),
    ({"database": {"serverSecret": "ADMIN"}}, "relevo:database has serverSecret but no server;"),
    (existing(port=5432), "relevo:database has port beside server, which has its own; remove it."),
    (existing(maxConnections=50), "relevo:database has maxConnections beside server, which has its own;"),
    (existing(server="db.example.org"), "relevo:database.server is not the URL of one PostgreSQL server;"),
    (existing(server="mysql://admin@db/"), "relevo:database.server is not the URL of one PostgreSQL server;"),
    (existing(server="postgresql://admin@/"), "relevo:database.server is not the URL of one PostgreSQL"),
    (existing(server="postgresql://admin@a,b/"), "relevo:database.server is not the URL of one PostgreSQL"),
    (existing(server="postgresql://admin@db:99999/"), "relevo:database.server is not a URL;"),
    (existing(server=5432), "relevo:database.server is not the URL of one PostgreSQL server;"),
    (existing(server="postgresql://db/"), "relevo:database.server names no role, but somebody must log in;"),
    (existing(server="postgresql://admin@db/shop"), "relevo:database.server names a database, too;"),
    (existing(server="postgresql://admin:hunter2@db/"), "relevo:database.server carries a password, but"),
    (existing(server="postgresql://admin@db/?options=-x"), "relevo:database.server has options, but only"),
    (existing(server="postgresql://admin@db/?sslmode=on"), "relevo:database.server has sslmode=on, but"),
    (
        {**existing(), "secrets": {"SECRET_KEY": {}, "ADMIN": {}}},
        "relevo:database.serverSecret is ADMIN, which is not a secret that you give; declare it in "
        "relevo:secrets as ADMIN: {generate: false}.",
    ),
    ({**existing(), "secrets": {"SECRET_KEY": {}}}, "relevo:database.serverSecret is ADMIN, which is not"),
    ({"pipeline": {"checks": ["tests"]}}, "relevo:pipeline.github is missing, but a repository such as"),
    (ci(github="https://github.com/o/n"), 'relevo:pipeline.github is "https://github.com/o/n", but a repo'),
    (ci(github="owner/.."), 'relevo:pipeline.github is "owner/..", but a repository such as owner/name'),
    (ci(checks=[]), "relevo:pipeline.checks is [], but a list of names of checks, at least one is accepted;"),
    (ci(checks="all"), 'relevo:pipeline.checks is "all", but a list of names of checks, at least one is'),
    (ci(allBut=["release"]), "relevo:pipeline has both checks and allBut, but exactly one is accepted;"),
    ({"pipeline": {"github": "owner/name"}}, "relevo:pipeline has neither checks nor allBut, but exactly"),
    (ci(token="ghp_abc"), "relevo:pipeline.token is something else, but a secret's name such as"),
    (ci(api="http://github.example.org"), "relevo:pipeline.api is not an https URL;"),
    (ci(api="https://me:hunter2@github.example.org"), "relevo:pipeline.api has more than host and path;"),
    ({"cache": {"maxMemoryMb": "lots"}}, 'relevo:cache.maxMemoryMb is "lots", but a number of megabytes'),
    ({"limits": {"drainSeconds": 0}}, "relevo:limits.drainSeconds is 0, but a number of seconds above 0"),
    ({"limits": {"readySeconds": -1}}, "relevo:limits.readySeconds is -1, but a number of seconds"),
    ({"backup": {"keep": 1}}, "relevo:backup.keep is 1, but a number of backups from 2 to 1000"),
    ({"backup": {"maxAgeHours": 0}}, "relevo:backup.maxAgeHours is 0, but a number of hours above 0"),
    ({"backup": {"drill": "often"}}, 'relevo:backup.drill is "often", but true or false is accepted;'),
    (
        {"secrets": {"secret": {}}},
        'relevo:secrets.secret is "secret", but a secret\'s name such as SECRET_KEY',
    ),
    ({"secrets": {"SECRET_KEY": "hunter2"}}, "relevo:secrets.SECRET_KEY is"),
    ({"secrets": {}}, "relevo:app.environment.SECRET_KEY uses {secret.SECRET_KEY}, which is not among"),
    ({"notify": [{"console": True, "file": "x"}]}, "relevo:notify[0] names 2 kinds of receiver, but exactly"),
    ({"notify": [{}]}, "relevo:notify[0] names 0 kinds of receiver, but exactly one is accepted;"),
    ({"notify": [{"url": "json://user:pass@host/x"}]}, "relevo:notify[0].url carries a credential, but"),
    *(
        (
            {"notify": [{"url": url}]},
            "relevo:notify[0].url carries a credential, but settings hold no secret;",
        )
        for url in (
            "json://h/#?+Authorization=abc",
            "json://h/#x?token=abc",
            "mailto://h?to=a@b.example;pass=b",
            "json://h/hook?token=abc",
            "json://h/?+Authorization=Bearer%20xyz",
            "json://h/?a=1&%2BX-Api-Key=xyz",
            "mailto://h?user=a&pass=b&to=team",
        )
    ),
    *(
        ({"notify": [{"url": url}]}, "relevo:notify[0].url has the scheme ")
        for url in ("slack://T1/B1/x", "tgram://123:abc/1231/", "https://hooks.slack.com/services/x")
    ),
    ({"notify": [{"url": "nowhere"}]}, "relevo:notify[0].url is not a URL;"),
    ({"notify": [{"url": "json://user:hunter2@["}]}, "relevo:notify[0].url is not a URL;"),
    (
        {"notify": [{"console": True, "audience": "everybody"}]},
        'relevo:notify[0].audience is "everybody", but one of all, operations, functional, stakeholders is',
    ),
    (
        {"notify": [{"console": True, "events": ["failed", "rolledBack"]}]},
        'relevo:notify[0].events[1] is "rolledBack", but one of started, done, failed, rolled-back, ',
    ),
    (
        {"notify": [{"console": True, "events": []}]},
        "relevo:notify[0].events is [], but a list of events, at least one",
    ),
    (
        {"notify": [{"console": True, "events": "failed"}]},
        'relevo:notify[0].events is "failed", but a list of events, at least one',
    ),
    (
        {"notify": [{"console": True, "language": "fr"}]},
        'relevo:notify[0].language is "fr", but en or es is accepted;',
    ),
    ({"language": "español"}, 'relevo:language is "español", but en or es is accepted;'),
    ({"notify": [{"appriseSecret": "HOOK"}]}, "relevo:notify[0].appriseSecret is HOOK, which is not among"),
    (app(settings="my site"), 'relevo:app.settings is "my site", but a settings module such as'),
    (
        app(wsgi="mysite.wsgi"),
        'relevo:app.wsgi is "mysite.wsgi", but an object such as mysite.wsgi:application',
    ),
    (app(asgi="mysite.asgi:application"), "relevo:app has both wsgi and asgi, but exactly one is accepted;"),
    (app(wsgi=None), "relevo:app has neither wsgi nor asgi, but exactly one is accepted;"),
    (app(setings="x"), "relevo:app.setings is not a key, but only"),
    (app(secretKey="JWT_KEY"), "relevo:app.secretKey is JWT_KEY, which is not among relevo:secrets;"),
    (app(environment={}), "relevo:app.environment has no variable with {secret.SECRET_KEY}, but"),
    (environment(DB="{database.hsot}"), "did you mean database.host."),
    (environment(DB="{secret.DB}"), "relevo:app.environment.DB uses {secret.DB}, which is not among"),
    (environment(DB="{"), "relevo:app.environment.DB has a brace without its pair;"),
    (environment(PORT=5432), "relevo:app.environment.PORT is 5432, but text (in quotes"),
    (
        app(environment={**APP["environment"], "1DB": "x"}),
        'relevo:app.environment.1DB is "1DB", but a variable',
    ),
    (environment(PATH="/bin"), "relevo:app.environment.PATH is set by the target itself;"),
    *(
        (environment(**{name: value}), f"relevo:app.environment.{name} has a secret in plain text, but only")
        for name, value in (
            ("SMTP_PASSWORD", "hunter2"),
            ("API_KEYS", "hunter2"),
            ("BROKER_URL", "amqp://me:hunter2@mq.example.org/"),
            ("BROKER_URL", "amqp://me:hunter2@{cache.host}/"),
        )
    ),
    (environment(RELEVO_IMAGE="x"), "relevo:app.environment.RELEVO_IMAGE is set by the target itself;"),
    (environment(DJANGO_SETTINGS_MODULE="x"), "use app.settings."),
    (app(probe={"path": "readyz"}), 'relevo:app.probe.path is "readyz", but a path such as /readyz/'),
    (app(probe={"status": 99}), "relevo:app.probe.status is 99, but an HTTP status from 100 to 599"),
    (app(probe={"headers": {"Host": "a\r\nX: y"}}), "relevo:app.probe.headers.Host is"),
    (app(processes={"web": {"command": ["x"]}}), 'relevo:app.processes has a process "web", but'),
    (app(processes={"instance-1": {"command": ["x"]}}), 'relevo:app.processes has a process "instance-1"'),
    (app(processes={"worker": {"command": []}}), "relevo:app.processes.worker.command is [], but a list of"),
    (app(processes={"worker": {"command": "run"}}), 'relevo:app.processes.worker.command is "run", but a'),
    (app(commands={"afterMigrate": ["seed"]}), 'relevo:app.commands.afterMigrate[0] is "seed", but a list'),
    (app(build={"project": "/srv"}), 'relevo:app.build.project is "/srv", but only a path inside'),
    (app(build={"requirements": "../r.txt"}), 'relevo:app.build.requirements is "../r.txt", but only a'),
    (app(build={"python": "2.7"}), 'relevo:app.build.python is "2.7", but a version such as 3.12'),
    (app(folders={"media": "../media"}), 'relevo:app.folders.media is "../media", but only a path inside'),
    (app(workers=0), "relevo:app.workers is 0, but a number of gunicorn workers from 1 to 64"),
    (app(collectstatic="yes"), 'relevo:app.collectstatic is "yes", but true or false is accepted;'),
]


@pytest.mark.parametrize(("changes", "expected"), HOSTILE, ids=[expected[:60] for _, expected in HOSTILE])
def test_a_bad_setting_gets_one_line_with_key_fault_and_remedy(
    changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(changes)
    message = str(caught.value)
    assert expected in message
    assert re.fullmatch(r"relevo:[^\n]+; [^\n]+\.", message), "one line, with a remedy after the semicolon"


@pytest.mark.parametrize(
    "sql",
    [
        COUNT,
        f"{COUNT} AND name LIKE 'a%%';",
        f"WITH seen AS (SELECT DISTINCT lender FROM loans WHERE {SPAN}) SELECT count(*) FROM seen",
        f"SELECT (SELECT count(*) FROM loans WHERE {SPAN}) + (SELECT count(*) FROM returns WHERE {SPAN})",
    ],
)
def test_a_volume_may_be_any_one_query_that_reads(sql: str) -> None:
    review = parsed(query(sql)).review
    assert review is not None
    assert (review.hours, review.weeks, review.volumes["loans"].tolerance_percent) == (24, 4, 20)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://admin@db/", ("db", 5432, "admin", "prefer", "")),
        ("postgres://me%40corp@10.0.0.7:6432", ("10.0.0.7", 6432, "me@corp", "prefer", "")),
        ("postgresql://admin@[::1]:5433/?sslmode=require", ("::1", 5433, "admin", "require", "")),
        (
            "postgresql://admin@db/?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            ("db", 5432, "admin", "verify-full", "/etc/ca.pem"),
        ),
    ],
)
def test_the_url_of_a_server_is_taken_apart(url: str, expected: tuple[Any, ...]) -> None:
    server = parsed(existing(server=url)).database.server
    assert server is not None
    assert astuple(server) == expected


def test_every_fault_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parsed({"instances": 1, "port": 80})
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["relevo:instances", "relevo:port"]


def test_an_encrypted_setting_is_refused_since_settings_hold_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.local.yaml"
    path.write_text("config:\n  relevo:target: local\n  relevo:responsible:\n    secure: v1:abc\n")
    with pytest.raises(
        SettingsError, match=r"^relevo:responsible is encrypted, but .*; use relevo secret set"
    ):
        load_file(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "Pulumi.x.yaml is missing, but"),
        ("config: [", "Pulumi.x.yaml is not YAML"),
        ("- a", "Pulumi.x.yaml has no map under config"),
        ("", "Pulumi.x.yaml has no map under config"),
        ("config: 3", "Pulumi.x.yaml has no map under config"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_file(path)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"notify": [{"url": "json://user:hunter2@host/x"}], "secrets": {"SECRET_KEY": "hunter2"}},
        environment(SMTP_PASSWORD="hunter2"),
        environment(BROKER_URL="amqp://me:hunter2@mq.example.org/"),
    ],
)
def test_a_value_of_a_secret_is_not_repeated_by_its_error(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKEN_MINUTES", "30"),
        ("PASSWORD_RESET_URL", "/reset/"),
        ("CACHE_KEY_PREFIX", "assets"),
        ("REQUIRE_PASSWORD", "true"),
        ("SECRET_KEY_FALLBACKS", ""),
        ("DB_PASSWORD", "{database.password}"),
        ("BROKER_URL", "redis://:{cache.password}@{cache.host}:{cache.port}/0"),
        ("SITE", "https://a.example.org:8443/@x"),
    ],
)
def test_what_only_sounds_like_a_secret_is_accepted(name: str, value: str) -> None:
    assert parsed(environment(**{name: value})).app.environment[name] == value


@pytest.mark.parametrize(
    "url", ["postgresql://a:hunter2@db/", "postgresql://a:hunter2@db:x/", "a:hunter2@db"]
)
def test_a_password_in_the_url_of_a_server_is_not_repeated_by_its_error(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(existing(server=url))
    assert "hunter2" not in str(caught.value)


def test_both_readers_accept_the_same(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.local.yaml"
    path.write_text(
        "config:\n  relevo:target: local\n  relevo:instances: 3\n  relevo:acceptIncompatible: 3\n"
        f"  relevo:app: {json.dumps(APP)}\n  other:key: 1\n"
    )
    assert load_file(path) == parsed({"instances": 3, "acceptIncompatible": "3"})
