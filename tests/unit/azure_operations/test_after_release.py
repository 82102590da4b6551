"""What is left to the network once a release is done: what was handed over, and the pages of the logbook."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.azure import handed_over, inside
from components.azure.environment import Reference
from components.azure.inside import InsideOperations
from components.azure.operations import AzureOperations
from components.release import logbook
from components.release.context import Context
from components.release.running import perform
from components.release.spec import Review, Volume
from components.release.tasks.close_record import close
from components.release.tasks.open_record import open_record
from components.release.tasks.review import review_what_is_due
from tests.azure.arm_stand_in import ArmStandIn
from tests.azure.identity_stand_in import IdentityStandIn
from tests.unit.release.stand_in import specification

ROOT = Path(__file__).parents[3]
DESCRIBED = {
    "RELEVO_TARGET": json.dumps({"operations": "components.azure.operations:AzureOperations"}),
    "RELEVO_RELEASE": "{}",
}


def _names(azure: ArmStandIn, container: str) -> list[str]:
    from components.azure.login import blobs

    host = f"{azure.azurite.account}.blob.core.windows.net"
    return [blob.name for blob in blobs(host).get_container_client(container).list_blobs()]


def test_the_release_handed_over_last_is_found(operations: AzureOperations, facts: dict[str, Any]) -> None:
    place = handed_over.HandedOver(host=facts["storage"]["blob_host"], logbook=facts["storage"]["logbook"])
    assert place.newest() is None

    operations.hand_over({"RELEVO_TARGET": "first"})
    operations.hand_over({"RELEVO_TARGET": "second"})

    assert place.newest() == {"RELEVO_TARGET": "second"}


def test_a_step_that_is_repeated_hands_over_nothing_new(
    operations: AzureOperations, azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    """What is in the record's container stays there for good."""
    for _ in range(2):
        operations.hand_over(DESCRIBED)
    assert len(_names(azure, facts["storage"]["logbook"])) == 1


def test_pages_are_where_only_an_identity_reads_them(
    operations: AzureOperations, azure: ArmStandIn, facts: dict[str, Any]
) -> None:
    operations.publish({"index.html": b"old", "es/index.html": "año".encode()})
    operations.publish({"index.html": b"new"})

    container = facts["storage"]["pages"]
    assert sorted(_names(azure, container)) == ["es/index.html", "index.html"]
    page = azure.blob(container, "index.html")
    assert page.download_blob().readall() == b"new"
    assert page.get_blob_properties().content_settings.content_type == "text/html; charset=utf-8"


def test_a_job_runs_its_module_with_what_was_handed_over(
    azure: ArmStandIn,
    operations: AzureOperations,
    facts: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    operations.hand_over(DESCRIBED)
    (tmp_path / "shown.py").write_text("import os; print(os.environ['RELEVO_TARGET'])")
    monkeypatch.setenv("RELEVO_BLOBS", facts["storage"]["blob_host"])
    monkeypatch.setenv("RELEVO_LOGBOOK", facts["storage"]["logbook"])
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")

    done = subprocess.run(
        [sys.executable, "-m", "components.azure.handed_over", "shown"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {"operations": "components.azure.inside:InsideOperations"}


def test_what_the_job_runs_needs_only_what_is_in_the_image() -> None:
    """relevo/image/requirements.txt: its clients of Azure are fewer than those of a desk."""
    absent = ("azure.mgmt", "azure.monitor", "azure.containerregistry", "pulumi", "apprise", "rich", "typer")
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {absent}:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import components.azure.inside, components.azure.handed_over
import components.release.tasks.review, components.release.pages.publishing
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_the_review_inside_asks_the_vault_and_the_blobs_alone(
    azure: ArmStandIn,
    facts: dict[str, Any],
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its identity may do nothing else. What it finds is in the record and on the pages."""
    volume = Volume(name="loans", sql="SELECT 1", command=None, tolerance_percent=20)
    spec = specification(image=images[1], review=Review(hours=24, weeks=4, volumes=(volume,)))
    context = Context(stack="test", trigger="", spec=spec, operations=AzureOperations(facts))
    monkeypatch.setattr(logbook, "now", lambda: datetime.now(UTC) - timedelta(hours=25))
    open_record(context)
    perform(context, "close-record", close)
    monkeypatch.undo()
    counted = json.dumps({"counted": [{"found": [10, *[1000] * 9], "error": None}]})
    monkeypatch.setattr(inside, "command", lambda words: [sys.executable, "-c", f"print({counted!r})"])
    for name, value in azure.environment().items():
        monkeypatch.setenv(name, value)
    azure.requests.clear()
    with IdentityStandIn("of-review") as identity:
        for name, value in {**identity.environment(), "AZURE_CLIENT_ID": "of-review"}.items():
            monkeypatch.setenv(name, value)
        review_what_is_due(replace(context, operations=InsideOperations(facts)))

    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["relevo"], said["verdict"]) == ("reviewed", "not stable")
    release = context.current()
    assert release.reviewed is not None
    assert release.reviewed["volumes"] == said["volumes"]
    page = azure.blob(facts["storage"]["pages"], "en/index.html").download_blob().readall()
    assert release.version.encode() in page
    hosts = {request.split("/")[2] for request in azure.requests}
    assert hosts - {"login.microsoftonline.com"} == {"kv-assets-test.vault.azure.net"}


def test_a_command_inside_has_the_secrets_but_not_the_jobs_identity(
    azure: ArmStandIn,
    facts: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A project's code is not to write the record; what it prints is masked."""
    program = "import os; print(os.environ['SECRET_KEY'], os.environ.get('IDENTITY_ENDPOINT'))"
    monkeypatch.setattr(inside, "command", lambda words: [sys.executable, "-c", words[0]])
    with IdentityStandIn("of-review") as identity:
        for name, value in {**identity.environment(), "AZURE_CLIENT_ID": "of-review"}.items():
            monkeypatch.setenv(name, value)
        done = InsideOperations(facts)._run(
            facts["image"], [program], environment={"SECRET_KEY": Reference("secret-key")}, key=""
        )
    assert (done.status, done.output) == (0, "******** None\n")
    assert capsys.readouterr().out == done.output
