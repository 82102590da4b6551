"""Images of stacks on Azure at the desk: pushed, promoted and pinned, each of its stack's own registry."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.release.manifest import Check, Manifest
from components.target import TargetError
from relevo import artefact, cli, image, pin, registry
from relevo.errors import RelevoError
from relevo.project import Project
from stacks import settings as configuration

ROOT = Path(__file__).parents[3]
ARTEFACT = f"app@sha256:{'3fa9' * 16}"
PUSHED = f"sha256:{7:064d}"
MANIFEST = Manifest(
    version="v2",
    revision="0" * 40,
    built_at="2026-01-02T03:04:05.678Z",
    lock="sha256:0",
    python="3.12",
    migrations=(),
    heads={},
    pipeline=(Check(name="migrations load", passed=True),),
)
# Docker is not everywhere: this writes down how it was called, and says what it would have pushed.
DOCKER_STAND_IN = f"""#!/bin/sh
for word; do echo "$word"; done >"$0.asked"
while [ "$1" != --metadata-file ]; do shift; done
echo '{{"containerimage.digest": "{PUSHED}"}}' >"$2"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout with the committed stacks, and one artefact in its store."""
    for name in ("Pulumi.yaml", "Pulumi.local.yaml", "Pulumi.qa.yaml", "Pulumi.prod.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    project = Project(root=tmp_path)
    folder = project.store.folder(ARTEFACT)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(MANIFEST.to_json())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", "of-the-login")
    return project


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER_STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(image, "context", lambda *_: None)  # made in tests/e2e/test_image.py
    return program


class RegistriesStandIn:
    """What is asked of the resource manager: of which subscription, to import what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, dict[str, Any]]] = []
        self.subscription = ""

    def __call__(self, subscription: str, resource_manager: str) -> RegistriesStandIn:
        self.subscription = subscription
        return self

    @property
    def registries(self) -> RegistriesStandIn:
        return self

    def begin_import_image(self, group: str, name: str, parameters: Any) -> RegistriesStandIn:
        self.asked.append((self.subscription, group, name, parameters.as_dict()))
        return self

    def result(self) -> None: ...


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> RegistriesStandIn:
    azure = RegistriesStandIn()
    monkeypatch.setattr(registry, "Clients", azure)
    monkeypatch.setattr(registry.Artefacts, "_manifest", lambda _, found: MANIFEST)
    return azure


def run(*words: str) -> str:
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_what_is_pushed_can_be_pinned(project: Project, docker: Path) -> None:
    pushed = run("push", "v2", "--stack", "qa").splitlines()[-1]
    assert pushed == f"crprestamosqa.azurecr.io/prestamos@{PUSHED}"
    asked = Path(f"{docker}.asked").read_text()
    assert "name=crprestamosqa.azurecr.io/prestamos:v2-3fa93fa93fa9,push=true" in asked
    assert "POSTGRESQL=17" in asked

    assert run("pin", pushed, "--stack", "qa") == f"pinned in Pulumi.qa.yaml: nothing → {pushed}\n"
    assert pin.pinned(project.configuration("qa")) == pushed
    assert project.settings("qa").image == pushed
    assert run("pin", pushed, "--stack", "qa") == f"{pushed} is pinned already\n"


def test_a_local_stack_has_no_registry(project: Project) -> None:
    with pytest.raises(
        RelevoError, match=r"^stack local is of target local, but only stacks on Azure have a "
    ):
        run("push", "v2", "--stack", "local")


@pytest.mark.parametrize(
    "wanted",
    [
        "v2",
        ARTEFACT,
        f"crprestamosprod.azurecr.io/prestamos@{PUSHED}",
        "crprestamosqa.azurecr.io/prestamos:v2",
    ],
)
def test_only_an_image_of_the_stacks_own_registry_is_pinned(project: Project, wanted: str) -> None:
    before = project.configuration("qa").read_bytes()
    with pytest.raises(
        RelevoError, match=r", but stack qa accepts crprestamosqa\.azurecr\.io/prestamos@sha256"
    ):
        run("pin", wanted, "--stack", "qa")
    assert project.configuration("qa").read_bytes() == before


def test_a_promotion_copies_the_very_image(project: Project, azure: RegistriesStandIn) -> None:
    image = f"crprestamosqa.azurecr.io/prestamos@{PUSHED}"
    promoted = run("promote", image, "--from", "qa", "--to", "prod").splitlines()[-1]
    assert promoted == f"crprestamosprod.azurecr.io/prestamos@{PUSHED}"
    assert azure.asked == [
        (
            "of-the-login",
            "rg-prestamos-prod",
            "crprestamosprod",
            {
                "source": {
                    "resourceId": "/subscriptions/of-the-login/resourceGroups/rg-prestamos-qa/providers/"
                    "Microsoft.ContainerRegistry/registries/crprestamosqa",
                    "sourceImage": f"prestamos@{PUSHED}",
                },
                "targetTags": ["prestamos:v2-000000000000"],
                "mode": "Force",
            },
        )
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            (f"crprestamosprod.azurecr.io/prestamos@{PUSHED}", "qa", "prod"),
            "IMAGE is .*of the registry of qa; ",
        ),
        (("v2", "qa", "prod"), "IMAGE is v2, but crprestamosqa.azurecr.io/prestamos@sha256"),
        ((f"crprestamosqa.azurecr.io/prestamos@{PUSHED}", "qa", "qa"), "--from and --to are qa, but"),
        ((f"crprestamosqa.azurecr.io/prestamos@{PUSHED}", "qa", "local"), "stack local is of target local"),
    ],
)
def test_a_promotion_that_cannot_be_meant_asks_azure_nothing(
    project: Project, azure: RegistriesStandIn, words: tuple[str, str, str], said: str
) -> None:
    with pytest.raises(RelevoError, match=said):
        run("promote", words[0], "--from", words[1], "--to", words[2])
    assert azure.asked == []


def test_without_a_subscription_it_is_not_guessed(
    project: Project, azure: RegistriesStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARM_SUBSCRIPTION_ID")
    image = f"crprestamosqa.azurecr.io/prestamos@{PUSHED}"
    with pytest.raises(
        RelevoError, match=r"^relevo:azure\.subscription of stack qa is missing, .*ARM_SUBSCR"
    ):
        run("promote", image, "--from", "qa", "--to", "prod")


def test_an_image_that_does_not_describe_itself_is_not_promoted(
    project: Project, azure: RegistriesStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: object, found: str) -> Manifest:
        raise TargetError(f"{found} is damaged")

    monkeypatch.setattr(registry.Artefacts, "_manifest", damaged)
    image = f"crprestamosqa.azurecr.io/prestamos@{PUSHED}"
    with pytest.raises(TargetError, match="is damaged"):
        run("promote", image, "--from", "qa", "--to", "prod")
    assert azure.asked == []


def test_a_red_artefact_is_pushed_but_said_to_be_red(
    project: Project, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The release refuses it; that is no reason to keep it from a stack for a look."""
    red = replace(MANIFEST, pipeline=(Check(name="migrations load", passed=False, detail="conflict"),))
    (project.store.folder(ARTEFACT) / "manifest.json").write_text(red.to_json())
    result = CliRunner().invoke(cli.app, ["push", "v2", "--stack", "qa"], catch_exceptions=False)
    assert "RED: migrations load: conflict" in result.stderr


def test_a_build_for_azure_fills_every_placeholder(project: Project, tmp_path: Path) -> None:
    """With nothing real, as for a local stack: a project's checks run before there is anything."""
    settings = project.settings("prod")
    every = {
        f"V{number}": f"{{{placeholder}}}" for number, placeholder in enumerate(configuration.PLACEHOLDERS)
    }
    app = settings.app.model_copy(update={"environment": {**settings.app.environment, **every}})
    found = artefact.placeholder_environment(
        settings.model_copy(update={"app": app}), "v2", tmp_path / "venv", tmp_path / "work"
    )
    assert {variable for variable in every if "{" in found[variable]} == set()
    assert found["DATABASE_URL"].startswith("postgres://app:")
    assert found["STATIC_ROOT"] == str(tmp_path / "static")
    assert len(found["SECRET_KEY"]) > 32


def test_where_the_up_builds_an_artefact_is_pinned_with_what_it_is_built_from(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "Pulumi.dev.yaml", project.root)
    prepared: list[tuple[str, str]] = []
    monkeypatch.setattr(
        image, "prepare", lambda stored, *_, postgresql, say: prepared.append((stored.image, postgresql))
    )
    run("pin", "v2", "--stack", "dev")
    assert pin.pinned(project.configuration("dev")) == ARTEFACT
    assert prepared == [(ARTEFACT, "17")]

    # What was released there before has its image already, and a rollback pins that.
    before = f"crprestamosdev.azurecr.io/prestamos@{PUSHED}"
    run("pin", before, "--stack", "dev")
    assert pin.pinned(project.configuration("dev")) == before
    assert len(prepared) == 1
