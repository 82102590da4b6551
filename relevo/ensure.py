"""A stack that has something to release: what is pinned is in the store, or is built there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.release import record
from relevo import artefact, pin, releases
from relevo.errors import RelevoError
from relevo.project import Project
from relevo.store import Stored


def pinned(
    project: Project, stack: str, path: Path, build: Callable[[], Stored], say: artefact.Say
) -> Stored:
    """The pinned artefact, ready to be released; `build` makes the one of `path` where it is needed.

    A fresh clone may have a pin that was built elsewhere. The same source gives the same digest; another one
    is taken only where nothing was ever released, since else it would be a release that nobody asked for.
    """
    configuration = project.configuration(stack)
    wanted = pin.pinned(configuration)
    stored = project.store.get(wanted) if wanted else None
    if stored:
        artefact.restore_environment(stored, project.store, say)
        return stored
    if wanted:
        say(f"the pinned {wanted} is not in the artefact store; building {path}")
    stored = build()
    if wanted and stored.image != wanted and record.last_good(releases.of(project, stack)):
        raise RelevoError(
            f"relevo:image is {wanted}, which is not in the artefact store, but {path} is now "
            f"{stored.image}; build the commit that it came from, or release this one: "
            f"relevo pin {stored.manifest.version} --stack {stack}."
        )
    if stored.image != wanted:
        pin.pin(configuration, stored.image)
        say(f"pinned {stored.manifest.version} in {configuration.name}: {stored.image}")
    return stored
