"""How long each way back takes on the local stack, with ten thousand and with a million rows.

    python bench/rollback.py [ROWS …]

Direct: v2 only added a column. Rewind: v3 renamed it, and is reversed. Restore: v4 cannot be reversed, so the
backup of before takes its place. The ratio between the ways and sizes of one run is what compares.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from components.local.layout import Layout
from components.local.postgres import connect
from components.local.server import Server
from components.local.vault import Vault
from tests.e2e.project import ROOT, Project
from tests.e2e.releases import build_repository

SIZES = (10_000, 1_000_000)
ROWS = """
INSERT INTO assets_asset (code, name, category, smoke)
SELECT 'row-' || i, 'asset ' || i, 'category ' || i %% 100, false FROM generate_series(1, %s) AS i
"""


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def fill(project: Project, rows: int) -> None:
    layout = Layout(project.state.resolve())
    port = json.loads(layout.ports.read_text())["database"]
    with connect(Server(port=port), Vault(layout.secrets), database="app") as connection:
        connection.execute(ROWS, [rows])
        connection.execute("ANALYZE")


def ways_back(project: Project, digests: dict[str, str], rows: int) -> dict[str, float]:
    """Way → seconds from the decision to the end of `pulumi up`."""

    def release(tag: str) -> None:
        project.set("acceptIncompatible", tag)
        project.release(digests[tag])
        project.unset("acceptIncompatible")

    def restore() -> None:
        project.run("relevo", "restore", "--yes", "--stack", project.stack)
        project.up(preview=False)

    project.release(digests["v1"])
    fill(project, rows)
    took: dict[str, float] = {}
    release("v2")
    took["direct"] = timed(lambda: project.release(digests["v1"]))
    release("v3")
    took["rewind"] = timed(lambda: project.release(digests["v2"]))
    release("v4")
    took["restore"] = timed(restore)
    return took


def main(sizes: list[int]) -> None:
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as folder:
        repository = build_repository(Path(folder) / "repository")
        committed = YAML(typ="safe").load((ROOT / "Pulumi.local.yaml").read_text())["config"]
        settings = {key.removeprefix("relevo:"): value for key, value in committed.items()}
        settings.pop("image", None)
        for rows in sizes:
            project = Project(Path(folder) / f"project-{rows}")
            project.configure({**settings, "smoke": str(ROOT / settings["smoke"])})
            project.init()
            try:
                digests = {tag: project.build(repository, tag) for tag in ("v1", "v2", "v3", "v4")}
                found[rows] = ways_back(project, digests, rows)
            finally:
                project.remove()
    print("way back".ljust(10), *(f"{rows:>12,} rows" for rows in sizes), "ratio".rjust(8))
    for way in found[sizes[0]]:
        seconds = [found[rows][way] for rows in sizes]
        print(way.ljust(10), *(f"{each:15.1f} s" for each in seconds), f"{seconds[-1] / seconds[0]:8.1f}")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(SIZES))
