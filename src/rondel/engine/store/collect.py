"""Keeping the store within a size budget: the least recently used goes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rondel.engine.store.index import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the store holds, in bytes and counts."""

    layers: int
    layer_bytes: int
    blobs: int
    blob_bytes: int
    volumes: int
    volume_bytes: int
    results: int
    free_bytes: int

    @property
    def collectable_bytes(self) -> int:
        """What counts against the budget: layers and blobs, but no cache volume."""
        return self.layer_bytes + self.blob_bytes


def plan_collection(objects: Iterable[Object], *, budget: int, cutoff: float) -> list[Object]:
    """What to remove so that at most ``budget`` bytes are left, least recently used first.

    Nothing used at or after ``cutoff`` (the start of the oldest live session) is
    ever taken, even if that leaves more than the budget.
    """
    rows = sorted(objects, key=lambda row: (row.used, row.kind, row.id))
    excess = sum(row.size for row in rows) - budget
    doomed = []
    for row in rows:
        if excess <= 0 or row.used >= cutoff:
            break
        doomed.append(row)
        excess -= row.size
    return doomed


def first_of(doomed: Sequence[Object], *, count: int = 64, size: int = 256 << 20) -> list[Object]:
    """The head of a collection: as many objects as are removed in one go, at least one if there is any."""
    taken: list[Object] = []
    for row in doomed[:count]:
        if taken and sum(each.size for each in taken) + row.size > size:
            break
        taken.append(row)
    return taken
