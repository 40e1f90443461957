"""Directories."""

from __future__ import annotations

import errno
import posixpath
import stat as modes
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from rondel.engine.api.exports import client_path, export_to
from rondel.engine.api.paths import beside, directory_entry, part, require_file
from rondel.engine.api.registry import Context, Keyed, field
from rondel.engine.api.results import SearchResult, Stat
from rondel.engine.api.searching import search_tree
from rondel.engine.evaluate import edited
from rondel.engine.evaluate.trees import file_digest, tree_digest
from rondel.engine.store import PathError, TreeEntry, View
from rondel.engine.values import Directory, File, Fs, digest_of
from rondel.errors import EngineError
from rondel.files.patterns import compile_glob

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj

# -- reading


def _shown(entry: TreeEntry) -> str:
    return entry.name + ("/" if entry.is_dir else "")


@field("Directory", "entries")
async def entries(ctx: Context, self: Directory, *, path: str | None) -> list[str]:
    """The names in the directory or one below it; directories end in a slash."""
    view, top = await directory_entry(ctx, self)
    try:
        return [_shown(entry) for entry in view.scandir(beside(top.path, path or ""))]
    except PathError as error:
        raise EngineError(f"open {path}: {error.text}") from None


@field("Directory", "glob")
async def glob(ctx: Context, self: Directory, *, pattern: str) -> list[str]:
    """The paths below the directory that match a pattern."""
    matcher = compile_glob(pattern)
    view, top = await directory_entry(ctx, self)
    cut = len(top.path.rstrip("/")) + 1

    def found() -> list[str]:
        return [
            entry.path[cut:] + ("/" if entry.is_dir else "")
            for entry in view.walk(top.path)
            if matcher(entry.path[cut:])
        ]

    return await anyio.to_thread.run_sync(found)


@field("Directory", "name")
async def name(ctx: Context, self: Directory) -> str:
    """The directory's name with a slash; the directory must exist."""
    await directory_entry(ctx, self)
    return posixpath.basename(self.path.rstrip("/")) + "/"


@field("Directory", "digest")
async def digest(ctx: Context, self: Directory) -> str:
    """A digest of the content, however it was made."""
    view, top = await directory_entry(ctx, self)
    return await anyio.to_thread.run_sync(tree_digest, view, top.path)


@field("Directory", "sync")
async def sync(ctx: Context, self: Directory) -> Obj:
    """Evaluate the directory."""
    await directory_entry(ctx, self)
    return ctx.obj


def existence(view: View, path: str, expected: str | None, *, follow: bool) -> bool:
    """Whether an entry of the expected type exists at a path. Raises PathError below a file."""
    if not path:
        return False
    entry = view.find(path, follow=follow and expected not in {"SYMLINK", "SYMLINK_TYPE"})
    if entry is None:
        return False
    kinds = {"REGULAR": entry.is_file, "DIRECTORY": entry.is_dir, "SYMLINK": entry.is_link}
    return kinds[expected.removesuffix("_TYPE")] if expected else True


@field("Directory", "exists")
async def exists(
    ctx: Context, self: Directory, *, path: str, expected_type: str | None, do_not_follow_symlinks: bool
) -> bool:
    """Whether a path exists; false if the directory itself does not exist."""
    try:
        view, top = await directory_entry(ctx, self)
    except PathError as error:
        if error.code == errno.ENOENT:
            return False
        raise
    full = beside(top.path, path) if path else ""
    return existence(view, full, expected_type, follow=not do_not_follow_symlinks)


def stat_of(view: View, path: str, shown: str, *, follow: bool = True) -> Stat:
    """Metadata of a path; a followed link reports its target's name.

    Raises EngineError if the path does not exist.
    """
    if not shown:
        raise EngineError("stat : no such file or directory")
    try:
        entry = view.resolve(path, follow=follow)
    except PathError as error:
        raise EngineError(f"stat {shown}: {error.text}") from None
    kind = "DIRECTORY" if entry.is_dir else "SYMLINK" if entry.is_link else "REGULAR"
    kind = kind if entry.is_dir or entry.is_link or entry.is_file else "UNKNOWN"
    return Stat(entry.name or "/", entry.size, modes.S_IMODE(entry.mode) & 0o777, kind)


@field("Directory", "stat")
async def stat(ctx: Context, self: Directory, *, path: str, do_not_follow_symlinks: bool) -> Stat:
    """Metadata of a path."""
    view, top = await directory_entry(ctx, self)
    return stat_of(view, beside(top.path, path), path, follow=not do_not_follow_symlinks)


@field("Directory", "findUp")
async def find_up(ctx: Context, self: Directory, *, name: str, start: str) -> str | None:
    """The nearest path with a name, from a directory upwards."""
    if not name:
        raise EngineError("name cannot be empty")
    here = posixpath.normpath(start or ".")
    if here.startswith("../"):
        raise EngineError(f"cannot search outside parent: {here}")
    while True:
        start_here = await ctx.call(ctx.obj, "directory", path=here)
        if await ctx.call(start_here, "exists", path=name, doNotFollowSymlinks=True):
            return posixpath.normpath(posixpath.join(here, name.lstrip("/")))
        above = posixpath.dirname(here) or "."
        if above == here:
            return None
        here = above


@field("Directory", "search")
async def search(
    ctx: Context, self: Directory, *, paths: list[str], globs: list[str], **options: Any
) -> list[SearchResult]:
    """The lines that match a regular expression or text."""
    view, top = await directory_entry(ctx, self)
    return await anyio.to_thread.run_sync(lambda: search_tree(view, top.path, paths, globs, options))


@field("Directory", "export")
async def export(ctx: Context, self: Directory, *, path: str, wipe: bool) -> str:
    """Write the directory to the host; returns the absolute path."""
    view, top = await directory_entry(ctx, self)
    dest = client_path(ctx.session, path)
    await export_to(ctx.session, view, top.path, dest, wipe=wipe)
    return str(dest)


# -- parts


@field("Directory", "directory")
async def directory(ctx: Context, self: Directory, *, path: str) -> Directory:
    """A directory below this one."""
    return part(self.fs, beside(self.path, path), path)


@field("Directory", "file")
async def file(ctx: Context, self: Directory, *, path: str) -> Keyed:
    """A file below this directory; it must exist. Equal files have equal keys, however they were made."""
    view, _ = await directory_entry(ctx, self)
    target = beside(self.path, path)
    entry = require_file(view, target, path)
    content = await anyio.to_thread.run_sync(file_digest, view, entry)
    return Keyed(File(self.fs, target, path), digest_of("file", posixpath.basename(target), content))


# -- changes


def check_name(path: str) -> None:
    """Raise EngineError for a file name that is too long for any file system."""
    if len(posixpath.basename(path.rstrip("/")).encode()) > 255:
        raise EngineError("File name length exceeds the maximum supported 255 characters")


def mode_of(permissions: int | None) -> int | None:
    """The permission bits of a new file: without setuid, setgid and sticky."""
    return None if permissions is None else permissions & 0o777


def changed(directory: Directory, fs: Fs) -> Directory:
    """The same directory on a changed file system."""
    return Directory(fs, directory.path, directory.named)


@field("Directory", "withNewFile")
async def with_new_file(
    ctx: Context, self: Directory, *, path: str, contents: str, permissions: int | None
) -> Directory:
    """Create a file."""
    check_name(path)
    mode = mode_of(permissions)
    fs = edited("file.write", self.fs, beside(self.path, path), contents, 0o644 if mode is None else mode, "")
    return changed(self, fs)


@field("Directory", "withNewDirectory")
async def with_new_directory(
    ctx: Context, self: Directory, *, path: str, permissions: int | None
) -> Directory:
    """Create a directory, with its parents."""
    clean = posixpath.normpath(path)
    if clean.startswith("../"):
        return changed(self, edited("fail", self.fs, f"cannot create directory outside parent: {clean}"))
    return changed(self, edited("dir.make", self.fs, beside(self.path, path), mode_of(permissions)))


@field("Directory", "withSymlink")
async def with_symlink(ctx: Context, self: Directory, *, target: str, link_name: str) -> Directory:
    """Make a symbolic link."""
    return changed(self, edited("link.make", self.fs, target, beside(self.path, link_name)))


def copy_options(
    dst: str,
    source: Directory,
    *,
    include: list[str] | tuple[str, ...] = (),
    exclude: list[str] | tuple[str, ...] = (),
    gitignore: bool = False,
    owner: str = "",
    mode: int | None = None,
) -> dict[str, Any]:
    """The parameters of a ``dir.copy`` edit."""
    return {
        "dst": dst,
        "src": source.path,
        "include": list(include),
        "exclude": list(exclude),
        "gitignore": gitignore,
        "owner": owner,
        "mode": mode,
    }


@field("Directory", "withDirectory", source=Directory)
async def with_directory(
    ctx: Context,
    self: Directory,
    *,
    path: str,
    source: Directory,
    exclude: list[str],
    include: list[str],
    gitignore: bool,
    owner: str,
    permissions: int | None,
) -> Directory:
    """Copy a directory's content, merging."""
    whole = self == Directory() and source.path == beside("/", path) == "/"
    if whole and not owner and permissions is None and (include or exclude or gitignore):
        # The directory is empty: remove what is not selected, instead of copying what is.
        return Directory(edited("dir.filter", source.fs, "/", include, exclude, gitignore))
    options = copy_options(
        beside(self.path, path),
        source,
        include=include,
        exclude=exclude,
        gitignore=gitignore,
        owner=owner,
        mode=mode_of(permissions),
    )
    inputs = () if source.fs is None else (source.fs,)
    return changed(self, edited("dir.copy", self.fs, options, inputs=inputs))


@field("Directory", "withFile", source=File)
async def with_file(
    ctx: Context, self: Directory, *, path: str, source: File, permissions: int | None, owner: str
) -> Directory:
    """Copy a file."""
    trailing = "/" if path.endswith(("/", "/.")) else ""
    return changed(self, _copy_file(self.fs, beside(self.path, path) + trailing, source, permissions, owner))


def _copy_file(fs: Fs | None, dst: str, source: File, permissions: int | None, owner: str = "") -> Fs:
    inputs = () if source.fs is None else (source.fs,)
    return edited("file.copy", fs, dst, source.path, mode_of(permissions), owner, inputs=inputs)


@field("Directory", "withFiles", as_is=True, sources=File)
async def with_files(
    ctx: Context, self: Directory, *, path: str, sources: list[Obj], permissions: int | None
) -> Obj:
    """Copy files into a directory, one after the other."""
    holder = ctx.obj
    for source in sources:
        holder = await ctx.call(
            holder, "withFile", path=path.rstrip("/") + "/", source=source, permissions=permissions
        )
    return holder


@field("Directory", "filter")
async def filter_(
    ctx: Context, self: Directory, *, exclude: list[str], include: list[str], gitignore: bool
) -> Obj:
    """Only what patterns and .gitignore files keep."""
    choice = {"include": include, "exclude": exclude, "gitignore": gitignore}
    empty = await ctx.root("directory")
    found: Obj = await ctx.call(empty, "withDirectory", path="/", source=ctx.obj, **choice)
    return found


@field("Directory", "withoutFile", "withoutDirectory")
async def without(ctx: Context, self: Directory, *, path: str) -> Directory:
    """Remove a path, or what matches it."""
    return changed(self, edited("path.remove", self.fs, [beside(self.path, path)]))


@field("Directory", "withoutFiles")
async def without_files(ctx: Context, self: Directory, *, paths: list[str]) -> Directory:
    """Remove several files."""
    removed = [beside(self.path, path) for path in paths]
    return changed(self, edited("path.remove", self.fs, removed))


@field("Directory", "withTimestamps")
async def with_timestamps(ctx: Context, self: Directory, *, timestamp: int) -> Directory:
    """Set every modification time, in seconds since the epoch."""
    return changed(self, edited("meta.times", self.fs, self.path, timestamp))


@field("Directory", "chown")
async def chown(ctx: Context, self: Directory, *, path: str, owner: str) -> Directory:
    """Change the owner of a path and all below it; numbers only."""
    return changed(self, edited("meta.owner", self.fs, beside(self.path, path), owner))


@field("Directory", "withPatch")
async def with_patch(ctx: Context, self: Directory, *, patch: str) -> Directory:
    """Apply a patch as git does."""
    return changed(self, edited("patch.apply", self.fs, self.path, patch))


@field("Directory", "withPatchFile", patch=File)
async def with_patch_file(ctx: Context, self: Directory, *, patch: File) -> Directory:
    """Apply a patch from a file."""
    view = await ctx.view(patch.fs)
    text = view.read(require_file(view, patch.path, patch.named).path).decode("utf-8", "surrogateescape")
    return changed(self, edited("patch.apply", self.fs, self.path, text))
