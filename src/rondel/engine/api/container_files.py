"""A container's files and directories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rondel.engine.api.directory import copy_options, existence, mode_of, stat_of
from rondel.engine.api.expansion import expand_path
from rondel.engine.api.paths import change, locate, mount_at, part, part_file
from rondel.engine.api.registry import Context, field
from rondel.engine.evaluate import edited
from rondel.engine.evaluate.execs import absolute
from rondel.engine.evaluate.operations import EMPTY
from rondel.engine.evaluate.owners import has_names, owner_in
from rondel.engine.values import Container, Directory, File, Fs

if TYPE_CHECKING:
    from rondel.engine.api.results import Stat

Edit = Callable[[Fs | None, str], Fs]


@field("Container", "rootfs")
async def rootfs(ctx: Context, self: Container) -> Directory:
    """The root file system, without mounts."""
    return Directory(self.fs)


@field("Container", "withRootfs", directory=Directory)
async def with_rootfs(ctx: Context, self: Container, *, directory: Directory) -> Container:
    """Replace the root file system, also by an empty directory."""
    if directory.path == "/":
        return self.with_fs(directory.fs or EMPTY)
    return self.with_fs(_copied(None, "/", directory))


def _copied(fs: Fs | None, path: str, source: Directory, **options: Any) -> Fs | None:
    if source.fs is None and fs is None and path == "/":
        return None
    return edited(
        "dir.copy",
        fs,
        copy_options(path, source, **options),
        inputs=() if source.fs is None else (source.fs,),
    )


@field("Container", "directory")
async def directory(ctx: Context, self: Container, *, path: str, expand: bool) -> Directory:
    """A directory, from the root file system or a mount."""
    path = expand_path(self, path, expand)
    fs, inner = locate(self, path)
    return part(fs, inner, path)


@field("Container", "file")
async def file(ctx: Context, self: Container, *, path: str, expand: bool) -> File:
    """A file, from the root file system or a mount."""
    path = expand_path(self, path, expand)
    fs, inner = locate(self, path)
    return part_file(fs, inner, path)


@field("Container", "exists", run_pending=True)
async def exists(
    ctx: Context,
    self: Container,
    *,
    path: str,
    expected_type: str | None,
    do_not_follow_symlinks: bool,
    expand: bool,
) -> bool:
    """Whether a path exists."""
    path = expand_path(self, path, expand)
    fs, inner = locate(self, path, failed=f"failed to locate path {path}: ")
    return existence(await ctx.view(fs), inner, expected_type, follow=not do_not_follow_symlinks)


@field("Container", "stat", run_pending=True)
async def stat(ctx: Context, self: Container, *, path: str, do_not_follow_symlinks: bool) -> Stat:
    """Metadata of a path."""
    fs, inner = locate(self, path, failed=f"failed to locate path {path}: ")
    return stat_of(await ctx.view(fs), inner, path, follow=not do_not_follow_symlinks)


@field("Container", "withNewFile")
async def with_new_file(
    ctx: Context,
    self: Container,
    *,
    path: str,
    contents: str,
    permissions: int | None,
    owner: str,
    expand: bool,
) -> Container:
    """Create a file."""
    path = expand_path(self, path, expand)
    mode = mode_of(permissions)
    owner = await _owner(ctx, self, path, owner)

    def edit(fs: Fs | None, inner: str) -> Fs:
        return edited(
            "file.write", fs, inner.rstrip("/") or "/", contents, 0o644 if mode is None else mode, owner
        )

    return change(self, path, edit)


async def _owner(ctx: Context, container: Container, path: str, owner: str) -> str:
    """The owner for the file system at a path; a mounted one has no user names, so they become numbers."""
    if not has_names(owner) or mount_at(container, absolute(container, path)) is None:
        return owner
    uid, gid = owner_in(await ctx.view(container.fs), owner)
    return f"{uid}:{gid}"


@field("Container", "withFile", source=File)
async def with_file(
    ctx: Context,
    self: Container,
    *,
    path: str,
    source: File,
    permissions: int | None,
    owner: str,
    expand: bool,
) -> Container:
    """Copy a file."""
    path = expand_path(self, path, expand)
    owner = await _owner(ctx, self, path, owner)
    return change(self, path, _file_copy(source, permissions, owner))


def _file_copy(source: File, permissions: int | None, owner: str) -> Edit:
    def edit(fs: Fs | None, inner: str) -> Fs:
        inputs = () if source.fs is None else (source.fs,)
        return edited("file.copy", fs, inner, source.path, mode_of(permissions), owner, inputs=inputs)

    return edit


@field("Container", "withFiles", sources=File)
async def with_files(
    ctx: Context,
    self: Container,
    *,
    path: str,
    sources: list[File],
    permissions: int | None,
    owner: str,
    expand: bool,
) -> Container:
    """Copy files into a directory."""
    path = expand_path(self, path, expand).rstrip("/") + "/"
    owner = await _owner(ctx, self, path, owner)
    for source in sources:
        self = change(self, path, _file_copy(source, permissions, owner))
    return self


@field("Container", "withDirectory", source=Directory)
async def with_directory(
    ctx: Context,
    self: Container,
    *,
    path: str,
    source: Directory,
    exclude: list[str],
    include: list[str],
    gitignore: bool,
    owner: str,
    expand: bool,
    permissions: int | None,
) -> Container:
    """Copy a directory's content, merging."""
    path = expand_path(self, path, expand)
    options: dict[str, Any] = {
        "include": include,
        "exclude": exclude,
        "gitignore": gitignore,
        "owner": await _owner(ctx, self, path, owner),
        "mode": mode_of(permissions),
    }

    def edit(fs: Fs | None, inner: str) -> Fs:
        inputs = () if source.fs is None else (source.fs,)
        return edited(
            "dir.copy", fs, copy_options(inner.rstrip("/") or "/", source, **options), inputs=inputs
        )

    return change(self, path, edit)


@field("Container", "withSymlink")
async def with_symlink(
    ctx: Context, self: Container, *, target: str, link_name: str, expand: bool
) -> Container:
    """Make a symbolic link."""
    target = expand_path(self, target, expand)
    return change(
        self, expand_path(self, link_name, expand), lambda fs, inner: edited("link.make", fs, target, inner)
    )


def _without(fs: Fs | None, inner: str) -> Fs:
    return edited("path.remove", fs, [inner.rstrip("/") or "/"])


@field("Container", "withoutFile", "withoutDirectory")
async def without(ctx: Context, self: Container, *, path: str, expand: bool) -> Container:
    """Remove a path, or what matches it."""
    return change(self, expand_path(self, path, expand), _without, removal=True)


@field("Container", "withoutFiles")
async def without_files(ctx: Context, self: Container, *, paths: list[str], expand: bool) -> Container:
    """Remove several files."""
    for path in paths:
        self = change(self, expand_path(self, path, expand), _without, removal=True)
    return self
