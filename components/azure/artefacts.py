"""Artefacts in the registry: read by digest, verified, and kept while a release may need them."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import zlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceNotFoundError

from components.azure.faults import asking
from components.azure.image import PLATFORM
from components.azure.login import Clients
from components.release.manifest import Manifest
from components.target import NotKept, TargetError

if TYPE_CHECKING:
    from azure.containerregistry import ContainerRegistryClient

MANIFEST, LOCK = "dev.relevo.manifest", "dev.relevo.lock"
VERSION, REVISION = "org.opencontainers.image.version", "org.opencontainers.image.revision"
GZIP = zlib.MAX_WBITS | 16  # with its header
LARGEST = 4 * 1024 * 1024  # bytes of a manifest, unpacked


class Artefacts:
    """`server`: the registry's host; `repository`: where the artefacts of this app are."""

    def __init__(self, clients: Clients, *, server: str, repository: str) -> None:
        self._clients = clients
        self._server = server
        self._repository = repository
        self.manifest = functools.cache(self._manifest)

    def reference(self, image: str) -> str:
        """How the platform pulls it: registry, repository and digest."""
        return f"{self._server}/{self._repository}@{self._digest(image)}"

    def keep(self, image: str) -> None:
        """Locked: neither a retention policy nor a person deletes it by mistake."""
        with asking(f"lock {image} in the registry"):
            for digest in self._parts(image):
                self._registry.update_manifest_properties(self._repository, digest, can_delete=False)

    def prune(self, images: Collection[str]) -> None:
        """Lock these; unlock and remove what was locked before. What was never released is left alone."""
        kept: set[str] = set()
        for image in images:
            kept.update(self._parts(image))
        with asking(f"list what the registry has of {self._repository}"):
            found = {each.digest: each for each in self._registry.list_manifest_properties(self._repository)}
        for digest in sorted(kept & found.keys()):
            if found[digest].can_delete:
                with asking(f"lock {digest[:19]}… in the registry"):
                    self._registry.update_manifest_properties(self._repository, digest, can_delete=False)
        for digest, properties in found.items():
            if digest not in kept and not properties.can_delete:
                with asking(f"remove {digest[:19]}… from the registry"):
                    self._registry.update_manifest_properties(self._repository, digest, can_delete=True)
                    self._registry.delete_manifest(self._repository, digest)

    # -- inside ----------------------------------------------------------------------------------------
    @functools.cached_property
    def _registry(self) -> ContainerRegistryClient:
        return self._clients.registry(self._server)

    def _manifest(self, image: str) -> Manifest:
        """Of an image whose manifest, configuration and labels agree. Raises `TargetError`."""
        found = self._get(self._digest(image), image)
        if "manifests" in found:
            found = self._get(self._for_platform(found, image), image)
        labels = self._labels(found, image)
        if MANIFEST not in labels:
            raise TargetError(
                f"{image} has no label {MANIFEST}, but an artefact describes itself by it; pin one that "
                f"relevo build made."
            )
        try:
            packed = base64.b64decode(labels[MANIFEST], validate=True)
            text = zlib.decompressobj(GZIP).decompress(packed, LARGEST)
            manifest = Manifest.from_json(text.decode())
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise _damaged(image, f"its label {MANIFEST} cannot be read: {type(error).__name__}") from None
        for label, said in (
            (LOCK, manifest.lock),
            (VERSION, manifest.version),
            (REVISION, manifest.revision),
        ):
            if labels.get(label) != said:
                raise _damaged(
                    image, f"its label {label} is {labels.get(label)!r}, its manifest says {said!r}"
                )
        return manifest

    def _digest(self, image: str) -> str:
        name, _, digest = image.rpartition("@")
        if name not in (
            self._repository,
            f"{self._server}/{self._repository}",
            self._repository.rpartition("/")[2],
        ):
            raise NotKept(
                f"relevo:image is {image}, but this stack takes its artefacts from "
                f"{self._server}/{self._repository}; pin one of those (see relevo releases)."
            )
        return digest

    def _parts(self, image: str) -> list[str]:
        """Its digest, and that of the image that runs where it is an index of several platforms."""
        digest = self._digest(image)
        found = self._get(digest, image)
        return [digest, self._for_platform(found, image)] if "manifests" in found else [digest]

    def _get(self, digest: str, image: str) -> Mapping[str, Any]:
        from azure.containerregistry import DigestValidationError

        with asking(f"read {image} in {self._server}"):
            try:  # the client compares what it gets with the digest
                return self._registry.get_manifest(self._repository, digest).manifest or {}
            except ResourceNotFoundError:
                raise NotKept(
                    f"relevo:image is {image}, but {self._server} has no such artefact; build and push it, "
                    f"or see relevo releases."
                ) from None
            except DigestValidationError:
                raise _damaged(image, "the registry's content is not of this digest") from None

    def _for_platform(self, index: Mapping[str, Any], image: str) -> str:
        for each in index["manifests"]:
            platform = each.get("platform", {})
            if f"{platform.get('os')}/{platform.get('architecture')}" == PLATFORM:
                return each["digest"]
        raise TargetError(
            f"{image} has no image for {PLATFORM}, but the sites run on it; build it for that platform."
        )

    def _labels(self, manifest: Mapping[str, Any], image: str) -> Mapping[str, str]:
        from azure.containerregistry import DigestValidationError

        with asking(f"read the configuration of {image} in {self._server}"):
            try:
                stream = self._registry.download_blob(self._repository, manifest["config"]["digest"])
                config = json.loads(b"".join(stream))
            except DigestValidationError:
                raise _damaged(image, "its configuration is not of its digest") from None
            except (ResourceNotFoundError, ValueError, KeyError):
                raise _damaged(image, "its configuration cannot be read") from None
        return config.get("config", {}).get("Labels") or {}


def pack(manifest: Manifest) -> str:
    """The value of the label, the same for the same manifest."""
    return base64.b64encode(gzip.compress(manifest.to_json().encode(), mtime=0)).decode()


def _damaged(image: str, what: str) -> TargetError:
    return TargetError(f"{image} is damaged ({what}), but it must be as built; build it again and pin that.")
