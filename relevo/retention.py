"""Which artefacts must stay, whatever their age: pinned, running, or what a record can still go back to."""

from __future__ import annotations

import contextlib

import psutil

from components.local.layout import Layout
from relevo import releases
from relevo.project import Project
from relevo.store import IMAGE, Stored


def needed(project: Project) -> set[str]:
    """Images of all stacks of the project. Raises `SettingsError` if one is not valid: then nothing goes."""
    found = running()
    for stack in project.stacks():
        # The whole text: a pin in a comment, to go back to, is one too.
        found |= set(IMAGE.findall(project.configuration(stack).read_text(errors="replace")))
        if (
            project.settings(stack).target == "local"
        ):  # others keep their artefacts, and the record, themselves
            found |= releases.reachable(Layout(project.state(stack)).record)
    return found


def running() -> set[str]:
    """Images of every process on this machine that a release started, of this checkout or another."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.add(process.environ().get("RELEVO_IMAGE", ""))
    return {image for image in found if IMAGE.fullmatch(image)}


def prune(project: Project) -> list[Stored]:
    """Remove what is neither needed nor among the newest. Only inside the store's `exclusive`."""
    return project.store.prune(needed(project))
