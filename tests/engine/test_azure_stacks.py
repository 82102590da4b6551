"""The three stacks on Azure under a real engine and the policy pack, on the stand-in: what is asked for.

What the stand-in refuses is in tests/azure: types, enums, required properties and ids of the installed SDK.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.azure import export, home, preview_stand_in
from tests.azure.crosscheck import run as crosscheck
from tests.azure.project import STACKS, AzureProject
from tests.azure.stand_in import StandInAzure

Resources = list[dict[str, Any]]
NewProject = Callable[[str], AzureProject]

# A change of these is looked at; docs/azure.md says what a stack has.
COUNTS = {"dev": 145, "qa": 147, "prod": 163}


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewProject]:
    """A stack's project on a subscription where a preview already knows what Azure would answer."""
    folder = tmp_path_factory.mktemp("azure")
    azure = StandInAzure.make(folder / "azure")
    azure.order(known=True)
    variables = home.make(folder / "home", os.environ)
    with preview_stand_in.serving(azure, folder) as served:

        def make(stack: str) -> AzureProject:
            project = AzureProject(tmp_path_factory.mktemp(stack), stack, azure, {**variables, **served})
            project.init()
            return project

        yield make


@pytest.fixture(scope="module")
def previewed(new_project: NewProject) -> dict[str, Resources]:
    """Stack → every resource of its preview, which every rule of the pack has passed."""
    projects = [new_project(stack) for stack in STACKS]
    with ThreadPoolExecutor() as pool:
        return dict(zip(STACKS, pool.map(export.preview, projects), strict=True))


def of_azure(resources: Resources) -> Resources:
    return [resource for resource in resources if resource["type"].startswith("azure-native:")]


@pytest.mark.parametrize("stack", STACKS)
def test_a_preview_asks_azure_for_nothing_that_it_refuses(
    stack: str, previewed: dict[str, Resources]
) -> None:
    made = of_azure(previewed[stack])
    assert len(made) == COUNTS[stack]
    protected = {resource["urn"].rpartition("::")[2] for resource in made if resource.get("protect")}
    data = {"group", "registry-registry", "vault-vault", "storage-account", "database-server"}
    assert protected & data == (data if stack == "prod" else set())


@pytest.mark.parametrize("stack", STACKS)
def test_nothing_is_made_before_what_it_needs(stack: str, previewed: dict[str, Resources]) -> None:
    """Each id in a resource's properties is of one that it depends on, or of one that always exists."""
    found = export.template(previewed[stack])["resources"]
    made = {resource["id"] for resource in found}
    for resource in found:
        before = {id_.lower() for id_ in _all_before(resource["id"], found)}
        for id_ in export.arm.references(resource.get("properties", {})):
            if id_ in made:
                assert id_.lower() in before, f"{resource['name']} needs {id_}, but does not wait for it"


def _all_before(id_: str, found: list[dict[str, Any]]) -> set[str]:
    by_id = {resource["id"]: resource["dependsOn"] for resource in found}
    before: set[str] = set()
    rest = [*by_id[id_]]
    while rest:
        next_ = rest.pop()
        if next_ not in before:
            before.add(next_)
            rest += by_id.get(next_, ())
    return before


@pytest.fixture(scope="module")
def together(previewed: dict[str, Resources]) -> dict[str, Any]:
    """One template of all stacks, whose names tell them apart: a tool that starts slowly is asked once."""
    templates = [export.template(resources) for resources in previewed.values()]
    return {**templates[0], "resources": [one for template in templates for one in template["resources"]]}


def test_checkov_finds_exactly_what_is_suppressed_with_a_reason(together: dict[str, Any]) -> None:
    """Nothing else in any stack, and no suppression outlives its finding."""
    template = copy.deepcopy(together)
    suppressed = set()
    for resource in template["resources"]:
        for comment in resource.pop("metadata", {}).get("checkov", ()):
            check, _, reason = comment.removeprefix("checkov:skip=").partition(":")
            assert reason.strip()
            suppressed.add((check, f"{resource['type']}.{resource['name']}"))
    found = crosscheck.checkov(template)
    assert {(check, resource) for check, resource, _ in found.failed} == suppressed
    assert found.passed > 250


def test_microsofts_own_clients_know_every_property(together: dict[str, Any]) -> None:
    """Of the API version that is sent; what they would not take is seen, too."""
    (vault, *_) = (one for one in together["resources"] if one["type"] == "Microsoft.KeyVault/vaults")
    faulty = [
        {**vault, "name": "newer", "apiVersion": "2026-05-15"},
        {**vault, "name": "odd", "properties": {**vault["properties"], "odd": True}},
        {**vault, "name": "unknown", "type": "Microsoft.Nowhere/vaults"},
    ]
    assert crosscheck.models({**together, "resources": [*together["resources"], *faulty]}) == [
        "Microsoft.KeyVault/vaults newer: apiVersion is 2026-05-15, and the client's 2024-11-01; "
        "take another release of the client, or change DIFFERENT",
        "Microsoft.KeyVault/vaults odd: properties.odd is no property of VaultProperties",
        "Microsoft.Nowhere/vaults unknown: type is in neither MODELS nor WITHOUT",
    ]


def test_the_template_holds_no_secret(previewed: dict[str, Resources]) -> None:
    template = export.template(previewed["prod"])
    secrets = [one for one in template["resources"] if one["type"] == "Microsoft.KeyVault/vaults/secrets"]
    assert len(secrets) >= 5
    assert {one["properties"]["value"] for one in secrets} <= {"[secret]", export.LATER}


def test_a_stack_that_breaks_a_rule_is_refused_in_its_preview(new_project: NewProject) -> None:
    project = new_project("prod")
    project.azure_set("guard", False)
    project.azure_set("database.geoBackup", False)
    project.azure_set("secondLocation", "northeurope")
    output = project.preview(status=None)
    # All else is taken, also what a second region adds.
    assert "azure-native:network:VirtualNetwork network-second-vnet create" in output
    assert "has a problem" not in output
    assert "[mandatory]  backups-of-prod" in output
    assert "backups are not geo-redundant for 35 days" in output
    assert "[mandatory]  data-is-protected" in output
    for name in ("database-server", "vault-vault"):
        assert f"{name}: holds data but is not protected" in output


def test_an_export_of_another_stack_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["export", "local"])
    with pytest.raises(SystemExit, match="STACK is local, but dev, qa, prod are accepted"):
        export.main()


def test_the_launcher_asks_the_rules_of_every_stack_on_azure() -> None:
    from relevo.toolchain.launcher import CHECKOUT, is_local

    for stack in STACKS:
        assert not is_local(["preview", "--stack", stack], CHECKOUT)
    assert is_local(["preview", "--stack", "local"], CHECKOUT)
    assert Path(CHECKOUT, "policy", "PulumiPolicy.yaml").is_file()
