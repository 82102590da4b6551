"""notify: every receiver is told that the release succeeded; whom it did not reach is recorded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from components.release import notices, return_time
from components.release.context import Context
from components.release.record import Release
from components.release.running import main


def notify(context: Context, release: Release) -> Mapping[str, Any]:
    return notices.tell(context, "done" if return_time.of(release) is None else "rolled-back", release)


if __name__ == "__main__":
    sys.exit(main("notify", notify, once=True))
