"""Writes images as an archive that ``docker load``, ``podman load`` and skopeo read."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from rondel.engine.images import model, platforms
from rondel.engine.images.model import Descriptor, ImageIndex, Manifest
from rondel.engine.images.tarheader import ending, header, padding
from rondel.engine.store.files import copy_on
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished image: its manifest and its configuration's bytes; the layers are blobs of the store."""

    manifest: Manifest
    config: bytes
    platform: platforms.Platform

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's descriptor for an index."""
        return Descriptor.of(self.manifest.to_bytes(), self.manifest.media_type, self.platform)


def root_of(images: Sequence[Packed]) -> tuple[Descriptor, bytes]:
    """The root descriptor: the manifest of a single image, else an index."""
    if len(images) == 1:
        data = images[0].manifest.to_bytes()
        return Descriptor.of(data, images[0].manifest.media_type), data
    docker = images[0].manifest.media_type == model.DOCKER_MANIFEST
    media_type = model.DOCKER_INDEX if docker else model.OCI_INDEX
    data = ImageIndex(tuple(image.descriptor for image in images), media_type).to_bytes()
    return Descriptor.of(data, media_type), data


def write_archive(images: Sequence[Packed], target: BinaryIO, blob: Callable[[str], Path]) -> None:
    """Write an OCI layout as a tar, with Docker's ``manifest.json``; equal images give equal bytes.

    ``target`` is a file at its beginning, ``blob`` finds the file of a layer by its digest.
    """
    root, data = root_of(images)
    small = {root.digest: data}
    layers: dict[str, Path] = {}
    for image in images:
        small[image.descriptor.digest] = image.manifest.to_bytes()
        small[image.manifest.config.digest] = image.config
        layers |= {layer.digest: blob(layer.digest) for layer in image.manifest.layers}
    target.writelines(header(name, tarfile.DIRTYPE, mode=0o755) for name in ("blobs/", "blobs/sha256/"))
    for digest in sorted({*small, *layers}):
        name = f"blobs/{digest.replace(':', '/')}"
        if digest in layers:
            _add_file(target, name, layers[digest])
        else:
            _add(target, name, small[digest])
    _add(target, "index.json", ImageIndex((root,)).to_bytes())
    _add(target, "manifest.json", model.canonical([_docker_entry(_loadable(images))]))
    _add(target, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    target.write(bytes(ending(target.tell())))


def _loadable(images: Sequence[Packed]) -> Packed:
    """The image for readers of Docker's format: this machine's, else the first."""
    return next((image for image in images if image.platform == platforms.default()), images[0])


def _docker_entry(image: Packed) -> dict[str, object]:
    paths = [f"blobs/{layer.digest.replace(':', '/')}" for layer in image.manifest.layers]
    config = f"blobs/{image.manifest.config.digest.replace(':', '/')}"
    return {"Config": config, "RepoTags": None, "Layers": paths}


def _add(target: BinaryIO, name: str, data: bytes) -> None:
    target.write(header(name, tarfile.REGTYPE, mode=0o644, size=len(data)) + data + bytes(padding(len(data))))


def _add_file(target: BinaryIO, name: str, path: Path) -> None:
    """Add a blob, copied within the kernel. Raises EngineError if it shrinks meanwhile."""
    with path.open("rb", buffering=0) as content:
        size = os.fstat(content.fileno()).st_size
        target.write(header(name, tarfile.REGTYPE, mode=0o644, size=size))
        target.flush()
        copied = copy_on(content.fileno(), target.fileno(), size)
    if copied != size:
        raise EngineError(f"layer {path.name} of the engine's store is damaged", hint="run again")
    target.seek(0, os.SEEK_END)
    target.write(bytes(padding(size)))
