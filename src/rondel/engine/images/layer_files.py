"""Files of a layer: conversion between an archive's metadata and the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Mapping

# If this process cannot change a file's owner, the image's owner is recorded here for exports.
OWNER_ATTRIBUTE = "user.rondel.owner"


def lstat(path: str) -> os.stat_result | None:
    """The status of a path, or None."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it is overlayfs's whiteout, which hides the entry below."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def write_all(handle: int, data: bytes, *, sparse: bool) -> None:
    """Write the bytes; with ``sparse``, zeros become a hole."""
    if sparse and not data.strip(b"\0"):
        os.lseek(handle, len(data), os.SEEK_CUR)
        return
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def own(real: str, uid: int, gid: int) -> None:
    """Set the owner of ``real``; if an ID does not exist here, record the owner in an attribute."""
    mapped = _mapped("uid", uid) and _mapped("gid", gid)
    try:
        os.chown(
            real, uid if _mapped("uid", uid) else 0, gid if _mapped("gid", gid) else 0, follow_symlinks=False
        )
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
        mapped = False
    if not mapped:
        with contextlib.suppress(OSError):
            os.setxattr(real, OWNER_ATTRIBUTE, f"{uid}:{gid}".encode(), follow_symlinks=False)


@cache
def _ranges(kind: str) -> tuple[range, ...]:
    try:
        lines = Path(f"/proc/self/{kind}_map").read_text("ascii").splitlines()
    except OSError:
        return (range(1 << 32),)
    return tuple(range(int(first), int(first) + int(count)) for first, _, count in map(str.split, lines))


@cache
def _mapped(kind: str, number: int) -> bool:
    return any(number in known for known in _ranges(kind))


def attributes(headers: Mapping[str, str]) -> dict[str, bytes]:
    """The extended attributes of an entry to set: without overlayfs's own marks, and without ours."""
    wanted = {}
    for key, value in headers.items():
        name = key.removeprefix("SCHILY.xattr.")
        if name == key or name.startswith(("user.overlay.", "trusted.", "user.rondel.")):
            continue
        if name.startswith("user.") or name == "security.capability":
            wanted[name] = value.encode("utf-8", "surrogateescape")
    return wanted


def mtime_ns(member: tarfile.TarInfo) -> int:
    """The modification time in an archive, in nanoseconds."""
    written = member.pax_headers.get("mtime")
    if written is None:
        return max(int(member.mtime), 0) * 1_000_000_000
    seconds, _, fraction = written.partition(".")
    try:
        return max(int(seconds) * 1_000_000_000 + int((fraction + "0" * 9)[:9]), 0)
    except ValueError:
        return 0
