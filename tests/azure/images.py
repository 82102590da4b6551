"""Images as a registry has them: a manifest and a configuration, without layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Documents = dict[str, bytes]
"""Digest → content."""


def image(labels: Mapping[str, str]) -> tuple[str, Documents]:
    """The image's digest, and what a push of it sends."""
    configuration, sent = document(
        {"architecture": "amd64", "os": "linux", "config": {"Labels": dict(labels)}}
    )
    digest, manifest = document(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "digest": configuration,
                "mediaType": "application/vnd.oci.image.config.v1+json",
            },
            "layers": [],
        }
    )
    return digest, {**sent, **manifest}


def document(content: Mapping[str, Any]) -> tuple[str, Documents]:
    data = json.dumps(content).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return digest, {digest: data}
