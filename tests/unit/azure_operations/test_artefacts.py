"""An artefact is what its digest says, and stays as long as a release may need it."""

from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from typing import Any

import pytest

from components.azure.operations import AzureOperations
from components.target import Deployment, NotKept, TargetError
from tests.azure.arm_stand_in import ArmStandIn
from tests.unit.azure_operations.conftest import VERSION_1, VERSION_2, labels


def test_a_manifest_is_read_from_the_labels_of_an_image_and_of_an_index(
    operations: AzureOperations, azure: ArmStandIn, images: list[str]
) -> None:
    assert operations.artefact(images[1]).manifest == VERSION_2
    index = azure.image(labels(VERSION_1), index=True)
    for name in ("assets", "crassetstest.azurecr.io/assets"):
        assert operations.artefact(f"{name}@{index}").manifest == VERSION_1


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"dev.relevo.lock": "sha256:0"}, r"damaged \(its label dev.relevo.lock is 'sha256:0'"),
        ({"org.opencontainers.image.version": "v9"}, "its label org.opencontainers.image.version is 'v9'"),
        ({"dev.relevo.manifest": "!"}, "its label dev.relevo.manifest cannot be read"),
        ({"dev.relevo.manifest": base64.b64encode(gzip.compress(b"{}")).decode()}, "cannot be read"),
        ({"dev.relevo.manifest": None}, "has no label dev.relevo.manifest"),
    ],
)
def test_an_artefact_that_contradicts_itself_is_refused(
    operations: AzureOperations, azure: ArmStandIn, broken: dict[str, Any], said: str
) -> None:
    found = {name: value for name, value in {**labels(VERSION_1), **broken}.items() if value is not None}
    with pytest.raises(TargetError, match=said):
        operations.artefact(f"assets@{azure.image(found)}")


def test_content_that_is_not_of_its_digest_is_refused(
    operations: AzureOperations, azure: ArmStandIn, images: list[str]
) -> None:
    digest = images[0].partition("@")[2]
    azure.manifests[digest] = azure.manifests[digest].replace(b'"layers": []', b'"layers": [1]')
    with pytest.raises(TargetError, match=r"is damaged.*not of this digest"):
        operations.artefact(images[0])


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (f"assets@sha256:{'0' * 64}", "has no such artefact; build and push it"),
        (
            f"elsewhere.azurecr.io/assets@sha256:{'0' * 64}",
            "takes its artefacts from crassetstest.azurecr.io/assets",
        ),
    ],
)
def test_an_artefact_from_nowhere_is_refused(operations: AzureOperations, image: str, said: str) -> None:
    with pytest.raises(NotKept, match=said):
        operations.artefact(image)


def test_what_a_way_back_needs_is_locked_and_what_was_never_released_is_left_alone(
    operations: AzureOperations, azure: ArmStandIn, images: list[str]
) -> None:
    old = azure.image(labels(replace(VERSION_1, version="v0")), index=True)
    child = next(
        digest
        for digest, data in azure.manifests.items()
        if digest.encode() in azure.manifests[old] and b"layers" in data
    )
    built = azure.image(labels(replace(VERSION_1, version="v3")))
    operations.replace("instance-1", Deployment(image=f"assets@{old}", version="v0", release="r0"))
    operations.admit("instance-1", timeout=5)
    operations.replace("instance-2", Deployment(image=images[0], version="v1", release="r1"))
    assert {old, child} <= azure.locked

    operations.prune([images[1]])
    assert {old, child} <= azure.locked  # an instance still has it
    operations.admit("instance-2", timeout=5)
    operations.replace("instance-1", Deployment(image=images[1], version="v2", release="r2"))
    operations.prune([images[1]])
    assert {old, child} & azure.manifests.keys() == set()
    assert azure.locked == {image.partition("@")[2] for image in images}
    assert built in azure.manifests


def test_missing_secrets_are_named_and_values_kept_silent(
    facts: dict[str, Any], azure: ArmStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = AzureOperations(facts)
    assert operations.missing_secrets() == []
    assert operations.secret("MAIL_PASSWORD") == "value-of-mail-password"
    del azure.vault["mail-password"], azure.vault["database-url-b"]
    operations = AzureOperations(facts)
    assert operations.missing_secrets() == ["MAIL_PASSWORD", "database-url-b"]
    with pytest.raises(TargetError, match="relevo secret set MAIL_PASSWORD"):
        operations.secret("MAIL_PASSWORD")
    azure.fail("GET", "vault.azure.net/secrets/secret-key", status=403, code="Forbidden", times=2)
    with pytest.raises(
        TargetError, match=r"cannot read the secret secret-key .* 403 \(.*Forbidden.*runnerAddresses"
    ):
        AzureOperations(facts).secret("SECRET_KEY")
    assert "value-of" not in "".join(capsys.readouterr())
