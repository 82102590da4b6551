"""What is logged in an instance where the project configures something, and where it configures nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components import tracebacks
from components.local.gunicorn import CONFIGURATION

# As a worker of gunicorn: reads the configuration, loads the project, calls the hook, serves a request.
WORKER = """
import logging, runpy, sys
config = runpy.run_path(sys.argv[1])
own = logging.getLogger("gunicorn.error")
own.propagate = False
own.setLevel(logging.INFO)
handler = logging.StreamHandler()
handler._gunicorn = True
own.addHandler(handler)
config["on_starting"](None)
from django.conf import settings
def fail(request):
    logging.getLogger("shop").warning("few left")
    raise ValueError("of Ada")
urls = type(sys)("urls")
from django.urls import path
urls.urlpatterns = [path("fail/", fail)]
settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], **eval(sys.argv[2]))
from django.core.wsgi import get_wsgi_application
project = get_wsgi_application()
config["post_worker_init"]("the worker")
from django.test import RequestFactory
project(RequestFactory().get("/fail/").environ, lambda *_: None)
own.error("Worker (pid:7) exited with code 1.")
"""
TO_STDERR = {"class": "logging.StreamHandler", "formatter": "own"}
OWN = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"own": {"format": "OWN %(message)s"}},
    "handlers": {"own": TO_STDERR},
    "root": {"handlers": ["own"]},
}
MAILED = {**OWN, "handlers": {"own": {"class": "django.utils.log.AdminEmailHandler"}}}
OF_ITS_OWN = {**OWN, "root": {}, "loggers": {"shop": {"handlers": ["own"]}}}


def serve(folder: Path, settings: dict[str, Any], **variables: str) -> list[str]:
    """The lines that a worker writes while a request fails."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(CONFIGURATION), repr(settings)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr.splitlines()


def raised(lines: list[str]) -> list[str]:
    return [kind.title.partition(" ")[0] for _, kind in tracebacks.found(lines)]


def test_where_the_project_configures_nothing_all_lines_are_json_and_the_exception_is_there(
    tmp_path: Path,
) -> None:
    """Django itself would only mail it to ADMINS."""
    lines = serve(tmp_path, {})
    said = [json.loads(line) for line in lines]
    assert [(one["level"], one["logger"]) for one in said] == [
        ("WARNING", "shop"),
        ("ERROR", "django.request"),
        ("ERROR", "gunicorn.error"),
    ]
    assert said[0]["message"] == "few left"
    assert raised(lines) == ["ValueError"]


def test_what_the_project_configures_stays_as_it_is(tmp_path: Path) -> None:
    lines = serve(tmp_path, {"LOGGING": OWN})
    assert lines[:3] == ["OWN few left", "OWN Internal Server Error: /fail/", tracebacks.BEGIN]
    assert raised(lines) == ["ValueError"]


@pytest.mark.parametrize("logging", [MAILED, OF_ITS_OWN])
def test_an_exception_that_is_only_mailed_or_goes_nowhere_is_logged(
    tmp_path: Path, logging: dict[str, Any]
) -> None:
    lines = serve(tmp_path, {"LOGGING": logging})
    assert raised(lines) == ["ValueError"]


@pytest.mark.parametrize("name", ["gunicorn.conf.py", "other.py"])
def test_the_projects_own_configuration_of_gunicorn_holds(tmp_path: Path, name: str) -> None:
    """Also the one that it names by GUNICORN_CMD_ARGS, as gunicorn itself would read it."""
    (tmp_path / name).write_text(
        "import sys\ndef post_worker_init(worker):\n    print('theirs:', worker, file=sys.stderr)\n"
    )
    variables = {} if name == "gunicorn.conf.py" else {"GUNICORN_CMD_ARGS": f"--workers 3 -c {name}"}
    assert "theirs: the worker" in serve(tmp_path, {}, **variables)
