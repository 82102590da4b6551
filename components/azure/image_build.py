"""The image of an artefact, built and pushed during `pulumi up`: for stacks where people try things out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker as docker

from components.azure.image import CONTEXT, PLATFORM, PREPARED, RECIPE
from components.target import TargetError


@dataclass(frozen=True, kw_only=True)
class ImageBuildArgs:
    """`artefact`: its folder, relative to the project's so that the state holds no path of a checkout.

    `repository`: with the registry's host. Raises `TargetError` if relevo pin has prepared nothing there.
    """

    artefact: Path
    repository: pulumi.Input[str]

    def __post_init__(self) -> None:
        if not (self.artefact / PREPARED / RECIPE).is_file():
            raise TargetError(
                f"relevo:image is {self.artefact.name}, but nothing is prepared to build its image from; pin "
                f"it by relevo pin, which prepares that."
            )


class ImageBuild(pulumi.ComponentResource):
    """By the Docker of whoever runs `pulumi up`, who is logged in to the registry (az acr login).

    `reference` is the image as it is pinned elsewhere, by its digest: unknown to a preview until it is built.
    The same content is not built again.
    """

    def __init__(self, name: str, args: ImageBuildArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:ImageBuild", name, None, opts)
        prepared = args.artefact / PREPARED
        recipe = json.loads((prepared / RECIPE).read_text())
        built = docker.Image(
            f"{name}-image",
            image_name=pulumi.Output.concat(args.repository, ":", recipe["tag"]),
            build=docker.DockerBuildArgs(
                context=str(prepared / CONTEXT),
                dockerfile=str(prepared / CONTEXT / "Dockerfile"),
                args=recipe["arguments"],
                platform=PLATFORM,
                builder_version=docker.BuilderVersion.BUILDER_BUILD_KIT,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.reference = built.repo_digest
        self.register_outputs({"reference": self.reference})
