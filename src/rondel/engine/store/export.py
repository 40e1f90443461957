"""Writes a tree of the store to the host, never through a link.

A tree may contain any link, and so may the target folder after an earlier export.
Directories are entered by descriptor without following links, so that nothing is
ever written outside the folder that the user named.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.store.files import copy_bytes, remove_tree

if TYPE_CHECKING:
    from rondel.engine.store.model import TreeEntry
    from rondel.engine.store.view import View, ViewNode

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BITS = 0o1777  # setuid and setgid bits never leave the store


def export_tree(view: View, src: str, dest: Path, *, wipe: bool = False) -> None:
    """Write the directory ``src`` of a view into ``dest``, or the file ``src`` to ``dest``.

    Merges into existing folders and replaces files; with ``wipe``, files that are not in the tree
    are removed. Creates missing parents of ``dest``. Raises PathError for a missing ``src``,
    OSError for what the host refuses.
    """
    node = view.node(src)
    dest.parent.mkdir(parents=True, exist_ok=True)
    if node.entry.is_dir:
        dest.mkdir(exist_ok=True)
        folder = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _export_children(node, folder, wipe=wipe)
        finally:
            os.close(folder)
        return
    # The last part may be a link of the user: the file that it leads to is the one that was named.
    target = Path(os.path.realpath(dest))
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _export_file(node.entry, folder, target.name)
    finally:
        os.close(folder)


def _export_children(node: ViewNode, folder: int, *, wipe: bool) -> None:
    children = node.children()
    if wipe:
        keep = {child.entry.name for child in children}
        for name in os.listdir(folder):
            if name not in keep:
                _remove(folder, name)
    for child in children:
        entry = child.entry
        if entry.is_dir:
            inner = _enter(folder, entry.name)
            try:
                _export_children(child, inner, wipe=wipe)
                os.fchmod(inner, stat.S_IMODE(entry.mode) & _BITS)
                os.utime(inner, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(inner)
        elif entry.link is not None:
            _export_link(entry, folder)
        elif entry.is_file:
            _export_file(entry, folder, entry.name)


def _enter(folder: int, name: str) -> int:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        try:
            return os.open(name, _DIRECTORY, dir_fd=folder)
        except OSError:  # a file, or a link to an unknown place
            _remove(folder, name)
            os.mkdir(name, 0o700, dir_fd=folder)
    return os.open(name, _DIRECTORY, dir_fd=folder)


def _export_link(entry: TreeEntry, folder: int) -> None:
    name = entry.name
    for _ in range(2):
        try:
            os.symlink(entry.link or "", name, dir_fd=folder)
        except FileExistsError:
            _remove(folder, name)
        else:
            return


def _export_file(entry: TreeEntry, folder: int, name: str) -> None:
    """Write a file: directly if it is new, else to a temporary file that replaces it."""
    temporary: str | None = None
    try:
        target = os.open(name, _NEW, 0o600, dir_fd=folder)
    except FileExistsError:
        temporary = f".{name[:200]}.{secrets.token_hex(4)}"
        target = os.open(temporary, _NEW, 0o600, dir_fd=folder)
    try:
        source = os.open(entry.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            copy_bytes(source, target, entry.size)
        finally:
            os.close(source)
        os.fchmod(target, stat.S_IMODE(entry.mode) & _BITS)
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
        if temporary is not None:
            _over(folder, temporary, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary or name, dir_fd=folder)
        raise
    finally:
        os.close(target)


def _over(folder: int, temporary: str, name: str) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError:
        _remove(folder, name)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):
        remove_tree(f"/proc/self/fd/{folder}/{name}")
