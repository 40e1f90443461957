"""Resolves ``user:group`` to IDs by a file system's own passwd and group files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.engine.sandbox.users import resolve_user
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.store import View


_FILES = {"user": ("/etc/passwd", "uid"), "group": ("/etc/group", "gid")}


def owner_in(view: View, owner: str, *, failed: str = "failed to resolve ownership for") -> tuple[int, int]:
    """Owner and group of ``user[:group]`` by name or number; a missing group is the user's number.

    Raises EngineError, prefixed with ``failed`` if it is set, for names that the passwd and group
    files do not contain.
    """
    user, colon, group = owner.partition(":")
    prefix = f"{failed} {owner}: " if failed else ""
    uid = _number(view, "user", user, prefix)
    return uid, _number(view, "group", group, prefix) if colon else uid


def user_in(view: View, user: str) -> tuple[int, int]:
    """User and primary group for commands run as ``user``; empty is root."""
    found = resolve_user(user, _text(view, "/etc/passwd"), _text(view, "/etc/group"))
    return found.uid, found.gid


def _text(view: View, path: str) -> str:
    entry = view.lookup(path)
    return view.read(path).decode("utf-8", "replace") if entry is not None and entry.is_file else ""


def has_names(owner: str) -> bool:
    """Whether an owner contains names that only a container's own files can resolve."""
    return any(part and not part.isdecimal() and part != "root" for part in owner.split(":"))


def _number(view: View, kind: str, name: str, prefix: str) -> int:
    file, number = _FILES[kind]
    if name == "root":
        return 0
    if name.isdecimal():
        return int(name)
    entry = view.lookup(file)
    if entry is None or not entry.is_file:
        raise EngineError(f"{prefix}open {file}: no such file or directory")
    row = _row(view, file, name)
    if row is None:
        raise EngineError(f"{prefix}find {number}: no such {kind}: {name}")
    return int(row[2])


def _row(view: View, path: str, name: str) -> list[str] | None:
    """The row of a name in a colon-separated file; None if the file or the row is missing."""
    entry = view.lookup(path)
    if entry is None or not entry.is_file:
        return None
    for line in view.read(path).decode("utf-8", "replace").splitlines():
        parts = line.split(":")
        if parts[0] == name and len(parts) >= 4 and parts[2].isdecimal():
            return parts
    return None
