"""Start a process of the project in its container: `python -m components.azure.start <process> -- <argv>`.

Says first what it is, by the manifest in its image: what runs is then read from the log of each worker, not
from what was asked for. Another version than that starts nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from components.azure.container_secrets import with_secrets
from components.azure.environment import REFERENCE
from components.azure.image import ITSELF
from components.azure.marker import Started
from components.release.manifest import Manifest
from components.target import TargetError


def announcement(environment: Mapping[str, str], *, version: str) -> Started:
    """`version`: what the image is. Raises `KeyError` with the name of a variable that no release has set."""
    return Started(
        release=environment["RELEVO_RELEASE_ID"],
        image=environment["RELEVO_IMAGE"],
        version=version,
        instance=environment["RELEVO_INSTANCE"],
        # "Environment variables and app settings in Azure App Service"; "Environment variables on Azure
        # Container Apps".
        worker=environment.get("WEBSITE_INSTANCE_ID") or environment.get("CONTAINER_APP_REPLICA_NAME", ""),
        start=environment["RELEVO_START"],
    )


def version_of_image(root: Path) -> str | None:
    """None: the image was made before they said what they are."""
    try:
        return Manifest.from_json((root / ITSELF).read_text()).version
    except FileNotFoundError:
        return None


def complete(environment: Mapping[str, str]) -> dict[str, str]:
    """With the values of all secrets. Raises `TargetError` for one that cannot be had.

    App Service has put them in place, but starts a process also without those that it has not got.
    """
    if "WEBSITE_INSTANCE_ID" not in environment:
        return with_secrets(environment)
    unresolved = sorted(name for name, value in environment.items() if value.startswith(REFERENCE))
    if unresolved:
        raise TargetError(
            f"{', '.join(unresolved)} has no value from the vault, but the process needs it; see whether the "
            f"secret exists and the site's identity may read it"
        )
    return dict(environment)


def main(arguments: list[str]) -> int:
    """The process starts where this does: in the image's working directory, which has manage.py."""
    argv = arguments[arguments.index("--") + 1 :]
    try:
        asked = os.environ["RELEVO_VERSION"]
        version = version_of_image(Path(sys.prefix)) or asked
        print(announcement(os.environ, version=version).to_line(), flush=True)
        if version != asked:
            raise TargetError(f"this image is {version}, but {asked} was asked for")
        os.execvpe(argv[0], argv, complete(os.environ))
    except (KeyError, OSError, ValueError, TargetError) as error:
        print(f"[CRITICAL] relevo: {error}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
