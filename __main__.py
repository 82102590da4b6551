"""The program: settings → target → release → exports."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pulumi

from components.release.release import Release, ReleaseArgs
from components.release.scenario import ScenarioError
from components.target import TargetError
from stacks.release import release_spec
from stacks.settings import SettingsError, load

try:
    settings = load()
    spec = release_spec(settings, Path.cwd())
    # Only this one: another's SDK would be loaded for nothing.
    target = import_module(f"stacks.{settings.target}").compose(pulumi.get_stack(), Path.cwd(), settings)
except (SettingsError, TargetError, ScenarioError) as fault:
    raise pulumi.RunError(str(fault)) from None

pulumi.export("url", target.public_url)
if spec is None:
    pulumi.log.warn(
        "nothing is released, since relevo:image is missing; run relevo push, and pin what it prints."
    )
else:
    release = Release(
        "release",
        ReleaseArgs(target=target, spec=spec),
        pulumi.ResourceOptions(depends_on=target.ready),
    )
    pulumi.export("image", release.image)
    pulumi.export("release", release.id)
    pulumi.export("requests", release.requests)
    pulumi.export("digest", release.digest)
    pulumi.export("logbook", release.logbook)
