"""Chooses what to remove to keep the store within its budget: the least recently used first."""

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
        """The bytes that count against the budget: layers and blobs, but no cache volumes."""
        return self.layer_bytes + self.blob_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What a check of the store found, and forgot."""

    layers: int
    blobs: int
    damaged: Sequence[str]
    """Each layer or blob that was damaged, with the reason; they are removed."""
    forgotten: int
    """How many results were forgotten, because they may depend on those."""


def plan_collection(objects: Iterable[Object], *, budget: int, cutoff: float) -> list[Object]:
    """What to remove so that at most ``budget`` bytes are left, least recently used first.

    Never removes anything used at or after ``cutoff`` (the start of the oldest live session),
    even if that leaves more than the budget.
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
    """The first part of a collection: as many objects as are removed at once, at least one."""
    taken: list[Object] = []
    for row in doomed[:count]:
        if taken and sum(each.size for each in taken) + row.size > size:
            break
        taken.append(row)
    return taken
