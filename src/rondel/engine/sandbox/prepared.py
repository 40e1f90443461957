"""A container that is ready to start, as :mod:`rondel.engine.sandbox.prepare` makes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.engine.sandbox.nested import take_apart
from rondel.engine.store.files import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.sandbox.bwrap import ContainerPlan
    from rondel.engine.sandbox.overlays import ContainerOverlay, CopiedFile
    from rondel.engine.sandbox.trace_scope import TraceScope
    from rondel.engine.sandbox.tree import TreeNode


@dataclass(frozen=True, slots=True)
class Redirect:
    """A file of the container that receives a copy of a stream.

    ``relative`` is its path without links: in the overlay ``over``, or below the host
    directory ``root``, or empty if ``root`` is the mounted file itself.
    """

    stream: str
    over: ContainerOverlay | None
    root: str | None
    relative: str


@dataclass(slots=True)
class Prepared:
    """A container that is ready to start, and what to read afterwards."""

    folder: Path
    plan: ContainerPlan
    overlays: list[ContainerOverlay]
    files: list[CopiedFile]
    redirects: list[Redirect]
    secrets: list[Path]
    stdin: TreeNode | None
    scope: TraceScope | None = None
    assembled: list[Path] = field(default_factory=list)


def discard(folder: Path, secrets: list[Path], assembled: list[Path]) -> None:
    """Remove a container's folder, its secrets in memory, and the mounts in its volumes."""
    for place in assembled:
        take_apart(place)
    for path in secrets:
        path.unlink(missing_ok=True)
    remove_tree(folder)
