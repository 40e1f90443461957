"""Pushes missing blobs, then manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.images.model import Descriptor
from rondel.engine.images.registry.errors import ImageNotFound, RegistryError
from rondel.engine.images.registry.transport import RegistryEndpoint, endpoints

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    import httpx

    from rondel.engine.images.reference import Reference
    from rondel.engine.images.registry.client import RegistryClient

_CHUNK = 1 << 20
# Up to this size a blob is sent in one request; a larger one as an upload in chunks, because some
# registries limit the size of a PUT.
_SMALL = 16 << 20
_STARTED = frozenset((201, 202))


class Pusher:
    """Pushes to one repository. Every method raises the errors of :mod:`.errors`."""

    def __init__(self, client: RegistryClient, reference: Reference) -> None:
        self._transport = client.transport
        self._reference = reference
        self._endpoint: RegistryEndpoint = endpoints(reference.registry, client.settings)[
            -1
        ]  # never to a mirror
        self._scope = (reference.repository, "pull,push")

    async def check(self) -> None:
        """Ask for some blob, so that an unreachable or refusing registry shows before an image is packed."""
        await self.has(Descriptor.of(b"", ""))

    async def has(self, blob: Descriptor) -> bool:
        """Whether the repository already has the blob."""
        try:
            await self._transport.request(
                "HEAD", self._endpoint, self._url(f"blobs/{blob.digest}"), scope=self._scope
            )
        except ImageNotFound:
            return False
        return True

    async def blob(self, blob: Descriptor, source: Path, mount_from: Iterable[str] = ()) -> None:
        """Push a blob if it is missing; first tries to mount it from other repositories of the registry."""
        if await self.has(blob):
            return
        for repository in mount_from:
            if repository != self._reference.repository and await self._mount(blob, repository):
                return
        location = await self._start("")
        if location is None:
            return
        headers = {"Content-Type": "application/octet-stream"}
        if blob.size > _SMALL:
            response = await self._transport.request(
                "PATCH", self._endpoint, location, scope=self._scope, fine=frozenset((202, 204)),
                headers=headers | {"Content-Length": str(blob.size)}, body=lambda: _content(source),
            )  # fmt: skip
            location = self._location(response)
            headers["Content-Length"] = "0"
            await self._finish(location, blob, headers, None)
        else:
            headers["Content-Length"] = str(blob.size)
            await self._finish(location, blob, headers, source)

    async def manifest(self, data: bytes, media_type: str, name: str) -> str:
        """Push a manifest or index under a tag or its digest; returns its digest."""
        digest = Descriptor.of(data, media_type).digest
        response = await self._transport.request(
            "PUT", self._endpoint, self._url(f"manifests/{name}"), scope=self._scope,
            headers={"Content-Type": media_type}, body=lambda: data, fine=frozenset((200, 201, 202)),
        )  # fmt: skip
        stored = response.headers.get("docker-content-digest")
        if stored is not None and stored != digest:
            raise RegistryError(f"{self._reference}: the registry stored {stored}, not {digest}")
        return digest

    async def _mount(self, blob: Descriptor, repository: str) -> bool:
        """Let the registry mount the blob from another repository; returns whether it did."""
        try:
            location = await self._start(f"?mount={blob.digest}&from={repository}")
        except RegistryError:
            return False
        return location is None

    async def _start(self, query: str) -> str | None:
        """Begin an upload; returns its URL, or None if the registry has mounted the blob."""
        response = await self._transport.request(
            "POST", self._endpoint, self._url(f"blobs/uploads/{query}"), scope=self._scope, fine=_STARTED,
            headers={"Content-Length": "0"},
        )  # fmt: skip
        return None if response.status_code == 201 else self._location(response)

    async def _finish(
        self, location: str, blob: Descriptor, headers: dict[str, str], source: Path | None
    ) -> None:
        import httpx

        url = str(httpx.URL(location).copy_merge_params({"digest": blob.digest}))
        await self._transport.request(
            "PUT", self._endpoint, url, scope=self._scope, headers=headers, fine=frozenset((201, 202, 204)),
            body=(lambda: _content(source)) if source is not None else None,
        )  # fmt: skip

    def _url(self, rest: str) -> str:
        return self._endpoint.url(self._reference.repository, rest)

    def _location(self, response: httpx.Response) -> str:
        location = response.headers.get("location")
        if not location:
            raise RegistryError(f"{self._endpoint.host}: the upload has no location")
        return str(response.request.url.join(location))


async def _content(source: Path) -> AsyncIterator[bytes]:
    with source.open("rb") as file:
        while data := await anyio.to_thread.run_sync(file.read, _CHUNK):
            yield data
