"""Puts an image's layers into the store: fetched concurrently, verified, unpacked in order, each only once.

A layer is identified by its chain ID (of it and all layers below, as the OCI image
specification defines it), because its effect, such as the metadata of parent
directories, depends on the layers below.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from contextlib import AsyncExitStack
from typing import IO, TYPE_CHECKING, cast

import anyio
import anyio.from_thread
import anyio.to_thread

from rondel.engine.images.compression import decompressed
from rondel.engine.images.model import Descriptor, InvalidImageError, sha256
from rondel.engine.images.unpack import unpack
from rondel.engine.store import Snapshot, Store
from rondel.engine.store.files import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.images.sources import FoundImage

_AT_ONCE = 4
_STALE_SECONDS = 3 * 24 * 3600
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def chain_ids(diff_ids: tuple[str, ...]) -> tuple[str, ...]:
    """The chain ID of each layer, bottom to top."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


async def pull(store: Store, image: FoundImage) -> Snapshot:
    """The image's file system; layers in the store are neither fetched nor unpacked again.

    Raises the errors of the blobs' source, and InvalidImageError for a layer that does not
    match the configuration.
    """
    chains = chain_ids(image.config.diff_ids)
    known = _known(store, chains)
    arrived = [anyio.Event() for _ in chains]
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    layers = list(known)
    async with anyio.create_task_group() as tasks:
        for position in range(len(known), len(chains)):
            tasks.start_soon(
                _fetch, store, image, image.manifest.layers[position], arrived[position], limiter
            )
        for position in range(len(known), len(chains)):
            await arrived[position].wait()
            layers.append(await _apply(store, image, position, chains[position], Snapshot(tuple(layers))))
    return Snapshot(tuple(layers))


def _known(store: Store, chains: tuple[str, ...]) -> list[str]:
    """The layers, bottom to top, that are already in the store."""
    layers: list[str] = []
    for chain in chains:
        layer = store.index.get("chain", chain)
        if not isinstance(layer, str) or not store.alive(Snapshot((layer,))):
            break
        layers.append(layer)
    return layers


async def _fetch(
    store: Store, image: FoundImage, blob: Descriptor, arrived: anyio.Event, limiter: anyio.CapacityLimiter
) -> None:
    async with limiter:
        await fetch_blob(store, image, blob)
    arrived.set()


async def fetch_blob(store: Store, image: FoundImage, blob: Descriptor) -> Path:
    """Fetch one blob into the store; concurrent requests, also of other sessions, wait for the first."""
    if not _DIGEST.fullmatch(blob.digest):
        raise InvalidImageError(f"a layer's digest is not supported: {blob.digest}")
    if not store.blobs.has(blob.digest):
        async with store.lock(f"blob {blob.digest}"):
            if not store.blobs.has(blob.digest):
                # Not in this session's scratch folder: a later session can resume it.
                partial = store.root / "p" / blob.digest.replace(":", "-")
                await anyio.to_thread.run_sync(_prepare, partial.parent)
                await image.blobs.fetch(blob, partial)
                try:
                    await anyio.to_thread.run_sync(lambda: store.blobs.take(partial, expected=blob.digest))
                finally:
                    await anyio.Path(partial).unlink(missing_ok=True)
    return store.blobs.path(blob.digest)


def _prepare(folder: Path) -> None:
    """The folder of partial downloads; removes those that were not resumed for days."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


async def _apply(store: Store, image: FoundImage, position: int, chain: str, below: Snapshot) -> str:
    """Unpack one layer over those below it; returns its ID in the store."""
    blob, diff_id = image.manifest.layers[position], image.config.diff_ids[position]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store.lock(f"chain {chain}"))
        layer = store.index.get("chain", chain)
        if isinstance(layer, str) and store.alive(Snapshot((layer,))):
            return layer
        target = store.new_path()
        try:
            actual = await anyio.to_thread.run_sync(_unpack, store, blob, target, below)
            if actual != diff_id:
                raise InvalidImageError(
                    f"layer {blob.digest[:19]}… unpacks to {actual[:19]}…",
                    why=f"the image's configuration says {diff_id}",
                )
            layer = await store.publish(target)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, target)
        store.index.put("layer-blob", layer, remembered(blob, diff_id))
        store.index.put("chain", chain, layer)
        return layer


def _unpack(store: Store, blob: Descriptor, target: Path, below: Snapshot) -> str:
    target.mkdir(mode=0o755)
    with store.blobs.path(blob.digest).open("rb") as raw, decompressed(raw) as stream:
        try:
            return unpack(
                cast("IO[bytes]", _Cancellable(stream)), target, store.view(below) if below.layers else None
            ).diff_id
        except (EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # an error of the disk, not of the stream
            raise InvalidImageError(
                f"layer {blob.digest[:19]}… cannot be decompressed", why=str(error)
            ) from error
        except Exception as error:
            if type(error).__module__.startswith(("zstd", "zlib", "lzma", "_lzma")):
                raise InvalidImageError(
                    f"layer {blob.digest[:19]}… cannot be decompressed", why=str(error)
                ) from error
            raise


class _Cancellable:
    """A stream that raises in the worker thread once the waiting task is cancelled."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        anyio.from_thread.check_cancelled()
        return self._stream.read(size)


def remembered(blob: Descriptor, diff_id: str) -> dict[str, object]:
    """The index's record of a layer: the blob that it was unpacked from."""
    return {"type": blob.media_type, "digest": blob.digest, "size": blob.size, "diff_id": diff_id}


def file_digest(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
