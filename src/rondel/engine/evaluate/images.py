"""A session's images: found by name, pulled into the store when their files are needed.

Searched in this order: the store, OCI layouts and archives on disk, the registry and,
if no registry can be reached, this machine's own system (the host image).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rondel.engine.evaluate.imageconfig import from_image
from rondel.engine.evaluate.inplace import machine, runs_in_place
from rondel.engine.evaluate.operations import operation
from rondel.engine.images import platforms, reference, settings
from rondel.engine.images.fallback import HOST, contradiction, this_system
from rondel.engine.images.host import host_image
from rondel.engine.images.host_python import python_version
from rondel.engine.images.layout import open_images, open_local, search_local
from rondel.engine.images.model import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    InvalidImageError,
    Manifest,
)
from rondel.engine.images.pull import pull
from rondel.engine.images.reference import InvalidReferenceError, Reference
from rondel.engine.images.registry import (
    Credentials,
    Keychain,
    RegistryClient,
    RegistryError,
    RegistryUnreachable,
)
from rondel.engine.images.sources import FoundImage, NoSuchPlatform, choose
from rondel.engine.inplace import NeedsIsolation
from rondel.engine.sandbox.command import DEFAULT_PATH
from rondel.engine.store import OperationResult, Store, StoreCorrupt
from rondel.engine.values import ContainerConfig, Fs, Node, digest_of
from rondel.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.evaluate.session import Session
    from rondel.engine.images.platforms import Platform

FALLBACK_LABEL = "dev.rondel.image.fallback"

# Labels about an image's origin that ``Container.label`` returns but no list of labels contains:
# `host`, `in-place` or `registry` (archives, too); the image that was replaced; the digest of
# a Containerfile's build (its base, its steps, and the content that they copy).
SOURCE_LABEL = "dev.rondel.image.source"
BASE_LABEL = "dev.rondel.image.base"
DIGEST_LABEL = "dev.rondel.image.digest"

_LARGEST_CONFIG = 16 << 20

Auth = tuple[tuple[str, Credentials], ...]


@dataclass(frozen=True, slots=True)
class Base:
    """An image for containers: a root file system, a configuration, its reference with digest.

    ``key`` identifies its content. ``fallback`` is the reference that the host image replaces.
    """

    fs: Fs
    config: ContainerConfig
    platform: str
    ref: str
    key: str
    fallback: str = ""

    @property
    def source(self) -> str:
        """Where it came from: ``host``, ``in-place`` or ``registry`` (archives, too)."""
        if self.ref == "in-place":
            return self.ref
        return HOST if self.ref.startswith(f"{HOST}@") else "registry"

    @property
    def origin(self) -> tuple[tuple[str, str], ...]:
        """Source, reference and digest, for a container's ``origin``."""
        digest = self.ref.rpartition("@")[2] if "@" in self.ref else ""
        found = ((SOURCE_LABEL, self.source), (BASE_LABEL, self.ref), (DIGEST_LABEL, digest))
        return tuple(pair for pair in found if pair[1])


class Images:
    """The images of one session. A tag is resolved once per session, a digest once for all."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._store: Store = session.store
        self.settings = settings.load(session.environ)
        self._clients: dict[Auth, RegistryClient] = {}
        self._bases: dict[tuple[str, str, Auth], Base] = {}
        self._announced: set[str] = set()

    async def aclose(self) -> None:
        """Close the connections to registries."""
        for client in self._clients.values():
            await client.aclose()

    def client(self, auth: Auth = ()) -> RegistryClient:
        """A registry client that uses these credentials in addition to those in files."""
        if auth not in self._clients:
            chain = Keychain(self._session.environ, dict(auth))
            self._clients[auth] = RegistryClient(self.settings, chain)
        return self._clients[auth]

    async def base(self, address: str, platform: str, auth: Auth = ()) -> Base:
        """The image of an address, for a platform. Raises EngineError with Docker's messages."""
        key = (address, platform, auth)
        found = self._bases.get(key)
        if found is None:
            found = await self._session.single_flight.do(
                ("image", *key), lambda: self._find(address, platform, auth)
            )
            self._bases[key] = found
        return found

    async def _find(self, address: str, platform: str, auth: Auth) -> Base:
        wanted = platforms.parse(platform)
        address = address.removesuffix(":latest") if address == f"{HOST}:latest" else address
        if runs_in_place(self._session):
            return self._in_place(address, wanted)
        if address == HOST or address.startswith(f"{HOST}@sha256:"):
            return await self._host(address)
        local = await anyio.to_thread.run_sync(open_local, address)
        if local is not None:
            name, root, layout = local
            return _as_base(await choose(root, wanted, layout.read, layout, address), name, wanted)
        try:
            ref = reference.parse(address)
        except InvalidReferenceError as error:
            raise InvalidReferenceError(f"failed to parse image address {address}: {error.what}") from None
        try:
            return _as_base(await self._named(ref.with_default_tag(), wanted, auth), str(ref), wanted)
        except RegistryUnreachable as error:
            return await self._instead(address, ref, wanted, error)
        except (RegistryError, NoSuchPlatform) as error:
            words = error.what.removeprefix(f"{ref.with_default_tag()}: ")
            raise type(error)(
                f'failed to resolve image "{address}" (platform: "{platform}"): {address}: {words}',
                why=error.why, hint=error.hint,
            ) from None  # fmt: skip

    # --- by name

    async def _named(self, ref: Reference, platform: Platform, auth: Auth) -> FoundImage:
        """By digest from the store; by tag from disk, else as the registry resolves it now or last did."""
        client = self.client(auth)
        if ref.digest is not None:
            if (found := await self._stored(ref, ref.digest, platform, client)) is not None:
                return found
        elif (local := await anyio.to_thread.run_sync(search_local, self.settings.images, ref)) is not None:
            root, layout = local
            return await choose(root, platform, layout.read, layout, str(ref))
        try:
            found = await self._asked(ref, platform, client)
        except RegistryUnreachable:
            last = None if ref.digest else self._store.index.get("tag", f"{ref}")
            known = await self._stored(ref, last, platform, client) if isinstance(last, str) else None
            if known is None:
                raise
            self._session.notify(
                f"image {ref}: no registry answers; using what the store has ({known.digest[:19]}…)"
            )
            return known
        if ref.digest is None:
            self._store.index.put("tag", f"{ref}", found.digest)
        return found

    async def _asked(self, ref: Reference, platform: Platform, client: RegistryClient) -> FoundImage:
        if ref.digest is None:
            head = await client.head(ref)
            if head is not None:
                found = await self._stored(ref, head.digest, platform, client)
                if found is not None:
                    return found
        root, data = await client.manifest(ref)
        self._store.blobs.put(data)
        blobs = _RegistryBlobs(client, ref.with_digest(root.digest), self._store)
        found = await choose(root, platform, blobs.read, blobs, str(ref))
        self._remember_source(ref, found.manifest)
        return found

    async def _stored(
        self, ref: Reference, digest: str, platform: Platform, client: RegistryClient
    ) -> FoundImage | None:
        """An image from the store; None if its manifest or configuration is missing there."""
        blobs = _RegistryBlobs(client, ref.with_digest(digest), self._store, offline=True)
        try:
            root = Descriptor("", digest, 0)
            found = await choose(root, platform, blobs.read, blobs, str(ref))
        except (_NotStored, StoreCorrupt):
            return None
        online = _RegistryBlobs(client, ref.with_digest(digest), self._store)
        return replace(found, blobs=online)

    def _remember_source(self, ref: Reference, manifest: Manifest) -> None:
        """Record which repository has these blobs: a push to the same registry can mount them there."""
        for blob in manifest.layers:
            known = self._store.index.get("blob-source", blob.digest) or []
            if ref.name not in known:
                self._store.index.put("blob-source", blob.digest, [*known, ref.name][-8:])

    # --- the host image

    async def _host(self, address: str) -> Base:
        base = await self._host_base()
        _, _, digest = address.partition("@")
        if digest and digest != base.ref.partition("@")[2]:
            raise EngineError(
                f"{address}: this machine is no longer that image: it is {base.ref}",
                hint="packages or the interpreter have changed since",
            )
        return base

    async def _host_base(self) -> Base:
        image = await host_image(self._store)
        digest = f"sha256:{image.digest.removeprefix('sha256:')}"
        node = Node("host-image", digest_of("host-image", digest), params=image.snapshot)
        return Base(
            Fs(node), from_image(image.config), str(platforms.default()), f"{HOST}@{digest}", node.key
        )

    def _in_place(self, address: str, platform: Platform) -> Base:
        """The machine itself, for an image that its system does not contradict."""
        if address != HOST:
            ref = reference.parse(address)
            against = contradiction(ref, platform, this_system(python_version()))
            if against is not None:
                raise NeedsIsolation(f"the image {address}")
        env = (("PATH", self._session.environ.get("PATH", DEFAULT_PATH)),)
        if address != HOST and address not in self._announced:
            self._announced.add(address)
            self._session.notify(f"{address}: using this job's own container instead")
        node = machine(self._session)
        config = ContainerConfig(env=env, labels=((FALLBACK_LABEL, address),))
        return Base(node, config, str(platforms.default()), "in-place", node.key, fallback=address)

    async def _instead(
        self, address: str, ref: Reference, platform: Platform, error: RegistryUnreachable
    ) -> Base:
        """The host image instead of an unreachable image, if nothing contradicts that."""
        what = f'failed to resolve image "{address}" (platform: "{platform}"): {address}: not found'
        if self.settings.host_image == "never":
            raise RegistryUnreachable(
                f"{what}: no registry can be reached, and the host image is forbidden", why=error.render(),
                hint="connect to a registry, or allow this machine's own system: host-image = \"auto\"",
            )  # fmt: skip
        machine = this_system(python_version())
        against = contradiction(ref, platform, machine)
        if against is not None:
            raise RegistryUnreachable(
                f"{what}: no registry can be reached, and this machine's system does not match it",
                why=f"{error.render()}\n{against}",
                hint=f'connect to a registry, or request this machine\'s own system by the name "{HOST}"',
            )  # fmt: skip
        base = await self._host_base()
        name = str(ref.with_default_tag())
        if name not in self._announced:
            self._announced.add(name)
            self._session.notify(
                f"no registry serves {address}: using this machine's {machine.system} {machine.version} with "
                f"Python {machine.python} as the base image (RONDEL_ENGINE_HOST_IMAGE=never forbids it)"
            )
        labels = (*base.config.labels, (FALLBACK_LABEL, address))
        return replace(base, config=replace(base.config, labels=labels), fallback=address)


def _as_base(found: FoundImage, name: str, wanted: Platform) -> Base:
    """An image for containers. Its platform is the requested one, or its own."""
    own = found.config.platform
    platform = own if wanted.rank(own) is None else wanted
    node = Node("image", digest_of("image", found.manifest_digest), params=found)
    ref = name if "@" in name else f"{name}@{found.digest}"
    return Base(Fs(node), from_image(found.config), str(platform), ref, node.key)


async def import_archive(session: Session, path: Path, tag: str, platform: str) -> Base:
    """The image in an OCI or Docker archive. InvalidImageError for other content."""
    images = await anyio.to_thread.run_sync(open_images, path)
    wanted = platforms.parse(platform)
    lacking = f"resolve imported image manifest: no manifest for platform {platform} and tag {tag}"
    try:
        root = images.choose(tag)
    except InvalidImageError as error:
        raise InvalidImageError(lacking if tag else f"the archive holds no image: {error.hint}") from None
    try:
        found = await choose(root, wanted, images.read, images, "image archive")
    except NoSuchPlatform as error:
        raise InvalidImageError(lacking, why=error.why) from None
    return _as_base(found, "import", wanted)


@operation("image")
async def _pull(session: Session, node: Node) -> OperationResult:
    found: FoundImage = node.params
    return session.result(await pull(session.store, found))


@operation("host-image")
async def _host(session: Session, node: Node) -> OperationResult:
    return session.result(node.params)


class _NotStored(Exception):
    """The store lacks a manifest or a configuration."""


@dataclass(frozen=True)
class _RegistryBlobs:
    """The blobs of one image: from the store, else from its registry."""

    client: RegistryClient
    ref: Reference
    store: Store
    offline: bool = False

    async def read(self, blob: Descriptor) -> bytes:
        """A manifest, index or configuration; it is kept in the store."""
        if self.store.blobs.has(blob.digest):
            return self.store.blobs.read(blob.digest)
        if self.offline:
            raise _NotStored
        if blob.size > _LARGEST_CONFIG:
            raise RegistryError(
                f"{self.ref}: {blob.digest[:19]}… is said to be a configuration of {blob.size} bytes"
            )
        if blob.media_type in (*MANIFEST_TYPES, *INDEX_TYPES):
            _, data = await self.client.manifest(self.ref.with_digest(blob.digest))
            self.store.blobs.put(data, expected=blob.digest)
            return data
        path = self.store.new_path()
        try:
            await self.client.download(self.ref, blob, path)
            data = await anyio.to_thread.run_sync(path.read_bytes)
            self.store.blobs.put(data, expected=blob.digest)
        finally:
            path.unlink(missing_ok=True)
        return data

    async def fetch(self, blob: Descriptor, target: Path) -> None:
        """A layer."""
        await self.client.download(self.ref, blob, target)
