"""Writing images as an archive that ``docker load``, ``podman load`` and skopeo read."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from rondel.engine.images import model, platforms
from rondel.engine.images.model import Descriptor, Index, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished image: its manifest and its configuration's bytes; layers are blobs of the store."""

    manifest: Manifest
    config: bytes
    platform: platforms.Platform

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's descriptor, as an index lists it."""
        return Descriptor.of(self.manifest.to_bytes(), self.manifest.media_type, self.platform)


def root_of(images: Sequence[Packed]) -> tuple[Descriptor, bytes]:
    """What stands for the images together: the manifest of a single one, else an index."""
    if len(images) == 1:
        data = images[0].manifest.to_bytes()
        return Descriptor.of(data, images[0].manifest.media_type), data
    docker = images[0].manifest.media_type == model.DOCKER_MANIFEST
    media_type = model.DOCKER_INDEX if docker else model.OCI_INDEX
    data = Index(tuple(image.descriptor for image in images), media_type).to_bytes()
    return Descriptor.of(data, media_type), data


def write_archive(images: Sequence[Packed], target: IO[bytes], blob: Callable[[str], Path]) -> None:
    """Write an OCI layout as a tar, with Docker's ``manifest.json``; the same images give the same bytes.

    ``blob`` finds the file of a layer by its digest.
    """
    root, data = root_of(images)
    small = {root.digest: data}
    layers: dict[str, Path] = {}
    for image in images:
        small[image.descriptor.digest] = image.manifest.to_bytes()
        small[image.manifest.config.digest] = image.config
        layers |= {layer.digest: blob(layer.digest) for layer in image.manifest.layers}
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.copybufsize = 1 << 20  # type: ignore[attr-defined]
        for name in ("blobs/", "blobs/sha256/"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for digest in sorted({*small, *layers}):
            name = f"blobs/{digest.replace(':', '/')}"
            if digest in layers:
                with layers[digest].open("rb") as content:
                    _add(archive, name, layers[digest].stat().st_size, content)
            else:
                _add_bytes(archive, name, small[digest])
        _add_bytes(archive, "index.json", Index((root,)).to_bytes())
        _add_bytes(archive, "manifest.json", model.canonical([_docker_entry(_loadable(images))]))
        _add_bytes(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


def _loadable(images: Sequence[Packed]) -> Packed:
    """The image that a reader of the older form gets: this machine's, else the first."""
    return next((image for image in images if image.platform == platforms.default()), images[0])


def _docker_entry(image: Packed) -> dict[str, object]:
    paths = [f"blobs/{layer.digest.replace(':', '/')}" for layer in image.manifest.layers]
    config = f"blobs/{image.manifest.config.digest.replace(':', '/')}"
    return {"Config": config, "RepoTags": None, "Layers": paths}


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    archive.addfile(info, content)


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    import io

    _add(archive, name, len(data), io.BytesIO(data))
