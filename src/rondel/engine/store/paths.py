"""Resolves paths inside a root: one algorithm for every tree that the engine reads.

Symbolic links are resolved against the root of the tree, never the host's: an
absolute link starts at the tree's root, and ``..`` stops there.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from rondel.engine.store.errors import PathError

if TYPE_CHECKING:
    from rondel.engine.store.model import TreeEntry

_MOST_LINKS = 40  # the kernel's limit


class PathNode(Protocol):
    """A node of a tree: its entry, and its children if it is a directory."""

    @property
    def entry(self) -> TreeEntry:
        """The entry."""
        ...

    def child(self, name: str) -> Self | None:
        """The child of that name, or None."""
        ...


N = TypeVar("N", bound=PathNode)


def parts_of(path: str) -> list[str]:
    """The components of a path, without empty ones and dots."""
    return [part for part in path.split("/") if part not in ("", ".")]


def clean(path: str) -> str:
    """An absolute path in its shortest form; ``..`` removes a component without looking at links."""
    parts: list[str] = []
    for part in parts_of(path):
        if part == "..":
            if parts:
                parts.pop()
        else:
            parts.append(part)
    return "/" + "/".join(parts)


def join(path: str, name: str) -> str:
    """A child's path."""
    return f"/{name}" if path == "/" else f"{path}/{name}"


def descend(root: N, path: str, *, follow: bool = True) -> tuple[N, list[str]]:
    """The deepest existing node on the way to ``path``, and the missing components below it.

    Raises PathError if a component that must be a directory is not one, and for loops of links.
    """
    trail = [root]
    rest = parts_of(path)[::-1]
    links = 0
    while rest:
        name = rest.pop()
        here = trail[-1]
        if not here.entry.is_dir:
            raise PathError(errno.ENOTDIR, path)
        if name == "..":
            if len(trail) > 1:
                trail.pop()
            continue
        found = here.child(name)
        if found is None:
            return here, [name, *rest[::-1]]
        link = found.entry.link
        if link is None or (not rest and not follow):
            trail.append(found)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise PathError(errno.ELOOP, path)
        if link.startswith("/"):
            trail = [root]
        rest.extend(parts_of(link)[::-1])
    return trail[-1], []
