"""The release's own steps on Azure: nothing in them knows which target they are on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from components.azure.operations import AzureOperations
from components.release.context import Context, StepFailed, trigger
from components.release.running import perform
from components.release.spec import Limits
from components.release.tasks.backup import backup
from components.release.tasks.close_record import close
from components.release.tasks.manage import migrate
from components.release.tasks.open_record import open_record
from components.release.tasks.previous_version import previous_version
from components.release.tasks.roll import roll
from tests.azure.arm_stand_in import ArmStandIn, Command
from tests.unit.azure_operations.conftest import VERSION_1, labels
from tests.unit.release.stand_in import probe, specification


def _context(facts: dict[str, Any], image: str) -> Context:
    """Of a step that is a process of its own, which knows the facts alone."""
    spec = specification(
        image=image,
        probe=probe(path="/health/", headers={}),
        processes=("worker",),
        secrets=("SECRET_KEY", "MAIL_PASSWORD"),
        limits=Limits(drain_seconds=10, ready_seconds=10, command_seconds=10),
    )
    target = '{"facts": {}}'
    return Context(
        stack="test", trigger=trigger(target, spec.to_json()), spec=spec, operations=AzureOperations(facts)
    )


def _release(facts: dict[str, Any], image: str) -> None:
    release = open_record(_context(facts, image))
    perform(_context(facts, image), "backup", backup, once=True)
    perform(_context(facts, image), "preflight", lambda *_: {"pending": ["site.0001"]})
    perform(_context(facts, image), "migrate", migrate)
    perform(_context(facts, image), "previous-version", previous_version)
    for name in ("worker", "instance-1", "instance-2"):
        perform(
            _context(facts, image),
            f"roll-{name}",
            lambda context, release, name=name: roll(context, release, name),
        )
    perform(_context(facts, image), "close-record", close)
    assert release


@pytest.fixture
def unreadable() -> set[str]:
    """Versions whose code fails on the schema."""
    return set()


@pytest.fixture
def applied(azure: ArmStandIn, facts: dict[str, Any], unreadable: set[str]) -> set[str]:
    """What the database has; migrate adds to it, and the backup job stores a dump."""
    done: set[str] = set()

    def run(words: list[str]) -> Command:
        if words == ["schema"]:
            rows = ", ".join(f'["site", "{name}"]' for name in sorted(done))
            return Command([f'{{"applied": [{rows}], "icu": true}}'])
        if words == ["manage.py", "migrate", "--noinput"]:
            done.add("0001")
        if words[0] == "aside":
            status = 500 if words[2] in unreadable else 200
            fault = None if status == 200 else f"{words[2]} answers 500"
            asked = {"name": "it is ready", "status": status, "milliseconds": 1, "fault": fault}
            return Command([json.dumps({"read": [asked]})])
        if words[0] == "dump":
            metadata = {"taken_at": "2026-11-24T14:03:00+00:00", "verified": "true", "detail": "{}"}
            blob = azure.blob(facts["storage"]["backups"], f"{words[1]}/database.dump")
            blob.upload_blob(b"PGDMP", metadata=metadata)
        return Command([f"ran {' '.join(words)}"])

    azure.commands = run
    return done


def test_a_release_goes_out_and_a_broken_one_leaves_the_version_before(
    azure: ArmStandIn,
    facts: dict[str, Any],
    images: list[str],
    applied: set[str],
    unreadable: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _release(facts, images[0])
    unreadable.add("v1")
    with pytest.raises(
        StepFailed, match=r"v1, which still serves, fails on the schema of v2 \(v1 answers 500"
    ):
        _release(facts, images[1])
    (asked,) = [each for each in azure.jobs["caj-manage"] if each.words[0] == "aside"]
    assert asked.container.image == f"crassetstest.azurecr.io/{images[0]}"
    assert {site.runs() for site in azure.sites.values()} == {"v1"}
    unreadable.clear()
    _release(facts, images[1])
    assert {site.runs() for site in azure.sites.values()} == {"v2"}
    assert azure.fewest_in_rotation == 1
    assert applied == {"0001"}
    assert {image.partition("@")[2] for image in images} <= azure.locked
    record = AzureOperations(facts).read_record()
    assert record.count(b'"release succeeded"') == 2

    broken = f"assets@{azure.image(labels(replace(VERSION_1, version='v3')))}"
    azure.sites["app-assets-test-1"].crashing[broken] = ["[ERROR] Worker failed to boot."]
    with pytest.raises(
        StepFailed, match=r"instance-1 does not start cleanly \(\[ERROR\] Worker failed to boot"
    ):
        _release(facts, broken)
    assert {site.runs() for site in azure.sites.values()} == {"v2"}
    assert {origin.state for origin in azure.origins.values()} == {"Enabled"}
    assert azure.fewest_in_rotation == 1
    printed = "".join(capsys.readouterr())
    assert "value-of-" not in printed + AzureOperations(facts).read_record().decode()


def test_a_step_that_is_done_again_changes_nothing(
    azure: ArmStandIn, facts: dict[str, Any], images: list[str], applied: set[str]
) -> None:
    """As after a kill of the engine between a step's end and its note of it."""
    open_record(_context(facts, images[1]))

    def step(name: str) -> Any:
        return perform(
            _context(facts, images[1]), f"roll-{name}", lambda context, release: roll(context, release, name)
        )

    step("instance-1")
    changes = [request for request in azure.requests if re.match("PATCH|PUT|DELETE", request)]
    assert step("instance-1") == {"changed": False}
    again = [request for request in azure.requests if re.match("PATCH|PUT|DELETE", request)]
    assert again == changes
