"""A manifest is read by other versions of Relevo than the one that wrote it."""

from __future__ import annotations

import json

from components.release.manifest import Check, Manifest
from tests.unit.release.stand_in import manifest, migration


def test_what_a_newer_relevo_writes_is_passed_over() -> None:
    written = manifest(
        "v1",
        migration("loans.0001_squashed", replaces="loans.0001_initial loans.0002_more"),
        pipeline=[Check(name="tests", passed=True)],
    )
    newer = json.loads(written.to_json())
    for part in (newer, newer["migrations"][0], newer["pipeline"][0]):
        part["added_since"] = [1]
    assert Manifest.from_json(json.dumps(newer)) == written
