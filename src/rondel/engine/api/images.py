"""Images: from a name, from an archive, and to archives and registries."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rondel.engine.api.expansion import expand_path
from rondel.engine.api.exports import client_path, make_directories, writing
from rondel.engine.api.registry import Context, Keyed, field
from rondel.engine.evaluate.imageconfig import to_image
from rondel.engine.evaluate.images import Auth, Base, Images, import_archive
from rondel.engine.evaluate.operations import operation, refused
from rondel.engine.evaluate.secrets import SessionSecrets
from rondel.engine.images import reference
from rondel.engine.images.archive import Packed, root_of, write_archive
from rondel.engine.images.export import Format, format_of, pack_image
from rondel.engine.images.model import InvalidImageError
from rondel.engine.images.reference import InvalidReferenceError
from rondel.engine.images.registry import Credentials
from rondel.engine.images.registry.push import Pusher
from rondel.engine.images.runtime import find_runtime
from rondel.engine.values import Container, File, Fs, Node, digest_of
from rondel.engine.values.container import with_pair
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.evaluate.session import Session
    from rondel.engine.store import OperationResult


async def auth_of(ctx: Context, container: Container) -> Auth:
    """The registry credentials of a container."""
    secrets = ctx.session.part(SessionSecrets)
    found = []
    for address, username, secret in container.registry_auth:
        password = (await secrets.plaintext(secret)).decode("utf-8", "replace").strip()
        found.append((address, Credentials(username, password)))
    return tuple(found)


def over(container: Container, base: Base) -> Container:
    """A container with another image: variables, labels and ports are merged, other settings replaced."""
    old, new = container.config, base.config
    env, labels = old.env, old.labels
    for name, value in new.env:
        env = with_pair(env, name, value)
    for name, value in new.labels:
        labels = with_pair(labels, name, value)
    kept = [
        port
        for port in old.ports
        if all(port.port != p.port or port.protocol != p.protocol for p in new.ports)
    ]
    volumes = tuple(sorted({*old.volumes, *new.volumes}))
    config = replace(new, env=env, labels=labels, ports=(*kept, *new.ports), volumes=volumes)
    return replace(
        container,
        fs=base.fs,
        config=config,
        platform=base.platform,
        image_ref=base.ref,
        origin=base.origin,
    )


@field("Container", "from")
async def from_(
    ctx: Context, self: Container, *, address: str, registry_service: object | None = None
) -> Keyed:
    """An image by its name. Its configuration is read now, its layers when they are needed."""
    if registry_service is not None:
        raise EngineError("from(registryService) is not served by Rondel's embedded engine")
    base = await ctx.session.part(Images).base(address, self.platform, await auth_of(ctx, self))
    return Keyed(over(self, base), digest_of("from", ctx.obj.key, base.key, base.fallback))


@field("Container", "import", source=File)
async def import_(ctx: Context, self: Container, *, source: File, tag: str) -> Keyed:
    """An image from an OCI or Docker archive, with its configuration only: ``from`` would merge both.

    The archive is read now, the layers when they are needed.
    """
    view = await ctx.view(source.fs)
    entry = view.resolve(source.path)
    try:
        base = await import_archive(ctx.session, entry.real, tag, self.platform)
    except InvalidImageError as error:
        # Raised when the container is read, like all failures of an import.
        return Keyed(replace(self, fs=refused(error), image_ref=None), ctx.key)
    made = replace(
        self,
        fs=base.fs,
        config=base.config,
        platform=base.platform,
        origin=base.origin,
        image_ref=tag or None,
    )
    return Keyed(made, digest_of("imported", ctx.obj.key, base.key))


# --- export


async def _packed(
    ctx: Context, container: Container, variants: list[Container], form: Format
) -> list[Packed]:
    """The images to write: of the container and its variants, if they have a root; at least one."""
    everyone = [c for c in (container, *variants) if c.fs is not None]
    if not everyone:
        raise EngineError("no containers to export")
    platforms = [c.platform for c in everyone]
    if len(set(platforms)) != len(platforms):
        raise EngineError(f"duplicate platform {max(platforms, key=platforms.count)!r} among the variants")
    images = []
    for one in everyone:
        await ctx.session.run_pending(one)
        snapshot = await ctx.snapshot(one.fs)
        annotations = dict(one.annotations)
        images.append(
            await pack_image(
                ctx.session.store, snapshot, to_image(one.config, one.platform), form, annotations
            )
        )
    return images


@field("Container", "export", memo=False, platform_variants=Container)
async def export(
    ctx: Context,
    self: Container,
    *,
    path: str,
    platform_variants: list[Container],
    forced_compression: str | None,
    media_types: str | None,
    expand: bool = False,
) -> str:
    """Write the image as an OCI archive to the host; returns the path."""
    target = client_path(ctx.session, expand_path(self, path, expand))
    if await anyio.Path(target).is_dir():
        raise EngineError(
            f'destination "{target}" is a directory; must be a file path unless allowParentDirPath is set'
        )
    images = await _packed(
        ctx, self, platform_variants, format_of(forced_compression, media_types, ctx.session.environ)
    )
    with writing(target):
        await anyio.to_thread.run_sync(_write, ctx.session, images, target)
    return str(target)


def _write(session: Session, images: list[Packed], target: Path) -> None:
    """Write the archive atomically: to a temporary file beside the target, then renamed."""
    target = Path(os.path.realpath(target))  # a link of the user: write to its target
    make_directories(target.parent)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)  # private: the environment of an image may contain secrets
            write_archive(images, file, session.store.blobs.path)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


@field("Container", "exportImage", memo=False, platform_variants=Container)
async def export_image(
    ctx: Context,
    self: Container,
    *,
    name: str,
    platform_variants: list[Container],
    forced_compression: str | None,
    media_types: str | None,
) -> None:
    """Load the image into the store of this machine's container runtime."""
    named = _image_name(name)
    runtime = await find_runtime(ctx.session.environ)
    images = await _packed(
        ctx, self, platform_variants, format_of(forced_compression, media_types, ctx.session.environ)
    )
    path = ctx.session.store.new_path()
    try:
        await anyio.to_thread.run_sync(_write, ctx.session, images, path)
        await runtime.load(path, named)
    finally:
        path.unlink(missing_ok=True)


@field("Host", "containerImage", memo=False)
async def container_image(ctx: Context, self: object, *, name: str) -> Keyed:
    """The current image of a name in the store of this machine's container runtime."""
    _ = self
    named = _image_name(name)
    runtime = await find_runtime(ctx.session.environ)
    path = ctx.session.store.new_path()
    try:
        await runtime.save(named, path)
        base = await import_archive(ctx.session, path, "", ctx.session.platform)
        await ctx.snapshot(base.fs)  # now: the archive is temporary
    finally:
        path.unlink(missing_ok=True)
    made = over(Container(platform=ctx.session.platform), base)
    return Keyed(replace(made, image_ref=None), digest_of("container image", base.key, base.platform))


def _image_name(name: str) -> str:
    try:
        return str(reference.parse(name).with_default_tag())
    except InvalidReferenceError as error:
        raise InvalidReferenceError(f"failed to parse image address {name}: {error.what}") from None


@field("Container", "asTarball", platform_variants=Container)
async def as_tarball(
    ctx: Context,
    self: Container,
    *,
    platform_variants: list[Container],
    forced_compression: str | None,
    media_types: str | None,
) -> File:
    """The image as an OCI archive file."""
    images = await _packed(
        ctx, self, platform_variants, format_of(forced_compression, media_types, ctx.session.environ)
    )
    key = digest_of("tarball", [image.descriptor.digest for image in images])
    return File(Fs(Node("image-tarball", key, params=tuple(images))), "/container.tar")


@operation("image-tarball")
async def tarball(session: Session, node: Node) -> OperationResult:
    """A file system with the archive as its only file. Params: the images."""
    path = session.store.new_path()

    def write() -> None:
        with path.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            write_archive(node.params, file, session.store.blobs.path)
        os.utime(path, ns=(0, 0))

    try:
        await anyio.to_thread.run_sync(write)
        async with session.store.draft(session.result().snapshot) as draft:
            # An image may have gigabytes: move the archive instead of copying it.
            put = partial(draft.write, "/container.tar", path, mode=0o600, mtime_ns=0, link_ok=True)
            await anyio.to_thread.run_sync(put)
            return session.result(await draft.commit())
    finally:
        path.unlink(missing_ok=True)


@field("Container", "publish", memo=False, platform_variants=Container)
async def publish(
    ctx: Context,
    self: Container,
    *,
    address: str,
    platform_variants: list[Container],
    forced_compression: str | None,
    media_types: str | None,
    registry_service: object | None = None,
) -> str:
    """Push the image to a registry; returns its reference with digest."""
    if registry_service is not None:
        raise EngineError("publish(registryService) is not served by Rondel's embedded engine")
    ref = reference.parse(address)
    if ref.digest is not None:
        raise EngineError(
            f"cannot publish {address}: what is published has the digest of its content",
            hint="name a tag, or only the repository",
        )
    pusher = Pusher(ctx.session.part(Images).client(await auth_of(ctx, self)), ref)
    await ctx.session.run_pending(self)
    await pusher.check()
    images = await _packed(
        ctx, self, platform_variants, format_of(forced_compression, media_types, ctx.session.environ)
    )
    store = ctx.session.store
    limiter = anyio.CapacityLimiter(4)

    async def push(image: Packed) -> None:
        async with anyio.create_task_group() as tasks:
            for layer in {layer.digest: layer for layer in image.manifest.layers}.values():
                known = store.index.get("blob-source", layer.digest) or []
                near = [n.removeprefix(f"{ref.registry}/") for n in known if n.startswith(f"{ref.registry}/")]
                tasks.start_soon(_limited, limiter, pusher.blob, layer, store.blobs.path(layer.digest), near)
        path = store.new_path()
        await anyio.Path(path).write_bytes(image.config)
        await pusher.blob(image.manifest.config, path)
        await anyio.Path(path).unlink()

    for image in images:
        await push(image)
    root, data = root_of(images)
    if len(images) > 1:
        for image in images:
            manifest = image.manifest.to_bytes()
            await pusher.manifest(manifest, image.manifest.media_type, image.descriptor.digest)
    await pusher.manifest(data, root.media_type, ref.tag or "latest")
    return f"{ref.name}{f':{ref.tag}' if ref.tag else ''}@{root.digest}"


async def _limited(limiter: anyio.CapacityLimiter, push: object, *args: object) -> None:
    async with limiter:
        await push(*args)  # type: ignore[operator]
