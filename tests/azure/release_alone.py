"""A stack's program without its resources: the release alone, where they stay as they are.

For tests in which one step after another fails: the whole program would compare at each `up` what no step
changes. `facts.json` has what the release was last given.
"""

from __future__ import annotations

import json
from pathlib import Path

import pulumi

from components.release.release import Release, ReleaseArgs
from components.target import Target
from stacks.release import release_spec
from stacks.settings import load

settings = load()
spec = release_spec(settings, Path.cwd())
assert spec is not None
given = json.loads(Path("facts.json").read_text())
facts = {**given["facts"], "image": settings.image}
Release(
    "release",
    ReleaseArgs(
        target=Target(
            stack=given["stack"],
            instances=settings.instance_names,
            processes=tuple(settings.app.processes),
            operations=given["operations"],
            facts=pulumi.Output.from_input(facts),
            public_url=pulumi.Output.from_input(facts["public_url"]),
        ),
        spec=spec,
    ),
)
