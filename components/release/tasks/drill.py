"""drill: the backup of this release is restored for practice, and asked by the artefact that serves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from components.release.context import Context
from components.release.drill import described, perform
from components.release.record import Release
from components.release.running import main


def drill(context: Context, release: Release) -> Mapping[str, Any]:
    done = perform(context, release.done["backup"]["name"])
    print(f"drill: {described(done)}", flush=True)
    return asdict(done)


if __name__ == "__main__":
    sys.exit(main("drill", drill, once=True))
