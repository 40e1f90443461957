"""Which runs are kept: decided from their sizes and states, then carried out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.record.folder import RunFolder, run_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KEEP = 5
"""So many of the newest runs stay, whatever their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """A run as pruning sees it. ``held`` says that a process writes it now."""

    id: str
    size: int
    held: bool = False


def choose(
    runs: Sequence[KeptRun], *, budget: int | None = None, keep: int = KEEP, needed: Iterable[str] = ()
) -> tuple[str, ...]:
    """The runs to remove, oldest first; ``runs`` are the newest first.

    The ``keep`` newest stay, and those that are being written or ``needed`` (a
    stage's last success is theirs). With a ``budget`` the others go from the
    oldest on until the rest fits; without one all others go.
    """
    protected = {run.id for run in runs[:keep]} | {run.id for run in runs if run.held} | set(needed)
    total = sum(run.size for run in runs)
    chosen: list[str] = []
    for run in reversed(runs):
        if budget is not None and total <= budget:
            break
        if run.id not in protected:
            chosen.append(run.id)
            total -= run.size
    return tuple(chosen)


def survey(root: Path) -> list[KeptRun]:
    """The runs of a project with their sizes, newest first."""
    found = []
    for run in run_ids(root):
        folder = RunFolder.of(root, run)
        found.append(KeptRun(id=run, size=size_of(folder.path), held=not folder.abandoned))
    return found


def size_of(folder: Path) -> int:
    """Bytes that a folder's files take."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - thousands of them
            except OSError:
                continue
    return total
