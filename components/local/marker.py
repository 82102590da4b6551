"""The mark by which a stack's processes are known, whoever their parent is now."""

from __future__ import annotations

from pathlib import Path

import psutil

from components.local.layout import Layout

MARKER = "RELEVO_PROGRAM"


def marker(process: psutil.Process, layout: Layout) -> str:
    """Its mark; "" without one. Raises `psutil.Error` for a process that is gone, or another user's."""
    found = process.environ().get(MARKER, "")
    # nginx writes its title over its environment; it stays in the folder that it was started in.
    if not found and process.name() == "nginx":
        folders = (layout.edge, layout.page_server)
        here = Path(process.cwd())
        return next((layout.marker(folder.name) for folder in folders if here == folder.resolve()), "")
    return found
