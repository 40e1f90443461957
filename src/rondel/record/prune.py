"""Decides which old runs to remove."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.record.folder import RunFolder, run_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KEEP = 5
"""The number of newest runs that are always kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run's size on disk. ``locked``: a process is writing it."""

    id: str
    size: int
    locked: bool = False


def runs_to_remove(
    runs: Sequence[StoredRun], *, budget: int | None = None, keep: int = KEEP, needed: Iterable[str] = ()
) -> tuple[str, ...]:
    """The runs to remove, oldest first; ``runs`` are ordered newest first.

    The ``keep`` newest runs stay, and those that are being written or ``needed``
    (they have a stage's last success). With a ``budget``, the oldest of the others
    are removed until the rest fits; without one, all others are removed.
    """
    protected = {run.id for run in runs[:keep]} | {run.id for run in runs if run.locked} | set(needed)
    total = sum(run.size for run in runs)
    chosen: list[str] = []
    for run in reversed(runs):
        if budget is not None and total <= budget:
            break
        if run.id not in protected:
            chosen.append(run.id)
            total -= run.size
    return tuple(chosen)


def runs_with_sizes(root: Path) -> list[StoredRun]:
    """The runs of a project with their sizes, newest first."""
    found = []
    for run in run_ids(root):
        folder = RunFolder.of(root, run)
        found.append(StoredRun(id=run, size=folder_size(folder.path), locked=not folder.abandoned))
    return found


def folder_size(folder: Path) -> int:
    """The total size of a folder's files in bytes."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - thousands of them
            except OSError:
                continue
    return total
