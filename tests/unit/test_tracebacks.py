"""Exceptions are found however a project logs them, and are of the same kind in every version."""

from __future__ import annotations

import json
import logging
import sys
import types
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import tracebacks
from components.tracebacks import Kind, found

FOLDERS = ("/srv/.relevo/local/app/0123456789ab", "/srv/.relevo/local/app/ba9876543210", "/app")


def traceback(folder: str, *, line: int = 10, text: str = "secret of Ada", error: str = "ValueError") -> str:
    return f"""Traceback (most recent call last):
  File "/srv/env/lib/python3.11/site-packages/django/core/handlers/exception.py", line 55, in inner
    response = get_response(request)
               ^^^^^^^^^^^^^^^^^^^^^
  File "{folder}/loans/views.py", line {line}, in create
    raise {error}
{error}: {text}"""


def kinds(text: str) -> list[Kind]:
    return [kind for _, kind in found(text.splitlines())]


def test_a_kind_is_the_same_in_every_version_and_on_every_target() -> None:
    same = {kinds(traceback(folder, line=number))[0] for number, folder in enumerate(FOLDERS)}
    assert len(same) == 1
    assert same.pop().title == "ValueError in loans/views.py, create"


def test_another_type_or_place_is_another_kind() -> None:
    one, error = traceback(FOLDERS[0]), traceback(FOLDERS[0], error="django.db.utils.IntegrityError")
    assert len({kind.fingerprint for kind in kinds(f"{one}\n{error}\n{one.replace('create', 'renew')}")}) == 3
    assert kinds(error)[0].title == "IntegrityError in loans/views.py, create"


def test_no_text_of_an_exception_is_told() -> None:
    assert "Ada" not in str(kinds(traceback(FOLDERS[0])))


@pytest.mark.parametrize("key", ["exc_info", "exception", "message", "stack_trace"])
def test_json_and_plain_text_are_of_one_kind(key: str) -> None:
    line = json.dumps({"level": "ERROR", key: f"Internal Server Error: /x\n{traceback(FOLDERS[0])}"})
    assert kinds(line) == kinds(f"ERROR Internal Server Error: /x\n{traceback(FOLDERS[1])}\nnext")


def test_what_was_raised_while_another_was_handled_counts_once() -> None:
    chained = "\n\nDuring handling of the above exception, another exception occurred:\n\n".join(
        [traceback(FOLDERS[0], error="KeyError"), traceback(FOLDERS[0], error="LookupError")]
    )
    text = f"before\n{chained}\nafter\n{traceback(FOLDERS[0])}\n{traceback(FOLDERS[0])}"
    assert [number for number, _ in found(text.splitlines())] == [1, 19, 26]
    assert [kind.title.partition(" ")[0] for kind in kinds(text)] == [
        "LookupError",
        "ValueError",
        "ValueError",
    ]


def test_half_a_traceback_is_none() -> None:
    lines = traceback(FOLDERS[0]).splitlines()
    assert not kinds("\n".join(lines[3:]))
    assert not kinds("\n".join(lines[:-1]))
    assert not kinds('{"message": "' + "\\n".join(lines[:3]))


def test_what_python_itself_writes_is_read(tmp_path: Path) -> None:
    """Groups, causes, code without a file and a syntax error, as this Python has them."""
    module = types.ModuleType("views")
    source = """
def group():
    raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])
def caused():
    try:
        {}["x"]
    except KeyError as error:
        raise RuntimeError("caused") from error
def text():
    exec("1 / 0")
def syntax():
    compile("a b", "<string>", "exec")
"""
    exec(compile(source, str(tmp_path / "views.py"), "exec"), module.__dict__)
    formatter = logging.Formatter("%(asctime)s %(message)s")
    raised = []
    for name in ("group", "caused", "text", "syntax"):
        try:
            module.__dict__[name]()
        except Exception:  # noqa: BLE001 - whatever it is
            raised.append(formatter.format(logging.makeLogRecord({"msg": name, "exc_info": sys.exc_info()})))
    told = [kind.title.partition(" ")[0] for kind in kinds("\n".join([*raised, "the end"]))]
    assert Counter(told) == Counter(["ExceptionGroup", "RuntimeError", "ZeroDivisionError", "SyntaxError"])


@given(st.lists(st.sampled_from([*traceback(FOLDERS[0]).splitlines(), "", "{", "[1]", '{"a": 1}', "x: y"])))
def test_no_order_of_lines_breaks_it(lines: list[str]) -> None:
    assert len(list(tracebacks.found(lines))) <= lines.count(tracebacks.BEGIN)
