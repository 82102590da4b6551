"""What a balancer comes back with after a restart: its settings, and which instances get requests."""

from __future__ import annotations

import json
from pathlib import Path

from components.local import durable
from components.local.balancer import EdgeSettings


class Rotation:
    """Kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._settings_file = folder / "settings.json"
        self._rotation_file = folder / "rotation.json"

    @property
    def settings(self) -> EdgeSettings | None:
        """None before the first `keep`."""
        try:
            return EdgeSettings.from_dict(json.loads(self._settings_file.read_text()))
        except FileNotFoundError:
            return None

    @property
    def names(self) -> set[str]:
        try:
            return set(json.loads(self._rotation_file.read_text()))
        except FileNotFoundError:
            return set()

    def keep(self, settings: EdgeSettings) -> None:
        durable.write(self._settings_file, json.dumps(settings.to_dict(), indent=2) + "\n")

    def turn(self, name: str, *, into: bool) -> bool:
        """Put `name` in or take it out; returns whether that is a change."""
        names = self.names
        if (name in names) == into:
            return False
        durable.write(self._rotation_file, json.dumps(sorted(names ^ {name})) + "\n")
        return True
