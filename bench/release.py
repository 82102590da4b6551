"""How long a release and a rollback of the example take on the local stack, step by step.

    python bench/release.py

Each step's share of its release is what compares between machines; the seconds are this machine's.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

from components.release import record
from tests.e2e.project import ROOT, Project
from tests.e2e.releases import build_repository


def timed(project: Project) -> float:
    began = time.monotonic()
    project.up()
    return time.monotonic() - began


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as folder:
        repository = build_repository(Path(folder) / "repository")
        project = Project(Path(folder) / "project")
        committed = YAML(typ="safe").load((ROOT / "Pulumi.local.yaml").read_text())["config"]
        settings = {key.removeprefix("relevo:"): value for key, value in committed.items()}
        project.configure({**settings, "smoke": str(ROOT / settings["smoke"])})
        project.init()
        try:
            walls: dict[str, float] = {}
            for what, tag in (("first release", "v1"), ("release", "v2"), ("rollback", "v1")):
                project.pin(project.build(repository, tag))
                walls[what] = timed(project)
            unchanged = min(timed(project) for _ in range(3))
            written = (project.state / "logbook" / "releases.jsonl").read_bytes()
            releases = record.releases(record.parse(written))
            print("step".ljust(20), *(what.rjust(22) for what in walls))
            for step in releases[0].seconds:
                shares = (
                    f"{release.seconds[step]:8.2f} s {release.seconds[step] / wall:6.1%}"
                    for release, wall in zip(releases, walls.values(), strict=True)
                )
                print(step.ljust(20), *(share.rjust(22) for share in shares))
            print(
                "wall of pulumi up".ljust(20),
                *(f"{wall:8.2f} s {1:6.1%}".rjust(22) for wall in walls.values()),
            )
            print(f"unchanged up: {unchanged:.2f} s, {unchanged / walls['release']:.1%} of a release")
        finally:
            project.remove()


if __name__ == "__main__":
    main()
