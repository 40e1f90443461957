"""Merges changes with git: one branch per change, in a repository that contains only the changed paths."""

from __future__ import annotations

import posixpath
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.engine.evaluate.operations import edit
from rondel.engine.evaluate.patches import drop_empty, is_inside, put_back, run_git, take_out, touched
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.evaluate.session import Session
    from rondel.engine.evaluate.trees import Changes
    from rondel.engine.store import Draft
    from rondel.engine.values import Node

_AUTHOR = ["-c", "user.name=Dagger", "-c", "user.email=dagger@localhost", "-c", "gc.auto=0"]
_SIDES = {"PREFER_OURS": ["-X", "ours"], "PREFER_THEIRS": ["-X", "theirs"]}


@dataclass(frozen=True, slots=True)
class ChangeConflict:
    """A path on which two changesets conflict."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f'conflict between changesets at path "{self.path}": {self.reason}'


MODIFIED_REMOVED = "path modified in one changeset and removed in the other"


def conflicts_between(ours: Changes, theirs: Changes) -> list[ChangeConflict]:
    """The paths that both changesets change in ways that may conflict."""
    added, modified, removed = set(theirs.added), set(theirs.modified), set(theirs.removed)
    found = [ChangeConflict(p, "path added in both changesets") for p in ours.added if p in added]
    for path in ours.modified:
        if path in modified:
            found.append(ChangeConflict(path, "path modified in both changesets"))
        elif path in removed:
            found.append(ChangeConflict(path, MODIFIED_REMOVED))
    return found + [ChangeConflict(path, MODIFIED_REMOVED) for path in ours.removed if path in modified]


@edit("changes.merge")
async def merge(session: Session, draft: Draft, node: Node) -> None:
    """Merge patches. Params: path, patches (ours first), strategy, paths that one side modified and
    another removed, each with whether ours and theirs removed it.
    """
    root, patches, strategy, disputed = node.params
    names = {name for patch in patches for name in touched(patch) if is_inside(name)}
    with tempfile.TemporaryDirectory(prefix="rondel-merge-") as scratch:
        folder = Path(scratch)
        for name in names:
            take_out(draft.view, posixpath.join(root, name), folder / name)
        await _merge(folder, patches, strategy, disputed)
        for name in sorted(names):
            put_back(draft, posixpath.join(root, name), folder / name)
        for name in names:
            if not (folder / name).exists() and not (folder / name).is_symlink():
                drop_empty(draft, root, posixpath.dirname(name))


async def _merge(folder: Path, patches: list[str], strategy: str, disputed: list[Any]) -> None:
    await _git(folder, "init", "-q", "--template=")
    await _git(folder, "add", "-A", "-f")
    await _git(folder, "commit", "-q", "--allow-empty", "-m", "base")
    base = (await _git(folder, "rev-parse", "HEAD")).strip()
    others = ["theirs"] if len(patches) == 2 else [f"branch_{i}" for i in range(len(patches) - 1)]
    for branch, patch in zip(["ours", *others], patches, strict=True):
        await _git(folder, "checkout", "-q", "-b", branch, base)
        if patch:
            data = patch.encode("utf-8", "surrogateescape")
            await _git(folder, "apply", "--allow-empty", "-", data=data)
        await _git(folder, "add", "-A", "-f")
        await _git(folder, "commit", "-q", "--allow-empty", "-m", branch)
    await _git(folder, "checkout", "-q", "ours")
    side = _SIDES.get(strategy, [])
    fails = strategy in {"FAIL", "FAIL_EARLY"}
    await _git(folder, "merge", "--no-edit", "--no-commit", *side, *others, check=fails)
    if not fails:
        for path, we_removed, they_removed in disputed:
            await _resolve(folder, path, strategy, we_removed=we_removed, they_removed=they_removed)


async def _resolve(folder: Path, path: str, strategy: str, *, we_removed: bool, they_removed: bool) -> None:
    """Decide for a file that one side modified and the other removed."""
    ours = strategy == "PREFER_OURS" or (
        strategy == "LEAVE_CONFLICT_MARKERS" and they_removed and not we_removed
    )
    if we_removed if ours else they_removed:
        await _git(folder, "rm", "-q", "--force", "--", path)
    else:
        await _git(folder, "checkout", "-q", "--ours" if ours else "--theirs", "--", path)


async def _git(folder: Path, *args: str, data: bytes = b"", check: bool = True) -> str:
    done = await run_git([*_AUTHOR, *args], folder, data)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode and check:
        shown = " ".join(args)
        raise EngineError(f"git [{shown}]: exit status {done.returncode}: {text}")
    return done.stdout.decode("utf-8", "replace")
