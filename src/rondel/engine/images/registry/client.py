"""Pulls manifests by name and blobs by digest, and verifies them."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import anyio
import anyio.to_thread

from rondel.engine.images import model
from rondel.engine.images.model import Descriptor
from rondel.engine.images.registry.credentials import Keychain
from rondel.engine.images.registry.errors import ImageNotFound, RegistryError, RegistryUnreachable
from rondel.engine.images.registry.transport import (
    Interrupted,
    RegistryEndpoint,
    Transport,
    endpoints,
    translated,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from rondel.engine.images.reference import Reference
    from rondel.engine.images.settings import ImageSettings

T = TypeVar("T")
_MAX_MANIFEST = 16 << 20
_CHUNK = 1 << 20
_TRIES = 5
_RANGE = re.compile(r"bytes (\d+)-")
_PARTIAL = frozenset((200, 206, 416))


class RegistryClient:
    """One session's registry client. Every method raises the errors of :mod:`.errors`."""

    def __init__(self, settings: ImageSettings, keychain: Keychain | None = None) -> None:
        self.settings = settings
        self.transport = Transport(settings, keychain or Keychain())
        self._silent: set[str] = set()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.transport.aclose()

    async def head(self, reference: Reference) -> Descriptor | None:
        """The manifest that a name refers to now, without its content; None if the registry does not say."""

        async def ask(endpoint: RegistryEndpoint) -> Descriptor | None:
            response = await self.transport.request(
                "HEAD", endpoint, endpoint.url(reference.repository, f"manifests/{reference.locator}"),
                scope=(reference.repository, "pull"), headers={"Accept": model.ACCEPT},
            )  # fmt: skip
            digest = response.headers.get("docker-content-digest", "")
            length = response.headers.get("content-length", "")
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not length.isdecimal():
                return None
            return Descriptor(response.headers.get("content-type", ""), digest, int(length))

        return await self._first(reference, ask)

    async def manifest(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest; a requested digest is verified."""

        async def ask(endpoint: RegistryEndpoint) -> tuple[Descriptor, bytes]:
            url = endpoint.url(reference.repository, f"manifests/{reference.locator}")
            data = bytearray()
            async with self.transport.stream(
                "GET", endpoint, url, scope=(reference.repository, "pull"), headers={"Accept": model.ACCEPT}
            ) as response:
                try:
                    with translated(endpoint):
                        async for chunk in response.aiter_bytes():
                            data += chunk
                            if len(data) > _MAX_MANIFEST:
                                raise RegistryError(f"{reference}: the manifest is larger than 16 MiB")
                except Interrupted as error:
                    raise RegistryUnreachable(f"{endpoint.host}: connection lost", why=str(error)) from None
                kind = response.headers.get("content-type", "").split(";")[0].strip()
            found = Descriptor.of(bytes(data), kind)
            if reference.digest is not None and not _has_digest(bytes(data), reference.digest):
                raise RegistryError(
                    f"{reference}: {endpoint.host} returned other content, with digest {found.digest}"
                )
            return found, bytes(data)

        return await self._first(reference, ask)

    async def download(self, reference: Reference, blob: Descriptor, target: Path) -> None:
        """Download a blob to ``target``; resumes an interrupted download there.

        The digest is computed while bytes arrive; if it is wrong, the file is removed.
        """

        async def ask(endpoint: RegistryEndpoint) -> None:
            await self._download_from(endpoint, reference, blob, target)

        await self._first(reference, ask)

    async def _download_from(
        self, endpoint: RegistryEndpoint, reference: Reference, blob: Descriptor, target: Path
    ) -> None:
        url = endpoint.url(reference.repository, f"blobs/{blob.digest}")
        with target.open("a+b") as file:
            partial = await anyio.to_thread.run_sync(_Partial, file, blob)
            for attempt in range(_TRIES):
                headers = {"Range": f"bytes={partial.size}-"} if partial.size else {}
                headers["Accept-Encoding"] = "identity"
                try:
                    async with self.transport.stream(
                        "GET",
                        endpoint,
                        url,
                        scope=(reference.repository, "pull"),
                        headers=headers,
                        fine=_PARTIAL,
                    ) as response:
                        partial.start_at(_offset(response.status_code, response.headers.get("content-range")))
                        if response.status_code == 416:
                            continue
                        with translated(endpoint):
                            await _receive(response.aiter_raw(), partial)
                    if partial.size >= blob.size:
                        break
                except Interrupted as error:
                    if attempt + 1 == _TRIES:
                        raise RegistryUnreachable(
                            f"{endpoint.host}: connection lost", why=str(error)
                        ) from None
                    await self.transport.pause(0.5 * 2.0**attempt)
        if partial.digest != blob.digest:
            await anyio.Path(target).unlink(missing_ok=True)
            raise RegistryError(
                f"{reference}: layer {blob.digest[:19]}… has the wrong content "
                f"({partial.size} of {blob.size} bytes, digest {partial.digest[:19]}…)",
                hint="the registry or a proxy returns damaged data; try again, or use another mirror",
            )

    async def _first(self, reference: Reference, ask: Callable[[RegistryEndpoint], Awaitable[T]]) -> T:
        """Ask the mirrors, then the registry; a mirror with any error is skipped."""
        candidates = endpoints(reference.registry, self.settings)
        for endpoint in candidates[:-1]:
            if endpoint.base in self._silent:
                continue
            try:
                return await ask(endpoint)
            except RegistryUnreachable:
                self._silent.add(endpoint.base)
            except RegistryError:
                continue
        try:
            return await ask(candidates[-1])
        except ImageNotFound as error:
            raise ImageNotFound(f"{reference}: not found", why=error.why) from None


async def _receive(chunks: AsyncIterator[bytes], partial: _Partial) -> None:
    """Write the content in large chunks; keeps everything that arrived before a connection breaks."""
    pending = bytearray()
    try:
        async for chunk in chunks:
            pending += chunk
            if len(pending) >= _CHUNK:
                data, pending = bytes(pending), bytearray()
                await anyio.to_thread.run_sync(partial.write, data)
            if partial.size + len(pending) > partial.limit:
                return  # more than the manifest says: this is not the blob
    finally:
        partial.write(bytes(pending))


class _Partial:
    """A blob's file while it grows, with the hash of its content."""

    def __init__(self, file: BinaryIO, blob: Descriptor) -> None:
        self._file = file
        self.limit = blob.size
        self._algorithm = blob.digest.split(":", 1)[0]
        self._hash = hashlib.new(self._algorithm)
        self.size = 0
        file.seek(0)
        while data := file.read(_CHUNK):
            self._hash.update(data)
            self.size += len(data)
        if self.size > self.limit:
            self.start_at(0)

    @property
    def digest(self) -> str:
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def start_at(self, offset: int | None) -> None:
        """Continue at ``offset``: at the current size (None or equal), or from the start."""
        if offset is None or offset == self.size:
            return
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.new(self._algorithm)
        self.size = 0

    def write(self, data: bytes) -> None:
        if self.size + len(data) > self.limit:
            data = data[: self.limit - self.size + 1]  # one byte too many is enough to fail the check
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        self._file.flush()


def _offset(status: int, content_range: str | None) -> int:
    match = _RANGE.match(content_range or "") if status == 206 else None
    return int(match[1]) if match else 0


def _has_digest(data: bytes, digest: str) -> bool:
    algorithm, _, _ = digest.partition(":")
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}" == digest
