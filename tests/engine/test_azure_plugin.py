"""A few resources on the stand-in for Azure: one that fails, waits, is there already, or was changed."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.azure import home
from tests.azure.stand_in import VARIABLE, StandInAzure
from tests.e2e.project import ROOT
from tests.engine.conftest import STACK, Project
from tests.engine.test_command_plugin import wait_for

CONFLICT = 'Status=409 Code="Conflict"'
PROGRAM = """
    from pulumi_azure_native import resources, storage

    group = resources.ResourceGroup("group", resource_group_name="rg-small", location="westeurope")
    account = storage.StorageAccount(
        "account",
        resource_group_name=group.name,
        account_name="stsmall",
        location="westeurope",
        kind="StorageV2",
        sku={"name": "%(sku)s"},
    )
    for name in %(containers)s:
        storage.BlobContainer(
            name, resource_group_name=group.name, account_name=account.name, container_name=name
        )
"""
CONTAINERS = ("media", "backups")
LOCK = "azure-native:authorization:ManagementLockByScope"


def program(*, sku: str = "Standard_LRS", containers: tuple[str, ...] = CONTAINERS) -> str:
    return PROGRAM % {"sku": sku, "containers": containers}


@pytest.fixture
def azure(project: Project, tmp_path: Path) -> StandInAzure:
    project.environment |= home.make(tmp_path / "home", os.environ)
    project.environment[VARIABLE] = str(tmp_path / "azure")
    project.program(program())
    return StandInAzure.make(tmp_path / "azure")


def names(azure: StandInAzure) -> set[str]:
    return {document["id"].rpartition("/")[2] for document in azure.resources()}


def test_what_azure_fails_stops_the_up_and_the_next_one_goes_on(
    project: Project, azure: StandInAzure
) -> None:
    azure.order(fail={"account": CONFLICT})
    assert CONFLICT in project.up(fails=True)
    assert names(azure) == {"rg-small"}

    azure.order(hold=("account",))
    up = project.start("up", "--yes", "--skip-preview", "--stack", STACK)
    wait_for(lambda: bool(azure.journal("held")))
    assert names(azure) == {"rg-small"}  # what needs it waits as well
    azure.order()
    output, _ = up.communicate(timeout=120)
    assert up.returncode == 0, output
    assert names(azure) == {"rg-small", "stsmall", "media", "backups"}

    project.program(program(sku="Standard_ZRS"))
    azure.order(fail={"account": CONFLICT})
    assert CONFLICT in project.up(fails=True)
    assert azure.named("stsmall")["body"]["sku"] == {"name": "Standard_LRS"}
    azure.order()
    project.up()
    assert azure.named("stsmall")["body"]["sku"] == {"name": "Standard_ZRS"}

    azure.order(fail={"backups": CONFLICT})
    assert CONFLICT in project.pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK, fails=True)
    assert "media" not in names(azure)
    assert names(azure) >= {"rg-small", "stsmall", "backups"}
    azure.order()

    # What is locked goes neither by itself nor with the account that it is in, which has no lock.
    kept = f"{azure.named('stsmall')['id']}/blobServices/default/containers/kept"
    lock = f"{kept}/providers/Microsoft.Authorization/locks/keep"
    azure.put({"id": kept, "token": "azure-native:storage:BlobContainer", "inputs": {}})
    azure.put({"id": lock, "token": LOCK, "inputs": {"scope": kept}})
    told = project.pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK, fails=True)
    assert f'Code="ScopeLocked" Message="{azure.named("stsmall")["id"]} is locked by' in told
    assert names(azure) == {"rg-small", "stsmall", "kept", "keep"}
    azure.remove(lock)
    project.pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK)
    assert names(azure) == set()
    assert set(Counter(entry["id"] for entry in azure.journal("create")).values()) == {1}


def test_a_resource_that_breaks_the_rules_is_refused_in_a_preview_and_in_an_up(
    project: Project, azure: StandInAzure
) -> None:
    """Also in an `up` without a preview: a first preview does not know all that the rules ask about."""
    rules = ("no-public-data-plane", "tls", "identities-instead-of-keys", "tags")
    pack = ("--policy-pack", str(ROOT / "policy"))
    for output in (
        project.pulumi("preview", "--stack", STACK, *pack, fails=True),
        project.up(*pack, fails=True),
    ):
        for rule in rules:
            assert f"[mandatory]  {rule}  " in output
    assert "stsmall" not in names(azure)


def test_what_exists_is_imported_and_what_was_changed_by_hand_is_shown(
    project: Project, azure: StandInAzure
) -> None:
    project.up()
    by_hand = json.loads(json.dumps(azure.named("media")).replace("media", "exports"))
    azure.put(by_hand)
    project.pulumi(
        *("import", "azure-native:storage:BlobContainer", "exports", by_hand["id"], "--stack", STACK),
        *("--protect=false", "--generate-code=false", "--yes", "--skip-preview"),
    )
    project.program(program(containers=(*CONTAINERS, "exports")))
    project.pulumi("preview", "--expect-no-changes", "--stack", STACK)
    assert len(azure.journal("create")) == 4

    azure.drift("stsmall", allowBlobPublicAccess=True)
    shown = project.pulumi("refresh", "--preview-only", "--diff", "--stack", STACK)
    assert "+ allowBlobPublicAccess: true" in shown
    project.pulumi("refresh", "--yes", "--skip-preview", "--stack", STACK)
    assert "- allowBlobPublicAccess: true" in project.pulumi("preview", "--diff", "--stack", STACK)
