"""Only exact versions with hashes are ever installed."""

from __future__ import annotations

from typing import Any

import pytest

from relevo.errors import RelevoError
from relevo.lock import pins, require_servers
from stacks.settings import App

HASH = f"--hash=sha256:{'0' * 64}"


def test_a_lock_is_read_with_its_continuation_lines_markers_and_comments() -> None:
    lock = (
        "# made by uv\n--index-url https://example.org/simple\n\n"
        f"Django==5.2.1 \\\n    {HASH} \\\n    {HASH}\n    # via -r requirements.txt\n"
        f"psycopg_binary==3.2.9 ; sys_platform == 'linux' {HASH}\n"
        f"own @ https://example.org/own-1.0.whl {HASH}\n"
    )
    found = pins(lock, "lock.txt")
    assert [pin.name for pin in found] == ["django", "psycopg-binary", "own"]
    assert found[0].text == f"Django==5.2.1 \\\n    {HASH} \\\n    {HASH}\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Django==5.2.1", "Django==5.2.1 without a hash"),
        (f"Django>=5.2 {HASH}", "only an exact version"),
        (f"Django {HASH}", "only an exact version"),
        (f"Django==5.2.* {HASH}", "only an exact version"),
        ("-r other.txt", "has -r other.txt"),
        ("-e .", "has -e ."),
        ("./wheels/own", "only NAME==VERSION"),
        ("own @ git+https://example.org/own@v1", "without a hash"),
    ],
)
def test_whatever_is_not_frozen_is_named(line: str, told: str) -> None:
    with pytest.raises(RelevoError) as refused:
        pins(f"{line}\n", "lock.txt")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def app(**changes: Any) -> App:
    return App.model_validate(
        {"settings": "a.settings", "wsgi": "a.wsgi:application", "environment": {}, **changes}
    )


@pytest.mark.parametrize(
    ("names", "changes", "told"),
    [
        (["gunicorn", "psycopg"], {}, None),
        (["gunicorn", "psycopg2-binary"], {}, None),
        (["gunicorn", "psycopg2"], {}, None),
        (["psycopg"], {}, "no gunicorn"),
        (["gunicorn"], {}, "no psycopg or psycopg2"),
        (["gunicorn", "psycopg"], {"wsgi": None, "asgi": "a.asgi:application"}, "no uvicorn-worker"),
        (["gunicorn", "psycopg", "uvicorn-worker"], {"wsgi": None, "asgi": "a.asgi:application"}, None),
        (
            ["gunicorn", "psycopg"],
            {"wsgi": None, "asgi": "a.asgi:application", "workerClass": "own.Worker"},
            None,
        ),
    ],
)
def test_the_lock_has_what_serves_the_project(
    names: list[str], changes: dict[str, Any], told: str | None
) -> None:
    lock = "".join(f"{name}==1 {HASH}\n" for name in names)
    if told is None:
        require_servers(lock, app(**changes))
    else:
        with pytest.raises(RelevoError, match=told):
            require_servers(lock, app(**changes))
