"""Writes a stage's results to the working tree, and never over the user's changes.

These are ``dvc.lock`` (merged by stage), metrics, plots and outputs that DVC does
not cache. Their hashes are recorded before the stage starts. If a file has changed
since, the user edited it: it stays, the stage's version is saved in another folder,
and the conflict is reported.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.data.dvc_lock import merge_lock, stage_blocks
from rondel.errors import DataError
from rondel.files.atomic import write_atomic
from rondel.files.hashes import HashCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A file that changed while the stage ran. ``kept`` is the path of the stage's version."""

    path: str
    kept: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSnapshot:
    """The working tree before a stage: hashes of the files that it may write, and its lock entries."""

    hashes: Mapping[str, str | None] = field(default_factory=dict)
    entries: Mapping[tuple[str, str], str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReport:
    """The paths that were written, and the conflicts."""

    written: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def take_snapshot(root: Path, paths: Iterable[str], locks: Mapping[str, Iterable[str]]) -> WorkspaceSnapshot:
    """Record the hashes of ``paths``, and the lock entries of stages (by lock file)."""
    cache = HashCache(root)
    hashes = {path: cache.of(path) for path in paths}
    entries: dict[tuple[str, str], str | None] = {}
    for lock, stages in locks.items():
        blocks = stage_blocks(text) if (text := _text(root / lock)) else {}
        entries.update(((lock, stage), blocks.get(stage)) for stage in stages)
    return WorkspaceSnapshot(hashes=hashes, entries=entries)


def write_results(
    root: Path,
    made: Path,
    before: WorkspaceSnapshot,
    *,
    conflict_folder: Path,
    new_locks: Mapping[str, str] | None = None,
) -> WriteReport:
    """Copy the files in ``made`` that ``before`` knows into the working tree at ``root``.

    ``new_locks`` maps lock files to their text in the container. Results whose file has
    changed meanwhile go to ``conflict_folder``. Every write is atomic, and concurrent
    runs wait for each other.
    """
    written: list[str] = []
    conflicts: list[Conflict] = []
    with workspace_lock(root):
        now, new = HashCache(root), HashCache(made)
        for path, former in before.hashes.items():
            _check_inside(root, path)
            current, result = now.of(path), new.of(path)
            if result is None or result == current:
                continue
            if current != former:
                conflicts.append(_keep(made / path, conflict_folder / path, path))
                continue
            _replace(made / path, root / path)
            written.append(path)
        for lock, text in (new_locks or {}).items():
            own = {stage: entry for (file, stage), entry in before.entries.items() if file == lock}
            clash = _merge(root / lock, text, own)
            if clash:
                write_atomic(conflict_folder / lock, text.encode())
                conflicts.append(Conflict(path=f"{lock} ({', '.join(clash)})", kept=conflict_folder / lock))
            else:
                written.append(lock)
    return WriteReport(written=tuple(written), conflicts=tuple(conflicts))


def restore_working_tree(
    root: Path, made: Path, paths: Iterable[str], locks: Mapping[str, Mapping[str, str]]
) -> None:
    """Restore an earlier result: the files in ``made``, and entries of lock files.

    ``locks`` maps lock files to the texts of entries by stage.
    """
    with workspace_lock(root):
        new, now = HashCache(made), HashCache(root)
        for path in paths:
            _check_inside(root, path)
            if new.of(path) not in {None, now.of(path)}:
                _replace(made / path, root / path)
        for lock, entries in locks.items():
            write_entries(root / lock, _text(root / lock), entries)


def copy_files(tree: Path, made: Path, paths: Iterable[str]) -> None:
    """Copy files in ``made`` to a run's tree, replacing what was there."""
    for path in paths:
        if (made / path).exists():
            _replace(made / path, tree / path)


def write_entries(file: Path, base: str | None, entries: Mapping[str, str]) -> None:
    """Write ``base``, the text of a lock file, with these entries replaced."""
    merged = merge_entries(base, entries)
    if merged != base:
        write_atomic(file, merged.encode())


def merge_entries(base: str | None, entries: Mapping[str, str]) -> str:
    """``base``, the text of a lock file, with these entries replaced."""
    return merge_lock(base, format_lock(entries), entries)


def format_lock(entries: Mapping[str, str]) -> str:
    """The text of a lock file with these entries."""
    return "schema: '2.0'\nstages:\n" + "".join(
        text if text.endswith("\n") else f"{text}\n" for text in entries.values()
    )


def conflict_error(stage: str, conflicts: Iterable[Conflict], root: Path) -> DataError:
    """An error that names each conflict and the stage's version of the file."""
    lines = []
    for conflict in conflicts:
        kept = conflict.kept
        shown = kept.relative_to(root) if kept.is_relative_to(root) else kept
        lines.append(f"{conflict.path}: the stage's version is {shown}")
    return DataError(
        f"files changed while stage {stage!r} ran, so they were not overwritten",
        why="\n".join(lines),
        hint="compare them, keep what you want, and run the stage again",
    )


def _merge(file: Path, made: str, own: Mapping[str, str | None]) -> list[str]:
    """Merge entries into the lock file; return the stages whose entry has changed meanwhile."""
    text = _text(file)
    current = stage_blocks(text) if text else {}
    new = stage_blocks(made)
    clash = [
        stage
        for stage, former in own.items()
        if stage in new and current.get(stage) not in {former, new[stage]}
    ]
    merged = merge_lock(text, made, [stage for stage in own if stage not in clash])
    if merged != text:
        write_atomic(file, merged.encode())
    return clash


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _keep(source: Path, target: Path, path: str) -> Conflict:
    _replace(source, target)
    return Conflict(path=path, kept=target)


def _replace(source: Path, target: Path) -> None:
    """Replace ``target`` by ``source``, each file atomically; does not follow symbolic links."""
    mode = source.lstat().st_mode
    if stat.S_ISREG(mode):
        if target.is_dir():
            shutil.rmtree(target)
        executable = 0o777 if mode & 0o100 else 0o666
        write_atomic(target, source.read_bytes(), mode=executable & ~_umask())
    elif stat.S_ISDIR(mode):
        target.mkdir(parents=True, exist_ok=True)
        names = set(os.listdir(source))  # noqa: PTH208 - names are what is compared
        for name in sorted(set(os.listdir(target)) - names):  # noqa: PTH208
            gone = target / name
            shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink()
        for name in sorted(names):
            _replace(source / name, target / name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _check_inside(root: Path, path: str) -> None:
    parent = (root / path).parent.resolve()
    if not parent.is_relative_to(root.resolve()):
        raise DataError(f"{path} is outside of the project, so it is not written")


@contextmanager
def workspace_lock(root: Path) -> Iterator[None]:
    """Hold the lock that lets one process at a time write the working tree."""
    file = root / ".rondel" / "locks" / "workspace"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the kernel releases it when the process ends
        yield
