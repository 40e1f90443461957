"""Mounts inside a cache volume, made without naming a path through the volume.

Other containers may write to the volume and swap its directories for links at any moment.
bwrap would follow such a link: to a directory of the machine, in which it makes the mount
point as the engine's user. So the engine mounts the volume in its own namespace first, opens
each mount point by descriptor, moves the inner mount there, and hands bwrap the whole.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from rondel.engine import namespace
from rondel.engine.sandbox.bwrap import Bind, BwrapMount, Kernel, Memory, Overlay
from rondel.engine.sandbox.spec import ExecRefused
from rondel.engine.store.files import make_beneath, open_or_make_beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def split_nested(
    mounts: Sequence[BwrapMount], volumes: Iterable[str]
) -> tuple[list[BwrapMount], dict[str, list[BwrapMount]]]:
    """The mounts that lie in no volume, and those in a volume by its path; parents come first."""
    outer: list[BwrapMount] = []
    nested: dict[str, list[BwrapMount]] = {}
    paths = sorted(volumes)
    for mount in mounts:
        inside = next((path for path in paths if mount.path.startswith(f"{path}/")), None)
        if inside is None:
            outer.append(mount)
        else:
            nested.setdefault(inside, []).append(mount)
    return outer, nested


def new_place(folder: Path) -> Path:
    """A new directory for :func:`assemble`; ``folder`` is in memory, for this mount namespace alone."""
    place = folder / f"m{secrets.token_hex(6)}"
    place.mkdir()
    return place


def assemble(place: Path, volume: Bind, nested: Sequence[BwrapMount]) -> Bind:
    """Mount a volume with the mounts in it below ``place``; returns what to bind instead of it.

    Undo it with :func:`take_apart`, also if this raises ExecRefused or OSError.
    """
    root, single = place / "volume", place / "single"
    root.mkdir()
    namespace.bind(volume.source, root)
    for mount in nested:
        inner = mount.path[len(volume.path) + 1 :]
        try:
            _add(root, inner, mount, single)
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise ExecRefused(f"cannot mount at {mount.path}: {why}") from error
    if volume.readonly:
        namespace.make_readonly(root)  # bwrap's option would also change the mounts in it
    return Bind(volume.path, str(root), readonly=False)


def take_apart(place: Path) -> None:
    """Unmount what :func:`assemble` mounted. Never removes a directory that is still mounted."""
    for name in ("single", "volume"):
        path = place / name
        if path.exists():
            namespace.unmount(path)
            path.rmdir() if path.is_dir() else path.unlink()
    if place.exists():
        place.rmdir()


def _add(root: Path, inner: str, mount: BwrapMount, single: Path) -> None:
    if isinstance(mount, Kernel):  # the working directory, in a file system in memory
        folder, _, name = inner.rpartition("/")
        make_beneath(str(root), folder, [name], (0, 0))
        return
    is_file = isinstance(mount, Bind) and not os.path.isdir(mount.source)
    single.touch() if is_file else single.mkdir()
    if isinstance(mount, Overlay):
        namespace.mount_overlay(single, mount.lowers, upper=mount.upper, work=mount.work)
    elif isinstance(mount, Memory):
        namespace.mount_tmpfs(single, size=mount.size, mode=0o1777 if mount.shared else 0o755)
    elif isinstance(mount, Bind):
        namespace.bind(mount.source, single, readonly=mount.readonly)
    target = open_or_make_beneath(str(root), inner, directory=not is_file)
    try:
        namespace.move(single, f"/proc/self/fd/{target}")
    finally:
        os.close(target)
    single.unlink() if is_file else single.rmdir()
