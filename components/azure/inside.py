"""What a job in the network may do: read the vault and write the record, and ask nothing else of Azure."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from components.azure.container_secrets import with_secrets
from components.azure.environment import Environment, written
from components.azure.operations import AzureOperations
from components.azure.run import command
from components.target import Completed

# By which a container gets tokens of its identity ("Managed identities in Azure Container Apps"): no code of
# the project has to write the record.
TOKENS = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")


class InsideOperations(AzureOperations):
    """Commands run right here, in the artefact of the job and as its identity."""

    def _run(
        self,
        image: str,
        words: Sequence[str],
        *,
        environment: Environment,
        key: str,
        kind: str = "manage",
        show: bool = True,
        fresh: bool = False,
    ) -> Completed:
        began = time.monotonic()
        own = written(environment, self._facts["vault"]["uri"])
        complete = with_secrets({**os.environ, **own})
        done = subprocess.run(
            command(words),
            env={name: value for name, value in complete.items() if name not in TOKENS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        output = self._masking(done.stdout)
        if show:
            print(output, end="", flush=True)
        return Completed(status=done.returncode, output=output, seconds=time.monotonic() - began)

    def _version(self, image: str) -> str:
        """Only the registry knows that of an artefact, and nothing here depends on it."""
        return image
