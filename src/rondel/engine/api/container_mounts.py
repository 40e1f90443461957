"""What is mounted in a container."""

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


def _place(container: Container, path: str, expand: bool) -> str:
    return absolute(container, expand_path(container, path, expand))


def _owned(container: Container, fs: Fs | None, path: str, owner: str) -> Fs | None:
    """The file system with all below a path given to an owner of the container.

    A name is looked up before anything else of the container is told: there may be no such owner.
    """
    if not owner:
        return fs
    inputs = () if container.fs is None else (container.fs,)
    owned = edited("meta.owner", fs, path, owner, inputs=inputs)
    return Fs(replace(owned.node, forces=True)) if has_names(owner) else owned


async def _numbers(ctx: Context, container: Container, owner: str, *, failed: str = "") -> str:
    """An owner in numbers, as the container's own files say. Raises EngineError for unknown names."""
    if all(part.isdecimal() for part in owner.split(":")) or not owner:
        return owner
    uid, gid = owner_in(await ctx.view(container.fs), owner, failed=failed)
    return f"{uid}:{gid}"


@field("Container", "mounts", settle=True)
async def mounts(ctx: Context, self: Container) -> list[str]:
    """The paths of what is mounted; secrets and sockets are not told."""
    return [m.path for m in self.mounts if not isinstance(m, SecretMount | SocketMount)]


@field("Container", "withMountedDirectory", source=Directory)
async def with_mounted_directory(
    ctx: Context, self: Container, *, path: str, source: Directory, owner: str, read_only: bool, expand: bool
) -> Container:
    """Mount a directory."""
    mount = DirectoryMount(
        path=_place(self, path, expand),
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
    return self.with_mount(FileMount(path=_place(self, path, expand), source=fs, file=source.path))


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
    """Mount a cache volume; what is said here besides makes it another volume."""
    volume = replace(
        cache,
        sharing=cache.sharing if sharing == "SHARED" else sharing,
        owner=await _numbers(ctx, self, owner or cache.owner, failed="failed to resolve ownership for"),
        source=source or cache.source,
    )
    initial = volume.source
    return self.with_mount(
        CacheMount(
            path=_place(self, path, expand),
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
    return self.with_mount(TempMount(path=_place(self, path, expand), size=size))


@field("Container", "withMountedSecret", source=Secret)
async def with_mounted_secret(
    ctx: Context, self: Container, *, path: str, source: Secret, owner: str, mode: int | None, expand: bool
) -> Container:
    """Mount a secret as a file in memory."""
    bits = 0o400 if mode is None else mode & 0o777
    owner = await _numbers(ctx, self, owner)
    return self.with_mount(
        SecretMount(path=_place(self, path, expand), secret=source, mode=bits, owner=owner)
    )


@field("Container", "withUnixSocket", source=Socket)
async def with_unix_socket(
    ctx: Context, self: Container, *, path: str, source: Socket, owner: str, expand: bool
) -> Container:
    """Mount a Unix socket."""
    owner = await _numbers(ctx, self, owner)
    return self.with_mount(SocketMount(path=_place(self, path, expand), socket=source, owner=owner))


@field("Container", "withoutMount")
async def without_mount(ctx: Context, self: Container, *, path: str, expand: bool) -> Container:
    """Remove what is mounted at a path, if anything is."""
    return self.without_mount(_place(self, path, expand))


@field("Container", "withoutUnixSocket")
async def without_unix_socket(ctx: Context, self: Container, *, path: str, expand: bool) -> Container:
    """Remove a Unix socket."""
    place = _place(self, path, expand)
    return self.with_mounts(m for m in self.mounts if not (isinstance(m, SocketMount) and m.path == place))
