"""Exports snapshots as image layers: packed once, remembered, and unchanged if they came from an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, cast

import anyio.from_thread
import anyio.to_thread

from rondel.engine.images import model
from rondel.engine.images.archive import Packed
from rondel.engine.images.chunked import BackgroundWriter
from rondel.engine.images.compression import GzipWriter
from rondel.engine.images.model import Descriptor, ImageConfig, Manifest
from rondel.engine.images.pack import LayerStack, pack
from rondel.engine.images.pull import chain_ids, remembered
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.engine.images.chunked import ByteSink
    from rondel.engine.store import Snapshot, Store
    from rondel.engine.store.blobs import BlobWriter

# Docker stops at 127 layers, and some registries below that.
MOST_LAYERS = 100


@dataclass(frozen=True, slots=True)
class Format:
    """The format of layers: ``gzip``, ``zstd`` or ``none``; ``forced`` repacks layers in another format."""

    compression: str = "gzip"
    forced: bool = False
    docker: bool = False
    latest: int | None = None


def format_of(forced: str | None, media_types: str | None, environ: Mapping[str, str]) -> Format:
    """The format for the API's ``forcedCompression`` and ``mediaTypes``.

    With ``SOURCE_DATE_EPOCH`` in the environment no file is newer than that
    (https://reproducible-builds.org/specs/source-date-epoch/).
    """
    docker = (media_types or "").upper().startswith("DOCKER")
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    latest = int(epoch) if epoch.isdecimal() else None
    if forced is None:
        return Format(docker=docker, latest=latest)
    names = {"GZIP": "gzip", "ZSTD": "zstd", "UNCOMPRESSED": "none"}
    compression = names.get(forced.upper())
    if compression is None:
        raise EngineError(
            f"layer compression {forced} is not served by Rondel's embedded engine",
            hint="use Gzip, Zstd or Uncompressed, or run this under a Dagger engine",
        )
    return Format(compression, forced=True, docker=docker, latest=latest)


async def pack_image(store: Store, snapshot: Snapshot, config: ImageConfig, form: Format,
                     annotations: Mapping[str, str] | None = None) -> Packed:  # fmt: skip
    """The image of a file system with this configuration; stores its layers as blobs."""
    layers: list[Descriptor] = []
    diff_ids: list[str] = []
    single: list[str] = []
    for group in groups(snapshot.layers):
        blob, diff_id = await _layer(store, group, form)
        if len(group) == 1 and len(single) == len(layers):
            single.append(group[0])
        layers.append(replace(blob, media_type=_media_type(blob.media_type, form)))
        diff_ids.append(diff_id)
    _remember_chains(store, single, tuple(diff_ids))
    data = config.with_layers(tuple(diff_ids)).to_bytes()
    kind = model.DOCKER_CONFIG if form.docker else model.OCI_CONFIG
    media_type = model.DOCKER_MANIFEST if form.docker else model.OCI_MANIFEST
    manifest = Manifest(Descriptor.of(data, kind), tuple(layers), media_type, dict(annotations or {}))
    return Packed(manifest, data, config.platform)


def groups(layers: Sequence[str], most: int = MOST_LAYERS) -> list[tuple[str, ...]]:
    """Layers, bottom to top, in at most ``most`` groups; the lowest, which images share, stay single."""
    if len(layers) <= most:
        return [(layer,) for layer in layers]
    alone, rest = layers[: most // 2], layers[most // 2 :]
    width = -(-len(rest) // (most - len(alone)))
    return [(layer,) for layer in alone] + [
        tuple(rest[start : start + width]) for start in range(0, len(rest), width)
    ]


def _remember_chains(store: Store, layers: Sequence[str], diff_ids: tuple[str, ...]) -> None:
    """Let a later import of this image find its layers in the store. Stops at the first merged group."""
    for layer, chain in zip(layers, chain_ids(diff_ids), strict=False):
        if store.index.get("chain", chain) is None:
            store.index.put("chain", chain, layer)


async def _layer(store: Store, group: tuple[str, ...], form: Format) -> tuple[Descriptor, str]:
    keys = [f"{','.join(group)}:{form.compression}{'' if form.latest is None else f':{form.latest}'}"]
    if len(group) == 1 and not form.forced:
        keys.insert(0, group[0])  # the original blob of an imported image
    for key in keys:
        if (known := _known(store, key)) is not None:
            return known
    async with store.lock(f"pack {keys[-1]}"):
        if (known := _known(store, keys[-1])) is not None:
            return known
        blob, diff_id = await anyio.to_thread.run_sync(_pack, store, group, form)
        store.index.put("layer-blob", keys[-1], remembered(blob, diff_id))
        return blob, diff_id


def _known(store: Store, key: str) -> tuple[Descriptor, str] | None:
    value: Any = store.index.get("layer-blob", key)
    if not isinstance(value, dict) or not store.blobs.has(value["digest"]):
        return None
    return Descriptor(value["type"], value["digest"], value["size"]), value["diff_id"]


def _pack(store: Store, group: tuple[str, ...], form: Format) -> tuple[Descriptor, str]:
    grafts: dict[str, Any] = {}
    for layer in group:
        grafts |= store.index.get("grafts", layer) or {}
    tree = LayerStack([store.layers.path(layer) for layer in group], grafts, latest=form.latest)
    writer, path = store.blobs.create()
    try:
        diff_id = _write(tree, writer, form.compression)
        digest = store.blobs.keep(writer, path)
    except BaseException:
        store.blobs.drop(writer, path)
        raise
    suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[form.compression]
    return Descriptor(model.OCI_LAYER + suffix, digest, writer.size), diff_id


def _write(tree: LayerStack, target: BlobWriter, compression: str) -> str:
    """Pack into the blob; returns the diff ID. Reading, hashing, compressing and writing run in parallel."""
    plain = hashlib.sha256()
    with BackgroundWriter(_Hash(plain)) as hashing:
        if compression == "gzip":
            with GzipWriter(target) as packed:
                pack(tree, _Both(hashing, packed))
        elif compression == "zstd":
            import zstandard

            # The number of threads is fixed, so that the bytes are the same on every machine.
            compressor = zstandard.ZstdCompressor(level=3, threads=2)
            with (
                BackgroundWriter(target) as behind,
                compressor.stream_writer(cast("IO[bytes]", _Raw(behind)), closefd=False) as packed_,
            ):
                pack(tree, _Both(hashing, packed_))
        else:
            with BackgroundWriter(target) as behind:
                pack(tree, _Both(hashing, behind))
    return f"sha256:{plain.hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Hash:
    """A digest that accepts bytes like a sink."""

    digest: hashlib._Hash

    def write(self, data: bytes | bytearray, /) -> None:
        self.digest.update(data)


@dataclass(frozen=True, slots=True)
class _Both:
    """Passes bytes on to two sinks, until the waiting task is cancelled."""

    first: ByteSink
    second: ByteSink

    def write(self, data: bytes | bytearray, /) -> None:
        anyio.from_thread.check_cancelled()
        self.first.write(data)
        self.second.write(data)


class _Raw:
    """A blob's writer in the form that zstandard expects."""

    def __init__(self, target: BackgroundWriter) -> None:
        self._target = target

    def write(self, data: bytes) -> int:
        return self._target.write(bytes(data))  # zstandard reuses its own buffer


def _media_type(media_type: str, form: Format) -> str:
    """A layer's media type, in the Docker or OCI family."""
    if not form.docker:
        return media_type.replace(model.DOCKER_LAYER, model.OCI_LAYER).replace(".tar.gzip", ".tar+gzip")
    plain, _, suffix = media_type.partition("+")
    if plain.startswith(model.DOCKER_LAYER):
        return media_type
    return model.DOCKER_LAYER + {"gzip": ".gzip", "zstd": ".zstd"}.get(suffix, "")
