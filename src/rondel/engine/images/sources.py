"""The source of an image: its manifest, its configuration, and access to its blobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rondel.engine.images.model import (
    Descriptor,
    ImageConfig,
    ImageIndex,
    InvalidImageError,
    Manifest,
    parse_manifest,
)
from rondel.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.images.platforms import Platform


class BlobSource(Protocol):
    """Provides a blob's bytes: a registry, an OCI layout, an archive."""

    async def fetch(self, blob: Descriptor, target: Path) -> None:
        """Write the blob to ``target``, resuming a partial one; the caller verifies the digest."""
        ...


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that was found. ``digest`` is what its name refers to, which may be an index."""

    digest: str
    manifest: Manifest
    manifest_digest: str
    config: ImageConfig
    blobs: BlobSource


class NoSuchPlatform(EngineError):
    """An image exists, but not for the requested platform."""


Read = Callable[[Descriptor], Awaitable[bytes]]


async def choose(
    root: Descriptor, platform: Platform, read: Read, blobs: BlobSource, name: str
) -> FoundImage:
    """The image for ``platform`` in a manifest or index.

    ``read`` returns small, verified blobs. A single image is used whatever its platform, so that
    images for other machines can be inspected. Raises NoSuchPlatform.
    """
    entry, tree = root, parse_manifest(await read(root), root.media_type)
    for _ in range(4):
        if not isinstance(tree, ImageIndex):
            break
        found = tree.best_for(platform)
        if found is None:
            there = ", ".join(sorted({str(m.platform) for m in tree.manifests if not m.is_attestation}))
            raise NoSuchPlatform(
                f"{name}: no match for platform in manifest: not found", why=f"there is: {there}"
            )
        entry, tree = found, parse_manifest(await read(found), found.media_type)
    if isinstance(tree, ImageIndex):
        raise InvalidImageError(f"{name}: indexes within indexes without end")
    config = ImageConfig.from_bytes(await read(tree.config))
    if len(config.diff_ids) != len(tree.layers):
        raise InvalidImageError(
            f"{name}: the configuration names {len(config.diff_ids)} layers, the manifest {len(tree.layers)}"
        )
    return FoundImage(root.digest, tree, entry.digest, config, blobs)
