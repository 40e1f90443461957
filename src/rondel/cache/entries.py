"""What is kept of successes: ``.rondel/stages/NAME/KEY.json``, several for each name, the newest few.

Going back to an earlier Containerfile, branch or parameter finds the success
that was made under that key. Nothing is removed when a stage begins: a failed
attempt leaves every earlier success as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from rondel.record import CallRecord, Image, KeyRecord, VerdictRecord  # noqa: TC001 - decoded by type
from rondel.record.folder import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 2
KEPT = 12
"""How many successes are kept of one stage."""

Kept = TypeVar("Kept", bound="StageCacheEntry | DvcCacheEntry")


@dataclass(frozen=True, kw_only=True)
class StageCacheEntry:
    """One success of a stage of the pipeline: the key that it was made under, and what it made.

    ``uses`` are the context calls that it made then: with the same code it
    makes the same ones, so the next key is made from them before it runs.
    ``outputs`` maps files of the workspace to hashes, ``made`` all that the
    stage made, also what lies in DVC's cache only. ``number`` counts up with
    each success, whatever the clock says.
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
        """The name that it is kept under."""
        return self.stage


@dataclass(frozen=True, kw_only=True)
class DvcCacheEntry:
    """One result of a stage of ``dvc.yaml``: the key that it was made under, and what has to come back.

    ``entry`` is the stage's entry in ``dvc.lock`` as DVC wrote it; ``files``
    maps the files that belong into the working tree to the objects that hold
    their content (see :mod:`rondel.cache.objects`), none of a result that was
    made on another machine. ``undeclared`` are the files that the command
    read beside its dependencies; None where that is not known. ``quiet`` are
    those that count, too, and are not worth a word. ``pushed`` says that its
    data went to the DVC remote.
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
        """The name that it is kept under."""
        return f"dvc {self.address}"


def _folder(root: Path, name: str) -> Path:
    return root / ".rondel" / "stages" / re.sub(r"[^A-Za-z0-9._=,-]+", "_", name)


def _file(root: Path, cache_entry: StageCacheEntry | DvcCacheEntry) -> Path:
    return _folder(root, cache_entry.name) / f"{cache_entry.key.digest.partition(':')[2][:24]}.json"


def save_entry(root: Path, cache_entry: StageCacheEntry | DvcCacheEntry) -> None:
    """Keep a success under its key, and drop the oldest ones of the same name; atomic."""
    import msgspec

    known = _all(root, cache_entry.name, type(cache_entry))
    number = 1 + max((each.number for each in known), default=0)
    data = msgspec.json.encode(replace(cache_entry, number=number))
    write_atomically(_file(root, cache_entry), msgspec.json.format(data, indent=1) + b"\n")
    others = [each for each in known if each.key.digest != cache_entry.key.digest]
    for old in others[KEPT - 1 :]:
        _file(root, old).unlink(missing_ok=True)


def load_entries(root: Path, stage: str) -> tuple[StageCacheEntry, ...]:
    """The successes of a stage that are kept, the newest first."""
    return _all(root, stage, StageCacheEntry)


def load_dvc_entries(root: Path, address: str) -> tuple[DvcCacheEntry, ...]:
    """The results of a stage of ``dvc.yaml`` that are kept, the newest first."""
    return _all(root, f"dvc {address}", DvcCacheEntry)


def all_stages(root: Path) -> tuple[StageCacheEntry, ...]:
    """The successes of all stages of the pipeline that are kept."""
    folders = (root / ".rondel" / "stages").glob("*")
    return tuple(each for folder in folders for each in _read(folder, StageCacheEntry) if each.stage)


def load_entry(root: Path, stage: str, key: str) -> StageCacheEntry | None:
    """The success of a stage under the key of that digest."""
    return next((each for each in load_entries(root, stage) if each.key.digest == key), None)


def _all(root: Path, name: str, kind: type[Kept]) -> tuple[Kept, ...]:
    found = [each for each in _read(_folder(root, name), kind) if each.name == name]
    return tuple(sorted(found, key=lambda each: each.number, reverse=True))


def _read(folder: Path, kind: type[Kept]) -> Iterator[Kept]:
    """What can be read: a damaged entry counts as none: an entry is only a reason not to work."""
    import msgspec

    for file in folder.glob("*.json"):
        try:
            cache_entry = msgspec.json.decode(file.read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError, RecursionError):
            continue
        if cache_entry.format == FORMAT:
            yield cache_entry


def cached_runs(root: Path) -> frozenset[str]:
    """The runs that the newest success of each stage is from: their records are still needed."""
    import msgspec

    newest: dict[Path, tuple[int, str]] = {}
    for file in (root / ".rondel" / "stages").glob("*/*.json"):
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
            found = (int(kept["number"]), str(kept["run"]))
        except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
            continue
        newest[file.parent] = max(found, newest.get(file.parent, (0, "")))
    return frozenset(run for _, run in newest.values())


def kept_objects(root: Path) -> frozenset[str]:
    """The objects that kept results of stages of ``dvc.yaml`` need."""
    found: set[str] = set()
    for folder in (root / ".rondel" / "stages").glob("dvc_*"):
        for cache_entry in _read(folder, DvcCacheEntry):
            found.update(cache_entry.files.values())
    return frozenset(found)
