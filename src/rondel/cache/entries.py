"""The stage cache: ``.rondel/stages/NAME/KEY.json``, the newest few successes of each stage.

When you go back to an earlier Containerfile, branch or parameter, the success
with that key is found again. A failed attempt removes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from rondel.cache.objects import store_files
from rondel.files.atomic import write_atomic
from rondel.record import CallRecord, Image, KeyRecord, VerdictRecord  # noqa: TC001 - decoded by type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rondel.data import DvcStage

FORMAT = 2
MAX_ENTRIES = 12
"""How many successes of one stage the cache keeps."""

EntryT = TypeVar("EntryT", bound="StageCacheEntry | DvcCacheEntry")


@dataclass(frozen=True, kw_only=True)
class StageCacheEntry:
    """One success of a pipeline stage: its key and its results.

    ``uses`` are the context methods that it called. The same code calls the
    same methods, so the stage's next key is computed from them before it runs.
    ``outputs`` maps files of the workspace to hashes; ``made`` maps everything
    that the stage made, including what is only in DVC's cache. ``number`` grows
    with each success, independent of the clock.
    """

    key: KeyRecord
    run: str
    stage: str = ""
    format: int = FORMAT
    number: int = 0
    uses: tuple[CallRecord, ...] = ()
    image: Image | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    verdicts: tuple[VerdictRecord, ...] = ()
    mlflow: str | None = None

    @property
    def name(self) -> str:
        """The name of the entry's folder."""
        return self.stage


@dataclass(frozen=True, kw_only=True)
class DvcCacheEntry:
    """One result of a stage of ``dvc.yaml``: its key and what is needed to restore it.

    ``entry`` is the stage's entry in ``dvc.lock`` as DVC wrote it. ``files`` maps
    the files that belong in the working tree to the objects with their content
    (see :mod:`rondel.cache.objects`); it is empty for a result from another
    machine. ``undeclared`` are the files that the command read and that are not
    among its dependencies; None if unknown. ``quiet`` are more such files, which
    count as inputs but are not reported. ``pushed`` says that the data was
    pushed to the DVC remote.
    """

    key: KeyRecord
    run: str
    address: str = ""
    format: int = FORMAT
    number: int = 0
    image: Image | None = None
    entry: str = ""
    files: dict[str, str] = field(default_factory=dict)
    undeclared: tuple[str, ...] | None = None
    quiet: tuple[str, ...] = ()
    pushed: bool = False
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the entry's folder."""
        return f"dvc {self.address}"

    @property
    def files_read(self) -> tuple[str, ...]:
        """All files that the command is known to have read and that are not among its dependencies."""
        return (*(self.undeclared or ()), *self.quiet)


def _folder(root: Path, name: str) -> Path:
    return root / ".rondel" / "stages" / re.sub(r"[^A-Za-z0-9._=,-]+", "_", name)


def _file(root: Path, cache_entry: StageCacheEntry | DvcCacheEntry) -> Path:
    return _folder(root, cache_entry.name) / f"{cache_entry.key.digest.partition(':')[2][:24]}.json"


def save_entry(root: Path, cache_entry: StageCacheEntry | DvcCacheEntry) -> None:
    """Save a success under its key atomically, and remove the oldest ones of the same stage."""
    import msgspec

    known = _all(root, cache_entry.name, type(cache_entry))
    number = 1 + max((each.number for each in known), default=0)
    data = msgspec.json.encode(replace(cache_entry, number=number))
    write_atomic(_file(root, cache_entry), msgspec.json.format(data, indent=1) + b"\n")
    others = [each for each in known if each.key.digest != cache_entry.key.digest]
    for old in others[MAX_ENTRIES - 1 :]:
        _file(root, old).unlink(missing_ok=True)


def save_result(
    root: Path,
    stage: DvcStage,
    folder: Path,
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
    """Save a result of a ``dvc.yaml`` stage: ``entry`` is its text in the lock, ``folder`` has its files."""
    cache_entry = DvcCacheEntry(
        key=key,
        run=run,
        address=stage.address,
        image=image,
        entry=entry,
        files=store_files(root, folder, [out.path for out in stage.outs if out.in_working_tree]),
        undeclared=undeclared,
        quiet=quiet,
        pushed=pushed,
        metrics=dict(metrics),
    )
    save_entry(root, cache_entry)
    return cache_entry


def load_entries(root: Path, stage: str) -> tuple[StageCacheEntry, ...]:
    """The cached successes of a pipeline stage, newest first."""
    return _all(root, stage, StageCacheEntry)


def load_dvc_entries(root: Path, address: str) -> tuple[DvcCacheEntry, ...]:
    """The cached results of a stage of ``dvc.yaml``, newest first."""
    return _all(root, f"dvc {address}", DvcCacheEntry)


def load_all_entries(root: Path) -> tuple[StageCacheEntry, ...]:
    """The cached successes of all pipeline stages."""
    folders = (root / ".rondel" / "stages").glob("*")
    return tuple(each for folder in folders for each in _read(folder, StageCacheEntry) if each.stage)


def load_entry(root: Path, stage: str, key: str) -> StageCacheEntry | None:
    """The cached success of a stage with this key digest, if there is one."""
    return next((each for each in load_entries(root, stage) if each.key.digest == key), None)


def _all(root: Path, name: str, kind: type[EntryT]) -> tuple[EntryT, ...]:
    found = [each for each in _read(_folder(root, name), kind) if each.name == name]
    return tuple(sorted(found, key=lambda each: each.number, reverse=True))


def _read(folder: Path, kind: type[EntryT]) -> Iterator[EntryT]:
    """The readable entries; a damaged one is skipped, so its stage just runs again."""
    import msgspec

    for file in folder.glob("*.json"):
        try:
            cache_entry = msgspec.json.decode(file.read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError, RecursionError):
            continue
        if cache_entry.format == FORMAT:
            yield cache_entry


def cached_runs(root: Path) -> frozenset[str]:
    """The runs with the newest success of a stage; their records are still needed."""
    import msgspec

    newest: dict[Path, tuple[int, str]] = {}
    for file in (root / ".rondel" / "stages").glob("*/*.json"):
        try:
            entry = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
            found = (int(entry["number"]), str(entry["run"]))
        except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
            continue
        newest[file.parent] = max(found, newest.get(file.parent, (0, "")))
    return frozenset(run for _, run in newest.values())


def referenced_objects(root: Path) -> frozenset[str]:
    """The objects that cached results of ``dvc.yaml`` stages refer to."""
    found: set[str] = set()
    for folder in (root / ".rondel" / "stages").glob("dvc_*"):
        for cache_entry in _read(folder, DvcCacheEntry):
            found.update(cache_entry.files.values())
    return frozenset(found)
