"""An image that `pulumi up` builds: from what relevo pin prepared, and pinned by what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.azure.image_build import ImageBuild, ImageBuildArgs
from components.target import TargetError
from tests.unit.azure.stand_in import StandInEngine

ARTEFACT = f"app@sha256:{'3fa9' * 16}"
BUILT = f"crassetsdev.azurecr.io/assets@sha256:{7:064d}"


@pytest.fixture
def artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    artefact = Path("artefacts", ARTEFACT)
    (artefact / "image" / "context").mkdir(parents=True)
    recipe = {"tag": "v2-3fa9", "arguments": {"BASE": "python:3.12", "POSTGRESQL": "17"}}
    (artefact / "image" / "recipe.json").write_text(json.dumps(recipe))
    return artefact


def test_it_is_built_from_what_was_prepared_and_named_by_its_digest(artefact: Path) -> None:
    engine = StandInEngine()
    engine.outputs = {"image-image": {"repoDigest": BUILT}}
    built = engine.build(
        lambda: ImageBuild(
            "image", ImageBuildArgs(artefact=artefact, repository="crassetsdev.azurecr.io/assets")
        )
    )

    made = engine.made["image-image"]
    assert made.type == "docker:index/image:Image"
    assert made.inputs == {
        "imageName": "crassetsdev.azurecr.io/assets:v2-3fa9",
        "build": {
            "context": f"artefacts/{ARTEFACT}/image/context",
            "dockerfile": f"artefacts/{ARTEFACT}/image/context/Dockerfile",
            "args": {"BASE": "python:3.12", "POSTGRESQL": "17"},
            "platform": "linux/amd64",
            "builderVersion": "BuilderBuildKit",
        },
        "buildOnPreview": False,
        "skipPush": False,
    }
    assert engine.value(built.reference) == BUILT


def test_what_was_not_prepared_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(
        TargetError, match=rf"^relevo:image is {ARTEFACT}, but nothing is prepared .*; pin it by relevo pin"
    ):
        ImageBuildArgs(artefact=tmp_path / ARTEFACT, repository="crassetsdev.azurecr.io/assets")
