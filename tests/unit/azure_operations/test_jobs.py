"""A command beside the database: run once, followed, told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.azure import jobs_run
from components.azure.environment import Reference
from components.azure.operations import AzureOperations
from components.target import Counted, Query, TargetError
from tests.azure.arm_stand_in import ArmStandIn, Command

VAULT = "https://kv-assets-test.vault.azure.net"
RELEASE = "20261124T140210Z-v2"
ROOT = Path(__file__).parents[3]
STEP = """
import json, sys
from components.azure.operations import AzureOperations
operations = AzureOperations(json.loads(sys.argv[1]))
with operations.exclusive("migrate"):
    done = operations.manage(sys.argv[2], ["migrate", "--noinput"], release=sys.argv[3])
    print("status", done.status)
"""


def test_a_command_runs_in_the_network_with_the_image_and_what_it_needs(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    azure.commands = lambda words: Command([f"ran {' '.join(words)}"])
    done = operations.manage(images[1], ["migrate", "--plan"], release=RELEASE)

    assert (done.status, done.output) == (0, "ran manage.py migrate --plan\n")
    assert "ran manage.py migrate --plan" in capsys.readouterr().out
    (execution,) = azure.jobs["caj-manage"]
    assert execution.container.image == f"crassetstest.azurecr.io/{images[1]}"
    assert execution.container.resources is not None
    environment = execution.environment
    assert environment["OF_THE_JOB"] == "kept"
    assert environment["SECRET_KEY"] == Reference("secret-key").within(VAULT)
    assert environment["DATABASE_URL"] == Reference("database-url-a").within(VAULT)
    assert environment["RELEVO_RELEASE_ID"] == RELEASE
    assert environment["AZURE_CLIENT_ID"] == "of-jobs"
    # Read by Azure Monitor's OpenTelemetry exporter.
    assert environment["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] == "Authorization=AAD;ClientId=of-jobs"
    assert not [value for value in environment.values() if "value-of-" in value]


def test_a_rewind_runs_in_another_image_than_the_pinned_one(
    operations: AzureOperations, facts: dict[str, Any], azure: ArmStandIn, images: list[str]
) -> None:
    assert facts["image"] == images[1]
    assert operations.manage(images[0], ["migrate", "site", "zero"], release=RELEASE).status == 0
    (execution,) = azure.jobs["caj-manage"]
    assert execution.container.image == f"crassetstest.azurecr.io/{images[0]}"
    assert execution.environment["RELEVO_VERSION"] == "v1"


def test_a_command_that_fails_gives_its_exit_status_and_the_end_of_its_log(
    operations: AzureOperations, azure: ArmStandIn, images: list[str]
) -> None:
    azure.commands = lambda words: Command(["Traceback", "ValueError: bad"], status=3)
    done = operations.manage(images[1], ["check"], release=RELEASE)
    assert done.status == 3
    assert done.output.splitlines()[-1] == "ValueError: bad"
    assert operations.manage(images[1], ["check"], release=RELEASE).status == 3
    assert len(azure.jobs["caj-manage"]) == 2  # what failed is tried again


def test_secrets_that_a_project_prints_are_masked(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    azure.commands = lambda words: Command(["connects with value-of-database-password-b"])
    done = operations.manage(images[1], ["check"], release=RELEASE)
    assert done.output == "connects with ********\n"
    assert "value-of" not in capsys.readouterr().out


def test_what_ended_well_in_this_release_is_not_run_again(
    facts: dict[str, Any], azure: ArmStandIn, images: list[str]
) -> None:
    azure.commands = lambda words: Command(["applied"])
    for _ in range(2):
        again = AzureOperations(facts)
        with again.exclusive("migrate"):
            assert again.manage(images[1], ["migrate"], release=RELEASE).output == "applied\n"
    assert len(azure.jobs["caj-manage"]) == 1

    operations = AzureOperations(facts)
    with operations.exclusive("roll-instance-1"):
        operations.manage(images[1], ["migrate"], release=RELEASE)
    with operations.exclusive("migrate"):
        operations.manage(images[1], ["migrate"], release="another")
    assert len(azure.jobs["caj-manage"]) == 3


def test_a_step_killed_while_its_job_runs_goes_on_with_that_job(
    facts: dict[str, Any], azure: ArmStandIn, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from components.azure import record

    hold = threading.Event()
    azure.commands = lambda words: Command(["applying site.0002"], hold=hold)
    argv = [sys.executable, "-c", STEP, json.dumps(facts), images[1], RELEASE]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as step:
        assert step.stdout
        assert step.stdout.readline() == "applying site.0002\n"
        step.send_signal(signal.SIGKILL)
    # The lease of the killed one ends by itself after a minute, which is too long for a test.
    blob = azure.blob(facts["storage"]["lock"], record.LOCK)
    from azure.storage.blob import BlobLeaseClient

    BlobLeaseClient(blob).break_lease(0)

    operations = AzureOperations(facts)
    with operations.exclusive("migrate"):
        threading.Timer(0.3, hold.set).start()
        done = operations.manage(images[1], ["migrate", "--noinput"], release=RELEASE)
    assert (done.status, done.output) == (0, "applying site.0002\n")
    assert len(azure.jobs["caj-manage"]) == 1


def test_another_step_waits_for_the_job_of_one_that_was_killed(
    facts: dict[str, Any], azure: ArmStandIn, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    hold = threading.Event()
    azure.commands = lambda words: Command(hold=hold)
    orphan = AzureOperations(facts)
    orphan._step = "migrate"  # as if killed in it: holds no lease
    thread = threading.Thread(
        target=lambda: orphan.manage(images[1], ["migrate"], release=RELEASE), daemon=True
    )
    thread.start()
    _until(lambda: bool(azure.jobs["caj-manage"]))

    facts["limits"]["command_seconds"] = 0.3
    with (
        pytest.raises(TargetError, match=r"caj-manage-\w+ of an earlier step still runs, but it is given"),
        AzureOperations(facts).exclusive("preflight"),
    ):
        pass
    hold.set()
    thread.join(10)
    facts["limits"]["command_seconds"] = 10
    with AzureOperations(facts).exclusive("preflight"):
        pass


def test_a_command_at_its_time_limit_is_ended(
    facts: dict[str, Any], azure: ArmStandIn, images: list[str]
) -> None:
    facts["limits"]["command_seconds"] = 0.5
    azure.commands = lambda words: Command(["waiting for a lock"], hold=threading.Event())
    with pytest.raises(
        TargetError, match=r"takes longer than 0\.5 s.*its log ends: waiting for a lock.*commandSeconds"
    ):
        AzureOperations(facts).manage(images[1], ["migrate"], release=RELEASE)
    assert azure.jobs["caj-manage"][0].status == "Stopped"


def test_a_cancelled_step_ends_its_command(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.commands = lambda words: Command(hold=threading.Event())

    class Cancelled(BaseException): ...

    def cancel(*_: Any) -> None:
        raise Cancelled

    monkeypatch.setattr(jobs_run.time, "sleep", cancel)
    with pytest.raises(Cancelled):
        operations.manage(images[1], ["migrate"], release=RELEASE)
    monkeypatch.undo()
    assert azure.jobs["caj-manage"][0].status == "Stopped"


def test_a_job_of_which_azure_does_not_know_the_state_is_not_started_a_second_time(
    facts: dict[str, Any], azure: ArmStandIn, images: list[str]
) -> None:
    facts["limits"]["command_seconds"] = 0.3
    hold = threading.Event()
    azure.commands = lambda words: Command(hold=hold)
    with pytest.raises(TargetError, match=r"takes longer than 0\.3 s"):
        AzureOperations(facts).manage(images[1], ["migrate"], release=RELEASE)
    (execution,) = azure.jobs["caj-manage"]
    execution.status = "Unknown"
    with pytest.raises(TargetError, match=r"takes longer than 0\.3 s"):
        AzureOperations(facts).manage(images[1], ["migrate"], release=RELEASE)
    assert azure.jobs["caj-manage"] == [execution]

    execution.status = "Dreaming"
    with pytest.raises(TargetError, match="is Dreaming, which is none of the states that a job can have"):
        AzureOperations(facts).manage(images[1], ["migrate"], release=RELEASE)
    hold.set()


def test_a_job_that_is_lost_is_told_apart_from_a_command_that_failed(
    facts: dict[str, Any], azure: ArmStandIn, images: list[str]
) -> None:
    facts["limits"]["command_seconds"] = 1.0
    azure.commands = lambda words: Command(lost=True)
    with pytest.raises(
        TargetError, match=r"ended failed without its command's end in the log.*image, memory"
    ):
        AzureOperations(facts).manage(images[1], ["migrate"], release=RELEASE)


def test_a_log_that_no_blob_has_comes_from_the_workspace(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    azure.blob_log = False
    azure.workspace_delay = 2
    azure.commands = lambda words: Command(["late but whole"], status=4)
    done = operations.manage(images[1], ["check"], release=RELEASE)
    assert (done.status, done.output) == (4, "late but whole\n")
    assert "late but whole" in capsys.readouterr().out


def test_what_django_says_is_read_from_among_what_the_project_prints(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    import hashlib

    def answer(words: list[str]) -> Command:
        assert words[:2] == ["django_facts.py", "settings"]
        digest = hashlib.sha256(f"{words[2]}value-of-secret-key".encode()).hexdigest()
        found = (
            f'{{"engine": "django.db.backends.postgresql", "host": "h", "port": "5432", "name": "n", '
            f'"user": "u", "secret_key_sha256": "{digest}", "debug": false, "allowed_hosts": ["a"], '
            f'"cors_allowed_origins": null, '
            f'"cors_allow_all": false, "static_root": "", "media_root": ""}}'
        )
        return Command(["a project prints {", found])

    azure.commands = answer
    facts = operations.django_facts(images[1], release=RELEASE, process="worker")
    assert facts.secret_key_matches is True
    assert facts.allowed_hosts == ("a",)
    assert azure.jobs["caj-manage"][0].environment["QUEUE"] == "all"
    assert capsys.readouterr().out == ""

    azure.commands = lambda words: Command(["ImportError: no module"], status=1)
    with pytest.raises(TargetError, match=r"site\.settings cannot be loaded \(ImportError: no module\)"):
        operations.django_facts(images[1], release=RELEASE, process="web")


def test_volumes_are_counted_in_one_job_and_as_they_are_now(
    operations: AzureOperations, azure: ArmStandIn, images: list[str]
) -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    query = Query(sql="SELECT 1", spans=((now, now + timedelta(hours=24)),))
    said = ['{"counted": [{"found": [3], "error": null}, {"found": [], "error": "no such table"}]}']
    azure.commands = lambda words: Command(["a project prints {", *said])
    for _ in range(2):
        counted = operations.measure(images[1], [query, query], release=RELEASE)
        assert counted == (Counted(found=(3,)), Counted(error="no such table"))
    first, _ = azure.jobs["caj-manage"]
    span = ["2026-11-25T00:00:00+00:00", "2026-11-26T00:00:00+00:00"]
    assert first.words[:2] == ["django_facts.py", "volumes"]
    assert json.loads(first.words[2]) == [["SELECT 1", [span]]] * 2
    azure.commands = lambda words: Command(["OperationalError: it does not answer"], status=1)
    with pytest.raises(TargetError, match=r"cannot be counted \(OperationalError: it does not answer\)"):
        operations.measure(images[1], [query], release=RELEASE)


def test_applied_migrations_are_asked_again_after_a_command(
    operations: AzureOperations, azure: ArmStandIn, images: list[str]
) -> None:
    rows = [
        '{"applied": [["site", "0001"]], "icu": true}',
        '{"applied": [["site", "0001"], ["site", "0002"]], "icu": true}',
    ]
    azure.commands = lambda words: Command([rows.pop(0)] if words == ["schema"] else [])
    assert operations.applied_migrations() == {("site", "0001")}
    assert operations.applied_migrations() == {("site", "0001")}
    operations.manage(images[1], ["migrate"], release=RELEASE)
    assert operations.applied_migrations() == {("site", "0001"), ("site", "0002")}
    schema = next(each for each in azure.jobs["caj-manage"] if each.words == ["schema"])
    assert schema.environment["PGUSER"] == "id-assets-test-jobs"
    assert "PGPASSWORD" not in schema.environment
    assert schema.environment["PGSSLMODE"] == "verify-full"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, r"cannot .*Azure answers 401 .*log in with az login"),
        (403, r"Azure answers 403 .*give this login the role"),
        (404, r"Azure answers 404 .*run pulumi up"),
        (409, r"Azure answers 409 .*wait for what is under way"),
    ],
)
def test_a_refusal_of_azure_is_one_line_with_the_remedy(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], status: int, said: str
) -> None:
    azure.fail("POST", "/jobs/caj-manage/start", status=status)
    with pytest.raises(TargetError, match=said) as fault:
        operations.manage(images[1], ["migrate"], release=RELEASE)
    assert "start the job caj-manage" in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_job_whose_start_is_answered_with_a_fault_is_found_and_not_started_again(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], status: int
) -> None:
    """azure-core repeats a POST after each of these, and two migrations would run side by side."""
    azure.commands = lambda words: Command(["applied"])
    azure.fail("POST", "/jobs/caj-manage/start", status=status, done=True)
    assert operations.manage(images[1], ["migrate"], release=RELEASE).output == "applied\n"
    assert len(azure.jobs["caj-manage"]) == 1


def test_a_start_that_begins_nothing_is_a_fault_after_one_try(
    operations: AzureOperations, azure: ArmStandIn, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_run, "BEGUN_SECONDS", 0.1)
    azure.fail("POST", "/jobs/caj-manage/start", status=503)
    with pytest.raises(TargetError, match=r"cannot start the job caj-manage: Azure answers 503"):
        operations.manage(images[1], ["migrate"], release=RELEASE)
    assert len(azure.asked("^POST .*/start")) == 1


def test_throttling_is_waited_out(operations: AzureOperations, azure: ArmStandIn, images: list[str]) -> None:
    azure.fail("GET", "/jobs/caj-manage/executions", status=429, times=2)
    azure.fail("POST", "/jobs/caj-manage/start", status=429, times=2)
    assert operations.manage(images[1], ["check"], release=RELEASE).status == 0
    assert len(azure.jobs["caj-manage"]) == 1


def test_no_token_reaches_a_log(facts: dict[str, Any], azure: ArmStandIn, images: list[str]) -> None:
    import json

    from tests.azure.arm_stand_in import TOKEN, token

    azure.fail("POST", "/jobs/caj-manage/start", status=403)
    program = f"import logging\nlogging.basicConfig(level=logging.DEBUG)\n{STEP}"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(facts), images[1], RELEASE],
        cwd=ROOT,
        env={**os.environ, "AZURE_LOG_LEVEL": "debug"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = done.stdout + done.stderr
    assert "Azure answers 403" in printed
    secret = [TOKEN, token("x").split(".")[0], *(value for name, value in azure.vault.items())]
    assert not [value for value in secret if value in printed]
    assert not re.search(r"(?i)authorization: ", printed)


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
