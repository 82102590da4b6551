"""What is left to the network once a release is done: what was handed over, and the pages of the logbook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.azure import handed_over, inside
from components.azure.environment import Reference
from components.azure.inside import InsideOperations
from components.azure.operations import AzureOperations
from tests.azure.arm_stand_in import ArmStandIn
from tests.azure.identity_stand_in import IdentityStandIn

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
