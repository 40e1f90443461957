"""Edits: small changes to a file system that need no command."""

from __future__ import annotations

import errno
import posixpath
import stat
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from rondel.engine.evaluate.filters import Filter, walk
from rondel.engine.evaluate.operations import edit, long_edit
from rondel.engine.evaluate.owners import owner_in
from rondel.engine.store import Draft, PathError, TreeEntry, View
from rondel.engine.store.paths import descend
from rondel.errors import EngineError
from rondel.files.patterns import Patterns

if TYPE_CHECKING:
    from rondel.engine.evaluate.session import Session
    from rondel.engine.values import Node


def _ids(view: View, owner: str) -> tuple[int, int]:
    """The IDs of an owner text; empty is root."""
    if not owner:
        return 0, 0
    return owner_in(view, owner)


def _landing(draft: Draft, path: str) -> tuple[str, list[str]]:
    """Where a path leads, with all links followed: the existing path, and the missing rest.

    A broken link leads to its target's path.
    """
    node, missing = descend(draft.view.root, path)
    if ".." in missing:
        raise PathError(errno.ENOENT, path)
    return node.entry.path, missing


async def second(session: Session, node: Node) -> View:
    """The tree of an edit's second input, the source; empty if there is none."""
    return await session.view(node.inputs[1] if len(node.inputs) > 1 else None)


@edit("file.write")
async def write(session: Session, draft: Draft, node: Node) -> None:
    """Write a file. Params: path, text, mode, owner.

    An existing file gets the new text and keeps its mode and, unless ``owner`` is set, its owner.
    """
    path, text, mode, owner = node.params
    here, missing = _landing(draft, path)
    there = None if missing else draft.view.resolve(here)
    if there is not None and there.is_dir:
        raise PathError(errno.EISDIR, path, operation="open")
    uid, gid = (there.uid, there.gid) if there is not None and not owner else _ids(draft.view, owner)
    kept = mode if there is None else stat.S_IMODE(there.mode)
    target = posixpath.join(here, *missing)
    draft.write(target, text.encode("utf-8", "replace"), mode=kept, uid=uid, gid=gid)


@edit("dir.make")
async def make(session: Session, draft: Draft, node: Node) -> None:
    """Make a directory and its missing parents, all with one mode. Params: path, mode."""
    path, mode = node.params
    try:
        here, missing = _landing(draft, path)
    except PathError as error:
        raise PathError(error.code, path, operation="mkdir") from None
    if not draft.view.resolve(here).is_dir:
        raise PathError(errno.ENOTDIR, path, operation="mkdir")
    for name in missing:
        here = posixpath.join(here, name)
        draft.mkdir(here, mode=0o755 if mode is None else mode)


@edit("fail")
async def fail(session: Session, draft: Draft, node: Node) -> None:
    """Fail when the result is requested. Params: the text."""
    raise EngineError(node.params[0])


@edit("link.make")
async def link(session: Session, draft: Draft, node: Node) -> None:
    """Make a symbolic link. Params: target, path."""
    target, path = node.params
    if not target:
        raise EngineError(f"symlink {target} {path}: no such file or directory")
    if draft.view.lookup(path, follow=False) is not None:
        raise EngineError(f"symlink {target} {path}: file exists")
    draft.symlink(target, path)


@long_edit("path.remove")
def remove(draft: Draft, node: Node) -> None:
    """Remove paths. Params: paths. In a path with an asterisk, ``?`` and ``[`` are wildcards, too."""
    (paths,) = node.params
    for path in paths:
        if path == "/":
            raise EngineError(f"unlinkat {path}: device or resource busy")
        if "*" in path:
            for found in _matching(draft.view, path):
                draft.remove(found)
        elif draft.view.find(path, follow=False) is not None:
            draft.remove(path)


def _matching(view: View, pattern: str) -> list[str]:
    """The paths that match a pattern with wildcards in any part."""
    found = ["/"]
    for part in pattern.strip("/").split("/"):
        matcher = Patterns.of([part])
        below: list[str] = []
        for holder in found:
            entry = view.lookup(holder)
            if entry is not None and entry.is_dir:
                names = [e.name for e in view.scandir(holder)]
                below += [posixpath.join(holder, name) for name in names if matcher.matches(name)]
        found = below
    return found


@long_edit("meta.times")
def times(draft: Draft, node: Node) -> None:
    """Set the modification time of all below a path. Params: path, seconds."""
    path, seconds = node.params
    for entry in _all_below(draft.view, path)[::-1]:
        draft.set_meta(entry.path, mtime_ns=seconds * 1_000_000_000)


@edit("meta.owner")
async def chown(session: Session, draft: Draft, node: Node) -> None:
    """Change the owner of all below a path. Params: path, owner.

    Names are looked up in the second input, a root file system, if there is one.
    """
    path, owner = node.params
    if len(node.inputs) > 1:
        uid, gid = owner_in(await session.view(node.inputs[1]), owner, failed="")
    else:
        uid, gid = owner_in(draft.view, owner, failed="failed to parse ownership")
    await anyio.to_thread.run_sync(_give, draft, path, uid, gid)


def _give(draft: Draft, path: str, uid: int, gid: int) -> None:
    try:
        entries = _all_below(draft.view, path)
    except PathError as error:
        raise EngineError(f"failed to walk {path}: {error}") from None
    for entry in entries:
        draft.set_meta(entry.path, uid=uid, gid=gid)


def _all_below(view: View, path: str) -> list[TreeEntry]:
    top = view.resolve(path)
    return [top, *view.walk(top.path)] if top.is_dir else [top]


@edit("dir.copy")
async def copy(session: Session, draft: Draft, node: Node) -> None:
    """Copy a directory of the second input. Params: a dict of dst, src, include, exclude, gitignore,
    owner, mode.
    """
    options: dict[str, Any] = node.params[0]
    source = await second(session, node)
    await anyio.to_thread.run_sync(_copy, draft, source, options)


def _copy(draft: Draft, source: View, options: dict[str, Any]) -> None:
    src = _directory(source, options["src"])
    uid, gid = _ids(draft.view, options["owner"]) if options["owner"] else (None, None)
    dst = _ensure_directory(draft, options["dst"], src, uid, gid)
    chosen = Filter(options["include"], options["exclude"], gitignore=options["gitignore"])
    kept = None if chosen.trivial else {path for path, _ in kept_entries(source, src.path, chosen)}

    def keep(path: str, _: TreeEntry) -> bool:
        return kept is None or path.strip("/") in kept

    draft.copy_tree(source, src.path, dst, keep=keep, uid=uid, gid=gid)
    if options["mode"] is not None:
        draft.set_meta(dst, mode=options["mode"])


def _directory(view: View, path: str) -> TreeEntry:
    entry = view.resolve(path)
    if not entry.is_dir:
        raise PathError(errno.ENOTDIR, path, operation="stat")
    return entry


def _ensure_directory(draft: Draft, path: str, like: TreeEntry, uid: int | None, gid: int | None) -> str:
    """Make sure that there is a directory at a path, replacing anything else; links are followed.

    A new directory gets the source's metadata; of an existing one only the owner changes, if one is
    given.
    """
    _check_way(draft.view, path)
    there = draft.view.lookup(path)
    if there is None or not there.is_dir:
        draft.mkdir(
            path,
            mode=like.mode,
            uid=like.uid if uid is None else uid,
            gid=like.gid if gid is None else gid,
        )
        return path
    if uid is not None and gid is not None:
        draft.set_meta(there.path, uid=uid, gid=gid)
    return there.path


def _check_way(view: View, path: str) -> None:
    """Raise EngineError if a part of the path exists and is not a directory."""
    reached = ""
    for part in path.strip("/").split("/")[:-1]:
        reached += f"/{part}"
        entry = view.lookup(reached)
        if entry is None:
            return
        if not entry.is_dir:
            raise EngineError(f'cannot copy directory to non-directory "{reached}"')


def kept_entries(view: View, root: str, chosen: Filter) -> list[tuple[str, TreeEntry]]:
    """The entries of a directory that a filter keeps, by path relative to it, parents first."""

    def ignore_file(prefix: str) -> str | None:
        entry = view.lookup(posixpath.join(root, prefix, ".gitignore"))
        return view.read(entry.path).decode("utf-8", "replace") if entry and entry.is_file else None

    def scan(prefix: str) -> list[TreeEntry]:
        return view.scandir(posixpath.join(root, prefix.rstrip("/")))

    return list(walk(chosen, chosen.root(), scan, lambda entry: entry.is_dir, ignore_file))


@edit("file.copy")
async def copy_file(session: Session, draft: Draft, node: Node) -> None:
    """Copy a file of the second input. Params: dst, src, mode, owner.

    If ``dst`` is a directory or ends with a slash, the file keeps its name.
    """
    source = await second(session, node)
    await anyio.to_thread.run_sync(_copy_file, draft, source, *node.params)


def _copy_file(  # noqa: PLR0917 - the parameters of the edit, in their order
    draft: Draft, source: View, dst: str, src: str, mode: int | None, owner: str
) -> None:
    entry = source.resolve(src)
    if entry.is_dir:
        raise EngineError(f"path {src} is a directory, not a file")
    name = posixpath.basename(src)
    _check_way(draft.view, posixpath.join(dst, name) if dst.endswith("/") else dst)
    there = draft.view.lookup(dst)
    if dst.endswith("/") or (there is not None and there.is_dir):
        dst = posixpath.join(dst, name)
    uid, gid = _ids(draft.view, owner) if owner else (entry.uid, entry.gid)
    draft.write(
        dst,
        entry.real,
        mode=stat.S_IMODE(entry.mode) if mode is None else mode,
        uid=uid,
        gid=gid,
        mtime_ns=entry.mtime_ns,
        link_ok=True,
    )


@long_edit("dir.filter")
def keep_only(draft: Draft, node: Node) -> None:
    """Remove what a filter does not keep. Params: path, include, exclude, gitignore."""
    path, include, exclude, gitignore = node.params
    root = _directory(draft.view, path).path
    chosen = Filter(include, exclude, gitignore=gitignore)
    kept = {entry.path for _, entry in kept_entries(draft.view, root, chosen)}
    waiting = [root]
    while waiting:
        for entry in draft.view.scandir(waiting.pop()):
            if entry.path not in kept:
                draft.remove(entry.path)
            elif entry.is_dir:
                waiting.append(entry.path)
