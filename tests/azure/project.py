"""A Pulumi project of a test on the stand-in: the checkout's program and a stack's configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.azure.image import CONTEXT, PREPARED, RECIPE
from components.release.context import TARGET
from tests.azure.stand_in import SUBSCRIPTION, VARIABLE, StandInAzure
from tests.e2e.project import ROOT, Project

STACKS = ("dev", "qa", "prod")
DIGEST = "sha256:" + "5e" * 32
ALONE = {"PULUMI_OPTION_SKIP_PREVIEW": "true", "PULUMI_OPTION_TARGET": "**relevo:release:Release**"}
SMOKE = """
variables: {}
steps:
  - name: it is ready
    request: {method: GET, path: /readyz/}
    expect: {status: 200}
  - name: it is described
    request: {method: GET, path: /docs/}
    expect: {status: 200}
"""


class AzureProject(Project):
    """`variables`: those of the home and of the stand-in servers."""

    def __init__(self, folder: Path, stack: str, azure: StandInAzure, variables: Mapping[str, str]) -> None:
        super().__init__(folder, stack)
        self.azure = azure
        self.environment: dict[str, str] = {
            **self.environment,
            **variables,
            VARIABLE: str(azure.folder),
            "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
            # As the launcher sets it for a stack on Azure in the checkout.
            "PULUMI_OPTION_POLICY_PACK": str(ROOT / "policy"),
        }
        shutil.copy(ROOT / f"Pulumi.{stack}.yaml", self.configuration)
        (folder / "examples").symlink_to(ROOT / "examples")
        self._adapt(variables.get("ADDRESS"))

    def image(self, digest: str) -> str:
        """The pin of an image in the stack's registry."""
        name = self.settings()["azure"]["name"]
        return f"{f'cr{name}{self.stack}'.replace('-', '')}.azurecr.io/{name}@{digest}"

    def settings(self) -> dict[str, Any]:
        return {key.removeprefix("relevo:"): value for key, value in self._document()["config"].items()}

    def pin_digest(self, digest: str) -> None:
        self.set("image", self.image(digest))

    def pin_artefact(self, labels: Mapping[str, str]) -> None:
        """Of which relevo pin has prepared an image with these labels; dev builds it."""
        artefact = "app@sha256:" + "a7" * 32
        prepared = self.folder / ".relevo" / "artefacts" / artefact / PREPARED
        (prepared / CONTEXT).mkdir(parents=True)
        lines = ["FROM scratch", *(f'LABEL {name}="{value}"' for name, value in labels.items())]
        (prepared / CONTEXT / "Dockerfile").write_text("\n".join(lines))
        (prepared / RECIPE).write_text(json.dumps({"tag": "of-a-test", "arguments": {}}))
        self.set("image", artefact)

    def smoke_lightly(self) -> None:
        """By a scenario that the stand-in can answer, which runs no project."""
        (self.folder / "smoke.yaml").write_text(SMOKE)
        self.set("smoke", "smoke.yaml")

    def up_at_once(self, *, status: int = 0) -> str:
        """Without its preview, and with the state written once, at the end."""
        self.environment |= {"PULUMI_EXPERIMENTAL": "true", "PULUMI_SKIP_CHECKPOINTS": "true"}
        return self.run(
            "pulumi", "up", "--stack", self.stack, "--yes", "--skip-preview", status=status, timeout=580
        )

    def release_alone(self, *, status: int = 0) -> str:
        """`up` of the release's steps, every resource left as the last whole `up` made it.

        So is the one by which a stack comes back by itself.
        """
        facts = self.folder / "facts.json"
        program = self.folder / "__main__.py"
        if not facts.exists():
            state = json.loads(self.run("pulumi", "stack", "export", "--stack", self.stack, "--show-secrets"))
            (opened,) = (
                resource
                for resource in state["deployment"]["resources"]
                if resource["urn"].endswith("::open-record")
            )
            facts.write_text(opened["inputs"]["environment"][TARGET])
        shutil.copy(Path(__file__).with_name("release_alone.py"), program)
        self.environment |= ALONE
        try:
            return self.run("pulumi", "up", "--stack", self.stack, "--yes", status=status)
        finally:
            shutil.copy(ROOT / "__main__.py", program)
            for name in ALONE:
                del self.environment[name]

    def destroy(self, *, status: int = 0) -> str:
        return self.run("pulumi", "destroy", "--stack", self.stack, "--yes", "--skip-preview", status=status)

    def azure_set(self, path: str, value: Any) -> None:
        """A key below `relevo:azure`, e.g. "database.sku"."""
        section = self.settings()["azure"]
        inner = section
        *parents, last = path.split(".")
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
        self.set("azure", section)

    def _adapt(self, resource_manager: str | None) -> None:
        """What a committed file cannot have: a subscription, a resource manager, and a pin."""
        document = self._document()
        azure = document["config"]["relevo:azure"]
        azure["subscription"] = SUBSCRIPTION
        if resource_manager is not None:
            azure["resourceManager"] = resource_manager
        document["config"]["relevo:image"] = self.image(DIGEST)
        document.pop("encryptionsalt", None)
        with self.configuration.open("w") as file:
            YAML().dump(document, file)
