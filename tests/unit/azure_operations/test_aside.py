"""The previous version is asked by a job of its own image, which ends it whatever it answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.azure.image import PORT
from components.azure.operations import AzureOperations
from components.target import Deployment, TargetError
from tests.azure.arm_stand_in import ArmStandIn, Command

ROOT = Path(__file__).parents[3]
SITE = f"""
import http.server, os, subprocess, sys
class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.headers["Host"] == "assets.example" and self.headers["X-Forwarded-Proto"] == "https"
        self.send_response(200 if good and self.headers["X-Key"] == "correct horse" else 500)
        self.end_headers()
        self.wfile.write(b"secrets" if any("RELEVO_SECRET" in name for name in os.environ) else b"none")
child = subprocess.Popen(["sleep", "60"])
print("child", child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", {PORT}), Site).serve_forever()
"""
SCENARIO = """
headers: {X-Key: "{secret.KEY}"}
steps:
  - {name: it is ready, request: {path: /}, retry: {for: 20s}}
  - {name: its environment, request: {path: /}, expect: {text: {contains: none}}}
  - {name: gone, request: {path: /}, expect: {status: 404}}
"""


def _asked(program: str, scenario: str = SCENARIO) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", "-m", "components.azure.aside", "assets.example", "v1"]
    environment = {"RELEVO_SCENARIO": scenario, "RELEVO_SECRET_KEY": "correct horse", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*argv, sys.executable, "-c", program],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"{pid} is left"


def test_it_is_asked_as_a_visitor_asks_and_gone_with_all_its_children() -> None:
    with _asked(SITE) as job:
        output, _ = job.communicate(timeout=60)
    first, *_, last = output.splitlines()
    assert job.returncode == 0
    results = json.loads(last)["read"]
    assert [result["status"] for result in results] == [200, 200, 200]
    assert [result["fault"] is None for result in results] == [True, True, False]
    assert "correct horse" not in output
    _wait_until_gone(int(first.split()[1]))


def test_it_is_gone_when_the_platform_ends_the_job() -> None:
    with _asked(SITE, SCENARIO.replace("404}}", "404}, retry: {for: 60s}}")) as job:
        assert job.stdout
        child = int(job.stdout.readline().split()[1])
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=30)
    assert job.returncode == 128 + signal.SIGTERM
    _wait_until_gone(child)


def test_one_that_does_not_start_is_not_waited_for() -> None:
    with _asked("import sys; sys.exit('no such column')") as job:
        output, _ = job.communicate(timeout=15)
    (result,) = json.loads(output.splitlines()[-1])["read"]
    assert result["status"] is None
    assert "its process exited 1, see the log of the job" in result["fault"]


def test_a_job_of_the_previous_image_has_what_its_web_process_has_and_the_scenario(
    azure: ArmStandIn, facts: dict[str, Any], images: list[str], operations: AzureOperations
) -> None:
    answer = {"name": "it is ready", "status": 200, "milliseconds": 1, "fault": None}
    azure.commands = lambda _: Command(["[INFO] Starting gunicorn", json.dumps({"read": [answer]})])
    scenario = '{"steps": [{"name": "x", "request": {"path": "/{secret.MAIL_PASSWORD}"}}]}'
    before = Deployment(image=images[0], version="v1", release="r1")
    with operations.exclusive("previous-version"):
        (result,) = operations.read_aside(before, scenario)
        assert result.status == 200
        (execution,) = azure.jobs["caj-manage"]
        assert execution.container.image == f"crassetstest.azurecr.io/{images[0]}"
        assert execution.words[:3] == ["aside", "assets.example", "v1"]
        assert "127.0.0.1:8000" in execution.words
        assert execution.words[execution.words.index("--workers") + 1] == "1"
        environment = execution.environment
        assert environment["RELEVO_VERSION"] == "v1"
        assert environment["RELEVO_SCENARIO"] == scenario
        assert environment["RELEVO_SECRET_MAIL_PASSWORD"].endswith("/secrets/mail-password/)")

        azure.commands = lambda _: Command(["No module named components.azure.aside"], status=1)
        with pytest.raises(
            TargetError, match=r"without an answer \(No module named components\.azure\.aside\)"
        ):
            operations.read_aside(before, scenario)
