"""Shortens the pauses between two questions to Azure: the stand-in counts questions, and not seconds.

On PYTHONPATH of a release on the stand-in, so that each of its processes has it. A module is changed when
it is imported, since most processes import none of them.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

PAUSE = 0.05
SHORTENED: dict[str, dict[str, Any]] = {
    "components.azure.waiting": {"PAUSE": PAUSE},
    "components.azure.rotation": {"BETWEEN": 0.01},
    "components.azure.sites": {"FRESH_SECONDS": 0.0},
    "components.release.smoke": {"BETWEEN": 0.01},
}


class Hurried(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in SHORTENED:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def shortened(module: ModuleType) -> None:
            execute(module)
            vars(module).update(SHORTENED[fullname])
            if fullname == "components.azure.waiting":
                (module.until.__kwdefaults__ or {})["pause"] = PAUSE

        spec.loader.exec_module = shortened
        return spec


sys.meta_path.insert(0, Hurried())
