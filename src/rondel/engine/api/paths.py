"""Resolves paths of directories, files and containers, and raises the errors for missing ones."""

from __future__ import annotations

import errno
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.engine.evaluate.execs import absolute
from rondel.engine.evaluate.operations import EMPTY, operation, refused
from rondel.engine.store import PathError
from rondel.engine.values import (
    CacheMount,
    Container,
    Directory,
    DirectoryMount,
    File,
    FileMount,
    Fs,
    Mount,
    Node,
    TempMount,
    digest_of,
)
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rondel.engine.api.registry import Context
    from rondel.engine.evaluate import Session
    from rondel.engine.store import OperationResult, TreeEntry, View


def inside(root: str, path: str) -> str:
    """A path below a directory; ``..`` cannot lead above it."""
    return posixpath.join(root, posixpath.normpath("/" + path).lstrip("/")).rstrip("/") or "/"


def beside(root: str, path: str) -> str:
    """A path relative to a directory; ``..`` may lead above it, within the file system."""
    return "/" + posixpath.normpath(posixpath.join(root, path.lstrip("/") or ".")).lstrip("/")


async def directory_entry(ctx: Context, directory: Directory) -> tuple[View, TreeEntry]:
    """The evaluated directory. Raises EngineError if it does not exist."""
    view = await ctx.view(directory.fs)
    return view, require_directory(view, directory.path, directory.named or directory.path)


def require_directory(view: View, path: str, shown: str) -> TreeEntry:
    """The directory at a path, links followed. The EngineError shows the path as ``shown``."""
    entry = _require(view, path, shown)
    if not entry.is_dir:
        raise EngineError(f"path {shown} is a file, not a directory")
    return entry


def _require(view: View, path: str, shown: str) -> TreeEntry:
    if not shown:
        raise PathError(errno.ENOENT, shown, operation="stat")
    try:
        return view.resolve(path)
    except PathError as error:
        raise PathError(error.code, shown, operation="stat") from None


def part(fs: Fs | None, path: str, shown: str) -> Directory:
    """A directory of a file system, by its path there and by the caller's path.

    Every use of it, or of its siblings, fails if it does not exist.
    """
    return Directory(_held(fs, "directory", path, shown) if path != "/" else fs, path, shown)


def part_file(fs: Fs | None, path: str, shown: str) -> File:
    """A file of a file system; every use of it fails if it does not exist."""
    return File(_held(fs, "file", path, shown), path, shown)


def _held(fs: Fs | None, kind: str, path: str, shown: str) -> Fs:
    """A file system that fails if a path in it does not exist."""
    base = fs or EMPTY
    key = digest_of("held", kind, path, shown, base.key)
    params = (kind, path, shown)
    return Fs(Node("held", key, (base,), params, forces=base.node.forces, durable=False))


@operation("held")
async def _hold(session: Session, node: Node) -> OperationResult:
    kind, path, shown = node.params
    snapshot = await session.snapshot(node.inputs[0])
    require = require_directory if kind == "directory" else require_file
    require(session.store.view(snapshot), path, shown)
    return session.result(snapshot)


async def file_entry(ctx: Context, file: File) -> tuple[View, TreeEntry]:
    """The evaluated file. Raises EngineError if it does not exist."""
    view = await ctx.view(file.fs)
    return view, require_file(view, file.path, file.named or file.path)


def require_file(view: View, path: str, shown: str) -> TreeEntry:
    """The regular file at a path, links followed. The EngineError shows the path as ``shown``."""
    entry = _require(view, path, shown)
    if entry.is_dir:
        raise EngineError(f"path {shown} is a directory, not a file")
    if not entry.is_file:  # opening a pipe would block for ever
        raise EngineError(f"path {shown} is not a regular file")
    return entry


def locate(container: Container, path: str, *, failed: str = "") -> tuple[Fs | None, str]:
    """The file system that is visible at a container path, and the path in it: the root's or a mount's.

    Content of cache volumes and temporary mounts is unavailable: evaluating it raises an error that
    begins with ``failed``.
    """
    full = absolute(container, path)
    mount = mount_at(container, full)
    if isinstance(mount, CacheMount | TempMount):
        return refused(EngineError(failed + _unreachable(mount, full)), container.fs), full
    if isinstance(mount, DirectoryMount):
        return mount.source, inside(mount.subpath, full[len(mount.path) :])
    if isinstance(mount, FileMount):
        return mount.source, mount.file
    return container.fs, full


def _unreachable(mount: Mount, full: str) -> str:
    kind = "cache" if isinstance(mount, CacheMount) else "tmpfs"
    return f"{full}: cannot retrieve path from {kind}"


def mount_at(container: Container, full: str) -> Mount | None:
    """The innermost mount that covers a path; secrets and sockets do not count here."""
    best: Mount | None = None
    for mount in container.mounts:
        holds = full == mount.path or full.startswith(mount.path.rstrip("/") + "/")
        visible = isinstance(mount, CacheMount | TempMount | DirectoryMount | FileMount)
        if holds and visible and (best is None or len(mount.path) >= len(best.path)):
            best = mount
    return best


def change(
    container: Container, path: str, edit: Callable[[Fs | None, str], Fs], *, removal: bool = False
) -> Container:
    """Edit a container's file system at a path: its root file system, or the mount there.

    ``edit`` receives the file system and the path in it, and returns the changed file system. An
    edit exactly at the path of a mounted file removes that mount, and a ``removal`` removes a mount
    of any kind; then the edit applies to the content below.
    """
    full = absolute(container, path)
    trailing = "/" if path.endswith("/") and full != "/" else ""
    mount = mount_at(container, full)
    if mount is None:
        return container.with_fs(edit(container.fs, full + trailing))
    if isinstance(mount, CacheMount | TempMount):
        failed = f'failed to remove path "{path}": ' if removal else ""
        message = f"{failed}failed to locate path {path}: {_unreachable(mount, full)}"
        return container.with_fs(refused(EngineError(message), container.fs))
    if mount.path == full and (removal or isinstance(mount, FileMount)):
        return change(container.without_mount(full), path, edit, removal=removal)
    fs, inner = locate(container, path)
    changed = edit(fs, inner + trailing)

    def with_change(old: Mount) -> Mount:
        return replace(old, source=changed) if old is mount and isinstance(old, DirectoryMount) else old

    return container.with_mounts(with_change(old) for old in container.mounts)
