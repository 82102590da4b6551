"""Whole `pulumi up`s of stacks on Azure, release and rollback in them, on a stand-in subscription.

The engine, the program, every step and Microsoft's clients are real; what they speak to is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.azure import home
from tests.azure.project import AzureProject
from tests.azure.stand_in import StandInAzure
from tests.azure.subscription import FIRST, SECOND, StandInSubscription, manifest


class Stack:
    """A stack on a subscription of its own, with v1 and v2 in its registry; v2 has one more migration."""

    def __init__(self, name: str, folder: Path, azure: StandInSubscription, home: dict[str, str]) -> None:
        self.azure = azure
        self.store = azure.store
        self.output = ""
        self.digests = {
            "v1": azure.push(manifest("v1", FIRST)),
            "v2": azure.push(manifest("v2", FIRST, SECOND)),
        }
        self.project = AzureProject(folder, name, azure.store, {**home, **azure.environment()})
        # The rules are asked of every stack in test_azure_stacks.py.
        del self.project.environment["PULUMI_OPTION_POLICY_PACK"]
        self.project.smoke_lightly()
        self.project.init()

    def release(self, version: str, *, status: int = 0) -> str:
        self.project.pin_digest(self.digests[version])
        return self.project.up_at_once(status=status)

    def serving(self) -> dict[str, str | None]:
        """Instance in rotation → the version that its worker runs."""
        return {
            origin.instance: self.azure.sites[origin.site].runs()
            for origin in self.azure.origins.values()
            if origin.state == "Enabled"
        }

    @property
    def migrations(self) -> list[str]:
        return [name for _, name in self.azure.applied]


@pytest.fixture(scope="module")
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stack]]:
    variables = home.make(tmp_path_factory.mktemp("home"), os.environ)
    with ExitStack() as running:

        def make(name: str) -> Stack:
            folder = tmp_path_factory.mktemp(name)
            azure = StandInSubscription(
                folder, StandInAzure.make(folder / "azure"), account=f"stprestamos{name}"
            )
            running.enter_context(azure)
            return Stack(name, folder / "project", azure, variables)

        yield make


@pytest.fixture(scope="module")
def qa(new_stack: Callable[[str], Stack]) -> Stack:
    """v1 released on both instances."""
    stack = new_stack("qa")
    stack.release("v1")
    return stack


@pytest.fixture(scope="module")
def prod(new_stack: Callable[[str], Stack]) -> Stack:
    """Begun, but a resource of the edge could not be made."""
    stack = new_stack("prod")
    stack.store.order(fail={"edge-protect-public": 'Status=409 Code="Conflict"'})
    stack.output = stack.release("v1", status=1)
    return stack


def test_a_release_a_failing_step_and_the_way_back_on_two_instances(qa: Stack) -> None:
    assert qa.serving() == {"instance-1": "v1", "instance-2": "v1"}
    assert qa.migrations == ["0001"]
    assert qa.azure.fewest_in_rotation == 1

    qa.azure.broken = {"migrate": "django.db.utils.OperationalError: lock timeout"}
    output = qa.release("v2", status=1)
    assert "lock timeout" in output
    assert qa.serving() == {"instance-1": "v1", "instance-2": "v1"}
    assert qa.migrations == ["0001"]

    qa.azure.broken = {}
    qa.azure.unreadable = {"v1": '"it is ready" GET /: status is 500, but expected 200'}
    output = qa.release("v2", status=1)
    assert "v1, which still serves, fails on the schema of v2" in output
    assert qa.serving() == {"instance-1": "v1", "instance-2": "v1"}

    qa.azure.unreadable = {}
    qa.release("v2")
    assert qa.serving() == {"instance-1": "v2", "instance-2": "v2"}
    assert qa.migrations == ["0001", "0002"]

    output = qa.release("v1")
    assert "v2 → v1" in output
    assert qa.serving() == {"instance-1": "v1", "instance-2": "v1"}
    assert qa.migrations == ["0001"]
    assert qa.azure.fewest_in_rotation == 1

    made = {document["id"] for document in qa.store.resources()}
    qa.project.destroy()
    left = {document["token"] for document in qa.store.resources()}
    assert len(made) > 100
    assert left == set()


def test_a_resource_that_fails_stops_the_up_before_anything_is_released(prod: Stack) -> None:
    assert 'Code="Conflict"' in prod.output
    assert "preflight" not in prod.output
    assert all(not site.image for site in prod.azure.sites.values())


def test_what_holds_data_in_prod_is_neither_replaced_nor_destroyed(prod: Stack) -> None:
    prod.project.azure_set("location", "northeurope")
    output = prod.project.preview(status=1)
    prod.project.azure_set("location", "westeurope")
    # The engine gives up at the first; which of them that is, is chance.
    assert "unable to replace resource" in output
    assert "database-server" in output or "group" in output

    before = len(prod.store.resources())
    output = prod.project.run("pulumi", "destroy", "--stack", "prod", "--yes", status=1)
    assert "protected" in output
    assert len(prod.store.resources()) == before


def test_the_next_up_goes_on_releases_on_three_instances_and_leaves_nothing_to_do(prod: Stack) -> None:
    prod.store.order()
    prod.release("v1")
    assert prod.serving() == {"instance-1": "v1", "instance-2": "v1", "instance-3": "v1"}
    assert prod.azure.fewest_in_rotation == 2
    prod.project.preview("--expect-no-changes")


def test_a_change_by_hand_is_shown_by_a_refresh(prod: Stack) -> None:
    prod.store.drift("stprestamosprod", allowBlobPublicAccess=True)
    output = prod.project.run(
        "pulumi", "refresh", "--stack", "prod", "--preview-only", "--diff", "--non-interactive"
    )
    prod.store.drift("stprestamosprod", allowBlobPublicAccess=False)
    assert "allowBlobPublicAccess: false => true" in output
    assert "1 to update" in output
