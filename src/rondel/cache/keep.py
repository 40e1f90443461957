"""Keeps the result of a stage of ``dvc.yaml`` that just ran, under the key that it was made under."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.cache.memory import DvcMemory, remember
from rondel.cache.objects import keep_files
from rondel.cache.provenance import Provenance, entry_digest
from rondel.cache.served import part_digests

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
) -> DvcMemory:
    """Keep what the stage made: ``entry`` is the text of its entry in the lock, ``made`` has its files."""
    memory = DvcMemory(
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
    remember(root, memory)
    return memory


def provenance_of(memory: DvcMemory, entry: Mapping[str, Any]) -> Provenance:
    """What ``rondel.lock`` says of the result."""
    return Provenance(
        entry=entry_digest(entry),
        run=memory.run,
        parts=part_digests(memory.key),
        undeclared=memory.undeclared,
        quiet=memory.quiet,
        source=memory.image.source if memory.image else None,
        image=memory.image.digest if memory.image else None,
    )
