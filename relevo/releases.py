"""What a stack has released, read from its record beside the artefacts that are still in the store."""

from __future__ import annotations

import json
from pathlib import Path


def reachable(record: Path) -> set[str]:
    """Images that a rollback may ask for."""
    images = []
    with_record = record.read_text().splitlines() if record.is_file() else []
    for line in with_record:
        image = json.loads(line).get("image")
        if image and image not in images:
            images.append(image)
    return set(images[-10:])
