"""A container's mounts."""

from __future__ import annotations

from dataclasses import replace

from rondel.engine.api.expansion import expand_path
from rondel.engine.api.registry import Context, field
from rondel.engine.evaluate import edited
from rondel.engine.evaluate.execs import absolute
from rondel.engine.evaluate.owners import has_names, owner_in
from rondel.engine.values import (
    CacheMount,
    CacheVolume,
    Container,
    Directory,
    DirectoryMount,
    File,
    FileMount,
    Fs,
    Secret,
    SecretMount,
    Socket,
    SocketMount,
    TempMount,
)


def _container_path(container: Container, path: str, expand: bool) -> str:
    return absolute(container, expand_path(container, path, expand))


def _owned(container: Container, fs: Fs | None, path: str, owner: str) -> Fs | None:
    """The file system with everything below a path owned by an owner of the container.

    The name is looked up before anything else of the container is evaluated, so that an unknown
    owner fails first.
    """
    if not owner:
        return fs
    inputs = () if container.fs is None else (container.fs,)
    owned = edited("meta.owner", fs, path, owner, inputs=inputs)
    return Fs(replace(owned.node, forces=True)) if has_names(owner) else owned


async def _numbers(ctx: Context, container: Container, owner: str, *, failed: str = "") -> str:
    """An owner as numbers, by the container's passwd and group files. Raises EngineError."""
    if all(part.isdecimal() for part in owner.split(":")) or not owner:
        return owner
    uid, gid = owner_in(await ctx.view(container.fs), owner, failed=failed)
    return f"{uid}:{gid}"


@field("Container", "mounts", run_pending=True)
async def mounts(ctx: Context, self: Container) -> list[str]:
    """The paths of the mounts, without secrets and sockets."""
    return [m.path for m in self.mounts if not isinstance(m, SecretMount | SocketMount)]


@field("Container", "withMountedDirectory", source=Directory)
async def with_mounted_directory(
    ctx: Context, self: Container, *, path: str, source: Directory, owner: str, read_only: bool, expand: bool
) -> Container:
    """Mount a directory."""
    mount = DirectoryMount(
        path=_container_path(self, path, expand),
        source=_owned(self, source.fs, source.path, owner),
        subpath=source.path,
        readonly=read_only,
    )
    return self.with_mount(mount)


@field("Container", "withMountedFile", source=File)
async def with_mounted_file(
    ctx: Context, self: Container, *, path: str, source: File, owner: str, expand: bool
) -> Container:
    """Mount a file."""
    fs = _owned(self, source.fs, source.path, owner)
    return self.with_mount(FileMount(path=_container_path(self, path, expand), source=fs, file=source.path))


@field("Container", "withMountedCache", cache=CacheVolume, source=Directory)
async def with_mounted_cache(
    ctx: Context,
    self: Container,
    *,
    path: str,
    cache: CacheVolume,
    source: Directory | None,
    sharing: str,
    owner: str,
    expand: bool,
) -> Container:
    """Mount a cache volume; its settings are part of the volume's identity."""
    volume = replace(
        cache,
        sharing=cache.sharing if sharing == "SHARED" else sharing,
        owner=await _numbers(ctx, self, owner or cache.owner, failed="failed to resolve ownership for"),
        source=source or cache.source,
    )
    initial = volume.source
    return self.with_mount(
        CacheMount(
            path=_container_path(self, path, expand),
            volume=volume,
            initial=initial.fs if initial else None,
            initial_path=initial.path if initial else "/",
        )
    )


@field("Container", "withMountedTemp")
async def with_mounted_temp(
    ctx: Context, self: Container, *, path: str, size: int | None, expand: bool
) -> Container:
    """Mount an empty file system in memory."""
    return self.with_mount(TempMount(path=_container_path(self, path, expand), size=size))


@field("Container", "withMountedSecret", source=Secret)
async def with_mounted_secret(
    ctx: Context, self: Container, *, path: str, source: Secret, owner: str, mode: int | None, expand: bool
) -> Container:
    """Mount a secret as a file in memory."""
    bits = 0o400 if mode is None else mode & 0o777
    owner = await _numbers(ctx, self, owner)
    return self.with_mount(
        SecretMount(path=_container_path(self, path, expand), secret=source, mode=bits, owner=owner)
    )


@field("Container", "withUnixSocket", source=Socket)
async def with_unix_socket(
    ctx: Context, self: Container, *, path: str, source: Socket, owner: str, expand: bool
) -> Container:
    """Mount a Unix socket."""
    owner = await _numbers(ctx, self, owner)
    return self.with_mount(SocketMount(path=_container_path(self, path, expand), socket=source, owner=owner))


@field("Container", "withoutMount")
async def without_mount(ctx: Context, self: Container, *, path: str, expand: bool) -> Container:
    """Remove the mount at a path, if there is one."""
    return self.without_mount(_container_path(self, path, expand))


@field("Container", "withoutUnixSocket")
async def without_unix_socket(ctx: Context, self: Container, *, path: str, expand: bool) -> Container:
    """Remove a Unix socket."""
    target = _container_path(self, path, expand)
    return self.with_mounts(m for m in self.mounts if not (isinstance(m, SocketMount) and m.path == target))
