"""Changesets: the differences between two directories."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.api.directory import copy_options
from rondel.engine.api.exports import client_path, export_to
from rondel.engine.api.paths import directory_entry
from rondel.engine.api.registry import Context, field, register_type
from rondel.engine.api.results import DiffStat
from rondel.engine.evaluate import edited
from rondel.engine.evaluate.merging import MODIFIED_REMOVED, conflicts_between
from rondel.engine.evaluate.patches import diff_text, line_counts
from rondel.engine.evaluate.trees import Changes, changes_between
from rondel.engine.values import Directory, File, Fs
from rondel.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.api.objects import Obj


@dataclass(frozen=True, slots=True)
class Changeset:
    """The changes from one directory to another."""

    before: Directory
    after: Directory


register_type(Changeset, "Changeset")


async def _changes(ctx: Context, self: Changeset) -> Changes:
    old_view, old = await directory_entry(ctx, self.before)
    new_view, new = await directory_entry(ctx, self.after)
    return await anyio.to_thread.run_sync(changes_between, old_view, old.path, new_view, new.path)


def _inputs(*directories: Directory) -> tuple[Fs, ...]:
    return tuple(d.fs for d in directories if d.fs is not None)


@field("Query", "changeset")
async def changeset(ctx: Context, self: None) -> Changeset:
    """No changes at all."""
    return Changeset(Directory(), Directory())


@field("Directory", "changes", from_=Directory)
async def changes(ctx: Context, self: Directory, *, from_: Directory) -> Changeset:
    """The changes from another directory to this one."""
    return Changeset(from_, self)


@field("Directory", "diff", other=Directory)
async def diff(ctx: Context, self: Directory, *, other: Directory) -> Directory:
    """What another directory adds or changes compared to this one."""
    return await _layer(ctx, Changeset(self, other))


@field("Directory", "withChanges", changes=Changeset)
async def with_changes(ctx: Context, self: Directory, *, changes: Changeset) -> Directory:
    """The directory with a changeset applied."""
    found = await _changes(ctx, changes)
    if found.empty:
        return self
    edit = edited(
        "changes.apply",
        self.fs,
        self.path,
        changes.after.path,
        [*found.added, *found.altered],
        list(found.removed),
        inputs=_inputs(changes.after),
    )
    return Directory(edit, self.path, self.named)


@field("Changeset", "addedPaths")
async def added_paths(ctx: Context, self: Changeset) -> list[str]:
    """The added paths, directories with a slash."""
    return list((await _changes(ctx, self)).added)


@field("Changeset", "modifiedPaths")
async def modified_paths(ctx: Context, self: Changeset) -> list[str]:
    """The modified paths."""
    return list((await _changes(ctx, self)).modified)


@field("Changeset", "removedPaths")
async def removed_paths(ctx: Context, self: Changeset) -> list[str]:
    """The removed paths; of directories only the topmost."""
    return list((await _changes(ctx, self)).removed)


@field("Changeset", "isEmpty")
async def is_empty(ctx: Context, self: Changeset) -> bool:
    """Whether nothing differs."""
    return (await _changes(ctx, self)).empty


@field("Changeset", "sync")
async def sync(ctx: Context, self: Changeset) -> Obj:
    """Evaluate both directories."""
    await _changes(ctx, self)
    return ctx.obj


async def _layer(ctx: Context, self: Changeset) -> Directory:
    found = await _changes(ctx, self)
    if not (found.added or found.altered):
        return Directory()
    paths = [*found.added, *found.altered]
    edit = edited("changes.apply", None, "/", self.after.path, paths, [], inputs=_inputs(self.after))
    return Directory(edit)


@field("Changeset", "layer")
async def layer(ctx: Context, self: Changeset) -> Directory:
    """Only what was added and modified."""
    return await _layer(ctx, self)


async def _patch(ctx: Context, self: Changeset) -> str:
    found = await _changes(ctx, self)
    old_view, old = await directory_entry(ctx, self.before)
    new_view, new = await directory_entry(ctx, self.after)
    return await diff_text(old_view, old.path, new_view, new.path, found)


@field("Changeset", "asPatch")
async def as_patch(ctx: Context, self: Changeset) -> File:
    """The changes as a patch in git's format."""
    text = await _patch(ctx, self)
    return File(edited("file.write", None, "/diff.patch", text, 0o644, ""), "/diff.patch")


@field("Changeset", "diffStats")
async def diff_stats(ctx: Context, self: Changeset) -> list[DiffStat]:
    """How many lines of each file change."""
    found = await _changes(ctx, self)
    old_view, old = await directory_entry(ctx, self.before)
    new_view, new = await directory_entry(ctx, self.after)
    counts = await line_counts(old_view, old.path, new_view, new.path, found)
    former = set(counts.renamed.values())
    rows = [(path, "RENAMED" if path in counts.renamed else "ADDED") for path in found.added]
    rows += [(path, "MODIFIED") for path in found.modified]
    rows += [(path, "REMOVED") for path in found.vanished if path not in former]
    return [
        DiffStat(path, kind, *counts.lines.get(path, (0, 0)), counts.renamed.get(path))
        for path, kind in sorted(rows)
    ]


@field("Changeset", "export")
async def export(ctx: Context, self: Changeset, *, path: str) -> str:
    """Apply the changes to a directory of the host."""
    found = await _changes(ctx, self)
    dest = client_path(ctx.session, path)
    layer = await _layer(ctx, self)
    view, top = await directory_entry(ctx, layer)
    # Removals first: something else may replace the removed path.
    await anyio.to_thread.run_sync(_remove, dest, found.removed)
    await export_to(ctx.session, view, top.path, dest)
    return str(dest)


def _remove(root: Path, paths: tuple[str, ...]) -> None:
    """Remove paths below a directory, never through a link."""
    import shutil

    for path in paths:
        target = root / path.rstrip("/")
        if target.resolve().parent != target.parent.resolve() or not target.parent.resolve().is_relative_to(
            root.resolve()
        ):
            continue
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)


@field("Changeset", "withChangeset", changes=Changeset)
async def with_changeset(ctx: Context, self: Changeset, *, changes: Changeset, on_conflict: str) -> Changeset:
    """These changes and others, merged by git."""
    return await _pair(ctx, self, changes, on_conflict)


async def _pair(ctx: Context, self: Changeset, changes: Changeset, on_conflict: str) -> Changeset:
    ours, theirs = await _changes(ctx, self), await _changes(ctx, changes)
    conflicts = conflicts_between(ours, theirs)
    if conflicts and on_conflict == "FAIL_EARLY":
        raise EngineError("\n".join(map(str, conflicts)))
    disputed = [
        [c.path, c.path in ours.vanished, c.path in theirs.vanished]
        for c in conflicts
        if c.reason == MODIFIED_REMOVED
    ]
    return await _merged(ctx, [self, changes], on_conflict, disputed)


@field("Changeset", "withChangesets", changes=Changeset)
async def with_changesets(
    ctx: Context, self: Changeset, *, changes: list[Changeset], on_conflict: str
) -> Changeset:
    """These changes and several others, merged by git in one step."""
    if not changes:
        return self
    if len(changes) == 1:
        return await _pair(ctx, self, changes[0], on_conflict)
    if on_conflict == "FAIL_EARLY":
        found = [await _changes(ctx, each) for each in (self, *changes)]
        for (i, one), (j, other) in itertools.combinations(enumerate(found), 2):
            conflicts = conflicts_between(one, other)
            if conflicts:
                where = f"with changeset {j - 1}" if not i else f"between changesets {i - 1} and {j - 1}"
                raise EngineError(f"conflict {where}: " + "\n".join(map(str, conflicts)))
    return await _merged(ctx, [self, *changes], on_conflict, [])


async def _merged(
    ctx: Context, changesets: list[Changeset], on_conflict: str, disputed: list[list[object]]
) -> Changeset:
    before = changesets[0].before
    for other in changesets[1:]:
        if other.before != before:
            edit = edited(
                "dir.copy", before.fs, copy_options(before.path, other.before), inputs=_inputs(other.before)
            )
            before = Directory(edit, before.path)
    patches = [await _patch(ctx, each) for each in changesets]
    after = edited("changes.merge", before.fs, before.path, patches, on_conflict, disputed)
    await ctx.view(after)  # a conflict is reported as this field's error
    return Changeset(before, Directory(after, before.path))
