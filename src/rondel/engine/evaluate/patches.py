"""Makes and applies patches with git, in a scratch directory that contains only the changed paths."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rondel.engine.evaluate.edits import second
from rondel.engine.evaluate.operations import edit
from rondel.engine.store import Draft, PathError, View
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.engine.evaluate.session import Session
    from rondel.engine.evaluate.trees import Changes
    from rondel.engine.values import Node

_NAMED = re.compile(r"^(?:---|\+\+\+|rename from|rename to|copy from|copy to) (.+?)(?:\t.*)?$", re.MULTILINE)
_HEADER = re.compile(r"^diff --git (.+)$", re.MULTILINE)


@edit("patch.apply")
async def apply(session: Session, draft: Draft, node: Node) -> None:
    """Apply a patch below a directory. Params: path, patch."""
    root, patch = node.params
    if not patch:
        return
    with tempfile.TemporaryDirectory(prefix="rondel-patch-") as scratch:
        folder = Path(scratch)
        names = [name for name in touched(patch) if is_inside(name)]
        for name in names:
            take_out(draft.view, posixpath.join(root, name), folder / name)
        done = await run_git(
            ["apply", "--allow-empty", "-"], folder, patch.encode("utf-8", "surrogateescape")
        )
        if done.returncode:
            raise EngineError(
                f"git apply: exit status {done.returncode}",
                why=done.stderr.decode("utf-8", "replace").strip(),
            )
        for name in names:
            put_back(draft, posixpath.join(root, name), folder / name)
        for name in names:
            drop_empty(draft, root, posixpath.dirname(name))


def drop_empty(draft: Draft, root: str, name: str) -> None:
    """Remove the directory of a removed file, and its parents, while they are empty.

    Git does not record empty directories: a directory disappears with its last file.
    """
    while name:
        path = posixpath.join(root, name)
        entry = draft.view.lookup(path, follow=False)
        if entry is None or not entry.is_dir or draft.view.scandir(path):
            return
        draft.remove(path)
        name = posixpath.dirname(name)


def touched(patch: str) -> list[str]:
    """The paths in a patch, without the ``a/`` and ``b/`` prefixes."""
    names: dict[str, None] = {}
    for match in _NAMED.finditer(patch):
        name = match[1].strip('"')
        if name == "/dev/null":
            continue
        stripped = name if match[0].startswith(("rename", "copy")) else name.partition("/")[2]
        names[stripped or name] = None
    for match in _HEADER.finditer(patch):
        left, middle, right = match[1].partition(" b/")
        if middle and left.startswith("a/"):
            names[left[2:]] = None
            names[right] = None
    return list(names)


def is_inside(name: str) -> bool:
    """Whether a path of a patch stays below its directory."""
    return bool(name) and not name.startswith("/") and ".." not in name.split("/")


def take_out(view: View, path: str, target: Path) -> None:
    """Copy a file or link out of a tree if it exists."""
    entry = view.lookup(path, follow=False)
    if entry is None or not (entry.is_file or entry.is_link):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.link is not None:
        target.symlink_to(entry.link)
        return
    target.write_bytes(entry.real.read_bytes())
    target.chmod(stat.S_IMODE(entry.mode) | 0o600)


def put_back(draft: Draft, path: str, source: Path) -> None:
    """Copy a path from the scratch directory into a tree; remove it there if it does not exist."""
    before = draft.view.lookup(path, follow=False)
    if source.is_symlink():
        draft.symlink(os.readlink(source), path)
    elif source.is_file():
        mode = stat.S_IMODE(source.stat().st_mode)
        owner = (before.uid, before.gid) if before is not None else (0, 0)
        draft.write(path, source.read_bytes(), mode=mode, uid=owner[0], gid=owner[1])
    elif before is not None:
        draft.remove(path)


async def run_git(
    arguments: list[str], folder: Path, data: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a directory outside of any repository, without user or system settings."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
        "LC_ALL": "C.UTF-8",
    }
    try:
        if data:
            return await anyio.run_process(["git", *arguments], input=data, cwd=folder, env=env, check=False)
        # Without stdin, anyio would pass on the engine's own, which may never end.
        quiet = subprocess.DEVNULL
        return await anyio.run_process(["git", *arguments], stdin=quiet, cwd=folder, env=env, check=False)
    except FileNotFoundError:
        raise EngineError("git is not installed here", hint="install git to make and apply patches") from None


async def diff_text(before: View, old: str, after: View, new: str, changes: Changes) -> str:
    """The changes between two directories as a git patch."""
    flags = ["--no-prefix", "--binary", "--no-color", "--no-renames", "--no-ext-diff"]
    return await _diff(before, old, after, new, changes, *flags)


@dataclass(frozen=True, slots=True)
class Counts:
    """Added and removed lines by path, and the former name of each renamed file."""

    lines: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)


async def line_counts(before: View, old: str, after: View, new: str, changes: Changes) -> Counts:
    """How many lines the changes between two directories add and remove."""
    flags = ["-z", "-M", "--no-prefix", "--no-ext-diff"]
    counted = await _diff(before, old, after, new, changes, "--numstat", *flags)
    named = await _diff(before, old, after, new, changes, "--name-status", *flags)
    return Counts(_numbers(counted), _renames(named))


def _numbers(text: str) -> dict[str, tuple[int, int]]:
    """Parse ``--numstat -z``; a renamed file counts under its new name."""
    found: dict[str, tuple[int, int]] = {}
    tokens = iter(text.split("\0"))
    for token in tokens:
        added, _, rest = token.partition("\t")
        removed, tab, path = rest.partition("\t")
        if not tab:
            continue
        if not path:
            former, path = next(tokens, ""), next(tokens, "")
            path = former if path == "/dev/null" else path
        counts = (int(added) if added.isdecimal() else 0, int(removed) if removed.isdecimal() else 0)
        found[path.partition("/")[2]] = counts
    return found


def _renames(text: str) -> dict[str, str]:
    """The new and former names of ``--name-status -z``."""
    found: dict[str, str] = {}
    tokens = iter(text.split("\0"))
    for status in tokens:
        name = next(tokens, "").partition("/")[2]
        if status[:1] in {"R", "C"}:
            target = next(tokens, "").partition("/")[2]
            if status.startswith("R"):
                found[target] = name
    return found


async def _diff(before: View, old: str, after: View, new: str, changes: Changes, *flags: str) -> str:
    """The output of ``git diff`` for two directories that contain only changed paths."""
    if changes.empty:
        return ""
    with tempfile.TemporaryDirectory(prefix="rondel-diff-") as scratch:
        folder = Path(scratch)
        for side in ("a", "b"):
            (folder / side).mkdir()
        for name in _files(before, old, (*changes.removed, *changes.modified)):
            take_out(before, posixpath.join(old, name), folder / "a" / name)
        for name in _files(after, new, (*changes.added, *changes.modified)):
            take_out(after, posixpath.join(new, name), folder / "b" / name)
        done = await run_git(["diff", "--no-index", *flags, "a", "b"], folder)
        if done.returncode not in {0, 1}:
            raise EngineError(
                f"git diff: exit status {done.returncode}", why=done.stderr.decode("utf-8", "replace")
            )
        return done.stdout.decode("utf-8", "surrogateescape")


def _files(view: View, root: str, names: Iterable[str]) -> list[str]:
    """The files among some paths, and all files below the directories among them."""
    found: dict[str, None] = {}
    for name in names:
        if not name.endswith("/"):
            found[name] = None
            continue
        top = view.resolve(posixpath.join(root, name.rstrip("/"))).path
        for entry in view.walk(top):
            if not entry.is_dir:
                found[name + entry.path[len(top) + 1 :]] = None
    return list(found)


@edit("changes.apply")
async def apply_changes(session: Session, draft: Draft, node: Node) -> None:
    """Copy some paths from the second input, remove others. Params: path, source path, paths, removed."""
    root, source_root, paths, removed = node.params
    source = await second(session, node) if paths else None
    await anyio.to_thread.run_sync(_take_away, draft, root, removed)
    if source is not None:
        await anyio.to_thread.run_sync(_take_over, draft, root, source, source_root, paths)


def _take_away(draft: Draft, root: str, removed: Iterable[str]) -> None:
    for name in removed:
        target = posixpath.join(root, name.rstrip("/"))
        if target != "/" and draft.view.lookup(target, follow=False) is not None:
            draft.remove(target)


def _take_over(draft: Draft, root: str, source: View, source_root: str, paths: Iterable[str]) -> None:
    for name in sorted(paths):
        entry = source.lookup(posixpath.join(source_root, name.rstrip("/")), follow=False)
        if entry is None:
            raise PathError(errno.ENOENT, name)
        target = posixpath.join(root, name.rstrip("/"))
        if entry.is_dir:
            draft.mkdir(target, mode=stat.S_IMODE(entry.mode), uid=entry.uid, gid=entry.gid)
        elif entry.link is not None:
            draft.symlink(entry.link, target, uid=entry.uid, gid=entry.gid, mtime_ns=entry.mtime_ns)
        else:
            draft.write(
                target,
                entry.real,
                mode=stat.S_IMODE(entry.mode),
                uid=entry.uid,
                gid=entry.gid,
                mtime_ns=entry.mtime_ns,
            )


def _occurrences(text: str, search: str) -> str:
    """Where a text occurs: line, and bytes of it."""
    found = []
    at = text.find(search)
    while at >= 0:
        begin = text.rfind("\n", 0, at) + 1
        start = len(text[begin:at].encode("utf-8", "surrogateescape"))
        end = start + len(search.encode("utf-8", "surrogateescape"))
        found.append(f"line {text.count(chr(10), 0, at) + 1} ({start}-{end})")
        at = text.find(search, at + len(search))
    return ", ".join(found)


@edit("file.replace")
async def replace(session: Session, draft: Draft, node: Node) -> None:
    """Replace a text in a file. Params: path, search, replacement, all, first line or None."""
    path, search, replacement, everywhere, first_from = node.params
    entry = draft.view.resolve(path)
    text = draft.view.read(entry.path).decode("utf-8", "surrogateescape")
    start = 0
    if first_from is not None:
        start = sum(len(line) for line in text.splitlines(keepends=True)[: max(first_from - 1, 0)])
    count = text.count(search, start) if search else 0
    if not count:
        if everywhere:
            return
        raise EngineError("search string not found")
    if count > 1 and not everywhere and first_from is None:
        raise EngineError(f"search string found multiple times: {_occurrences(text, search)}")
    tail = text[start:].replace(search, replacement, -1 if everywhere else 1)
    data = (text[:start] + tail).encode("utf-8", "surrogateescape")
    draft.write(entry.path, data, mode=stat.S_IMODE(entry.mode), uid=entry.uid, gid=entry.gid)
