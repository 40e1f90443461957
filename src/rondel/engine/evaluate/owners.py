"""Turns ``user:group`` into numbers, as a file system's own passwd and group files say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.store import View


def numeric_owner(owner: str) -> tuple[int, int]:
    """Owner and group of a numeric ``uid[:gid]``. Raises EngineError for names: a bare directory has none."""
    user, _, group = owner.partition(":")
    if not user.isdecimal() or (group and not group.isdecimal()):
        raise EngineError(
            f"failed to parse ownership {owner}: open /etc/passwd: no such file or directory",
            hint="use numbers: only a container knows names",
        )
    return int(user), int(group or user)


def owner_in(view: View, owner: str) -> tuple[int, int]:
    """Owner and group of ``user[:group]`` by name or number, in a container's root file system."""
    user, _, group = owner.partition(":")
    if user.isdecimal():
        uid, primary = int(user), int(user)
    else:
        found = _row(view, "/etc/passwd", user)
        if found is None:
            raise EngineError(f"failed to resolve ownership for {owner}: find uid: no such user: {user}")
        uid, primary = int(found[2]), int(found[3])
    if not group:
        return uid, primary
    if group.isdecimal():
        return uid, int(group)
    row = _row(view, "/etc/group", group)
    if row is None:
        raise EngineError(f"failed to resolve ownership for {owner}: find gid: no such group: {group}")
    return uid, int(row[2])


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
