"""Keeps the result of a stage of ``dvc.yaml`` that just ran, under the key that it was made under."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.cache.entries import DvcCacheEntry, save_entry
from rondel.cache.lookup import part_digests
from rondel.cache.objects import keep_files
from rondel.cache.provenance import Provenance, entry_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.data import DvcStage
    from rondel.record import Image, KeyRecord


def keep_result(
    root: Path,
    stage: DvcStage,
    made: Path,
    *,
    key: KeyRecord,
    entry: str,
    run: str,
    image: Image | None,
    undeclared: tuple[str, ...] | None,
    quiet: tuple[str, ...] = (),
    pushed: bool,
    metrics: Mapping[str, float],
) -> DvcCacheEntry:
    """Keep what the stage made: ``entry`` is the text of its entry in the lock, ``made`` has its files."""
    cache_entry = DvcCacheEntry(
        key=key,
        run=run,
        address=stage.address,
        image=image,
        entry=entry,
        files=keep_files(root, made, [out.path for out in stage.outs if out.returns]),
        undeclared=undeclared,
        quiet=quiet,
        pushed=pushed,
        metrics=dict(metrics),
    )
    save_entry(root, cache_entry)
    return cache_entry


def provenance_of(cache_entry: DvcCacheEntry, entry: Mapping[str, Any]) -> Provenance:
    """What ``rondel.lock`` says of the result."""
    return Provenance(
        entry=entry_digest(entry),
        run=cache_entry.run,
        parts=part_digests(cache_entry.key),
        undeclared=cache_entry.undeclared,
        quiet=cache_entry.quiet,
        source=cache_entry.image.source if cache_entry.image else None,
        image=cache_entry.image.digest if cache_entry.image else None,
    )
