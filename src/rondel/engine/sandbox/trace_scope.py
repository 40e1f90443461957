"""Decides from a container's mounts where the files that a command opens can be observed.

An overlay belongs to one container. Other mounts (a cache volume, a folder of the machine) are
the same for all containers that use them, so openings there may come from any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.engine.sandbox.bwrap import Kernel, Memory, Overlay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.engine.sandbox.bwrap import BwrapMount

HOLD = "/dev/null"
"""Where a container pauses between its mounts and its command: see :mod:`rondel.engine.sandbox.tracing`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceScope:
    """The folder to watch, without the mounts in ``skipped``.

    ``unknown`` says why some of its files cannot be observed; ``seen`` is false if none can.
    """

    folder: str
    skipped: frozenset[str] = frozenset()
    unknown: str = ""
    seen: bool = True


def trace_scope_of(folder: str, planned: Iterable[BwrapMount], apart: Iterable[str] = ()) -> TraceScope:
    """What can be observed of a container path without links.

    ``apart`` are mounted secrets and sockets: they do not count as files of the folder.
    """
    mounts = {mount.path: mount for mount in planned}
    above = max((path for path in mounts if _within(folder, path)), key=len)
    if not _own(mounts[above]):
        return TraceScope(folder=folder, unknown=_shared(above), seen=False)
    if not isinstance(mounts.get("/dev"), Kernel) or HOLD in mounts:
        return TraceScope(folder=folder, unknown="something is mounted at /dev", seen=False)
    inner = {path: mount for path, mount in mounts.items() if path != folder and _within(path, folder)}
    skipped = frozenset(path for path, mount in inner.items() if not _own(mount))
    hidden = sorted(skipped - set(apart))
    shared = [path for path in hidden if not isinstance(mounts[path], Memory | Kernel)]
    return TraceScope(folder=folder, skipped=skipped, unknown=_shared(shared[0]) if shared else "")


def _own(mount: BwrapMount) -> bool:
    """Whether a mount belongs to one container. A single read-only layer is the store's folder itself."""
    return isinstance(mount, Overlay) and (mount.upper is not None or len(mount.lowers) > 1)


def _shared(path: str) -> str:
    return f"{path} is mounted from a folder that other commands may use at the same time"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder if folder.endswith("/") else f"{folder}/")
