"""The logbook's pages, in a container that no visitor reaches: whoever may read it downloads them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from components.azure.faults import asking
from components.azure.login import blobs

AT_ONCE = 8


def publish(pages: Mapping[str, bytes], *, host: str, container: str) -> None:
    """`pages`: path → HTML in UTF-8. Raises `TargetError`."""
    from azure.storage.blob import ContentSettings

    target = blobs(host).get_container_client(container)
    settings = ContentSettings(content_type="text/html; charset=utf-8", cache_control="no-cache")

    def upload(path: str) -> None:
        target.upload_blob(path, pages[path], overwrite=True, content_settings=settings)

    with asking("publish the logbook's pages"), ThreadPoolExecutor(AT_ONCE) as together:
        list(together.map(upload, pages))
