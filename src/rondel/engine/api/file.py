"""Files."""

from __future__ import annotations

import itertools
import posixpath
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from rondel.engine.api.directory import stat_of
from rondel.engine.api.exports import client_path, export_to, file_destination
from rondel.engine.api.paths import file_entry
from rondel.engine.api.registry import Context, field
from rondel.engine.api.searching import search_tree
from rondel.engine.evaluate import edited
from rondel.engine.evaluate.execs import decode
from rondel.engine.evaluate.operations import refused
from rondel.engine.evaluate.trees import file_digest
from rondel.engine.values import File
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj
    from rondel.engine.api.results import SearchResult, Stat

MAX_CONTENTS = 128 * 1024 * 1024


@field("File", "contents")
async def contents(ctx: Context, self: File, *, offset_lines: int | None, limit_lines: int | None) -> str:
    """The file's text, or a range of its lines."""
    _, entry = await file_entry(ctx, self)
    if entry.size > MAX_CONTENTS:
        raise EngineError(f"file size {entry.size} exceeds limit {MAX_CONTENTS}; use export instead")
    data = await anyio.to_thread.run_sync(entry.real.read_bytes)
    if offset_lines is None and limit_lines is None:
        return decode(data)
    start = max(offset_lines or 0, 0)
    end = None if limit_lines is None or limit_lines < 0 else start + limit_lines
    lines = data.split(b"\n")
    parts = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return decode(b"".join(itertools.islice(parts, start, end)))


@field("File", "size")
async def size(ctx: Context, self: File) -> int:
    """The size in bytes."""
    return (await file_entry(ctx, self))[1].size


@field("File", "name")
async def name(ctx: Context, self: File) -> str:
    """The file's name."""
    await ctx.view(self.fs)
    return posixpath.basename(self.path)


@field("File", "stat")
async def stat(ctx: Context, self: File) -> Stat:
    """The file's metadata."""
    view, _ = await file_entry(ctx, self)
    return stat_of(view, self.path, self.named or self.path)


@field("File", "digest")
async def digest(ctx: Context, self: File, *, exclude_metadata: bool) -> str:
    """A digest of content and metadata, without the name."""
    view, entry = await file_entry(ctx, self)
    return await anyio.to_thread.run_sync(lambda: file_digest(view, entry, metadata=not exclude_metadata))


@field("File", "sync")
async def sync(ctx: Context, self: File) -> Obj:
    """Evaluate the file."""
    await file_entry(ctx, self)
    return ctx.obj


@field("File", "export")
async def export(ctx: Context, self: File, *, path: str, allow_parent_dir_path: bool) -> str:
    """Write the file to the host; returns the requested path."""
    view, entry = await file_entry(ctx, self)
    name = posixpath.basename(self.path)
    dest = file_destination(ctx.session, path, name, allow_directory=allow_parent_dir_path)
    await export_to(ctx.session, view, entry.path, dest)
    return str(client_path(ctx.session, path))


@field("File", "withName")
async def with_name(ctx: Context, self: File, *, name: str) -> File:
    """The same file under another name."""
    if "/" in name:
        raise EngineError(f'file name "{name}" must not contain a directory')
    if name in {"", ".", ".."}:
        refusal = EngineError(f"rename {self.path} {name}: file exists")
        return File(refused(refusal, self.fs), self.path, self.named)
    inputs = () if self.fs is None else (self.fs,)
    return File(edited("file.copy", None, f"/{name}", self.path, None, "", inputs=inputs), f"/{name}")


@field("File", "withTimestamps")
async def with_timestamps(ctx: Context, self: File, *, timestamp: int) -> File:
    """Set the modification time, in seconds since the epoch."""
    return File(edited("meta.times", self.fs, self.path, timestamp), self.path, self.named)


@field("File", "chown")
async def chown(ctx: Context, self: File, *, owner: str) -> File:
    """Change the owner; numbers only."""
    return File(edited("meta.owner", self.fs, self.path, owner), self.path, self.named)


@field("File", "withReplaced")
async def with_replaced(
    ctx: Context,
    self: File,
    *,
    search: str,
    replacement: str,
    all: bool,  # noqa: A002 - the schema's name
    first_from: int | None,
) -> File:
    """Replace a text; it must occur exactly once, unless ``all`` or ``firstFrom`` (a line) is set."""
    edit = edited("file.replace", self.fs, self.path, search, replacement, all, first_from)
    return File(edit, self.path, self.named)


@field("File", "search")
async def search(
    ctx: Context, self: File, *, paths: list[str], globs: list[str], **options: Any
) -> list[SearchResult]:
    """The lines that match a regular expression or text."""
    view, _ = await file_entry(ctx, self)
    top, name = posixpath.split(self.path)
    return await anyio.to_thread.run_sync(lambda: search_tree(view, top, [name], [], options))
