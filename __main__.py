"""The program: settings → target → release → exports."""

from __future__ import annotations

from pathlib import Path

import pulumi

from components.target import TargetError
from stacks import local
from stacks.settings import SettingsError, load

try:
    settings = load()
    target = local.compose(pulumi.get_stack(), Path.cwd(), settings)
except (SettingsError, TargetError) as fault:
    raise pulumi.RunError(str(fault)) from None

pulumi.export("url", target.public_url)
