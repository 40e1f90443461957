"""A fresh git worktree with the files of a run: commit, diff, untracked files, results of earlier stages.

Worktrees are in ``.rondel/worktrees`` of the project, so the user's own tree stays
as it is. A process holds the lock file of its worktree. The next reproduction
finds and removes worktrees of processes that died.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rondel.errors import ConfigurationError, RecordError
from rondel.files.atomic import write_atomic
from rondel.git import command
from rondel.record.snapshot import DIFF, UNTRACKED
from rondel.record.validation import is_safe_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rondel.record import Capsule, RunFolder, StageRecord

WORKTREES = ".rondel/worktrees"
KEPT = ".kept"
_LINK = 0o120000


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """A worktree: ``top`` is its top folder, ``root`` the project's folder in it."""

    top: Path
    root: Path
    repository: Path
    lock: IO[bytes]

    def keep(self) -> None:
        """Keep the worktree until the user removes it."""
        self.top.with_name(f"{self.top.name}{KEPT}").touch()

    def remove(self) -> None:
        """Remove the worktree, also from git's list."""
        _remove(self.repository, self.top)
        self.lock.close()


def create_worktree(root: Path, folder: RunFolder, capsule: Capsule) -> Worktree:
    """Create a worktree with the code of ``capsule``; ``folder`` contains the run's files.

    Raises RecordError for a commit that can't be fetched, and for a diff that does
    not apply or leaves the tree. Then nothing remains.
    """
    git = capsule.git
    if git.commit is None:
        raise RecordError(
            "the run was not made in a git repository, or before its first commit",
            hint="commit the project; later runs can be reproduced",
            place=capsule.id,
        )
    repository = top_of(root)
    remove_unused(root)
    diff = folder.path / DIFF if git.diff else None
    changed = changed_files(root, folder, capsule)
    _ensure_commit(repository, git.commit)
    top = root / WORKTREES / f"{capsule.id}-{secrets.token_hex(2)}"
    top.parent.mkdir(parents=True, exist_ok=True)
    lock = top.with_name(f"{top.name}.lock").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    worktree = Worktree(
        top=top, root=top / git.prefix if git.prefix else top, repository=repository, lock=lock
    )
    try:
        run_git(repository, "worktree", "add", "--quiet", "--force", "--detach", str(top), git.commit)
        if diff is not None:
            run_git(top, "apply", "--index", "--binary", "--whitespace=nowarn", str(diff.resolve()))
            _check_links(top, changed)
        for path, digest in git.untracked.items():
            if path not in git.omitted:
                _write_file(worktree.root, path, folder.path / UNTRACKED / digest, digest)
        _check_pipeline_file(worktree.root, capsule)
    except BaseException:
        worktree.remove()
        raise
    return worktree


def _check_pipeline_file(root: Path, capsule: Capsule) -> None:
    if not (root / capsule.file).is_file():
        raise RecordError(f"the run's code has no {capsule.file}", place=capsule.id)


def top_of(root: Path) -> Path:
    """The top folder of the git repository that contains ``root``. Raises ConfigurationError without one."""
    try:
        found = run_git(root, "rev-parse", "--show-toplevel").strip()
    except RecordError as error:
        raise ConfigurationError(
            "this is not a git repository",
            why=error.why,
            hint="run this in a clone of the project's repository",
            place=str(root),
        ) from None
    return Path(found)


def run_git(folder: Path, *words: str) -> str:
    """The output of a git command. Raises RecordError with what git says."""
    try:
        done = command.run_git(folder, *words)
    except OSError as error:
        raise RecordError("git cannot be run", why=str(error), hint="install git") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise RecordError(
            f"`git {words[0]} {words[1] if len(words) > 1 else ''}` failed".replace(" `", "`"), why=said
        )
    return done.stdout.decode("utf-8", "surrogateescape")


def diff_paths(repository: Path, diff: Path) -> tuple[str, ...]:
    """The paths that a diff changes, according to git.

    Raises RecordError if the file is not a diff, or if a path leaves the tree.
    """
    try:
        text = run_git(repository, "apply", "--numstat", "-z", "--binary", str(diff.resolve()))
    except RecordError as error:
        raise RecordError(
            "the capsule's diff is refused", why=error.why, hint="no part of it was used", place=str(diff)
        ) from None
    paths = tuple(entry.split("\t", 2)[-1] for entry in text.split("\0") if entry)
    wrong = [path for path in paths if not is_safe_path(path)]
    if wrong:
        raise RecordError(
            "the capsule's diff is refused",
            why="\n".join(f"it leaves the tree: {path!r}" for path in wrong[:5]),
            hint="no part of it was used; don't trust the source of this capsule",
            place=str(diff),
        )
    return paths


def changed_files(root: Path, folder: RunFolder, capsule: Capsule) -> tuple[str, ...]:
    """The files that the capsule's diff changes. Raises RecordError as :func:`diff_paths` does."""
    return diff_paths(top_of(root), folder.path / DIFF) if capsule.git.diff else ()


def remove_unused(root: Path) -> tuple[str, ...]:
    """Remove the worktrees that are not in use and not kept; return their names."""
    folder = root / WORKTREES
    removed = []
    repository = None
    for lock in sorted(folder.glob("*.lock")) if folder.is_dir() else ():
        top = lock.with_suffix("")
        if top.with_name(f"{top.name}{KEPT}").exists() and top.is_dir():
            continue
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            repository = repository or top_of(root)
            _remove(repository, top)
            removed.append(top.name)
    return tuple(removed)


def _remove(repository: Path, top: Path) -> None:
    with suppress(RecordError):
        run_git(repository, "worktree", "remove", "--force", str(top))
    shutil.rmtree(top, ignore_errors=True)
    with suppress(RecordError):
        run_git(repository, "worktree", "prune")
    for name in (f"{top.name}.lock", f"{top.name}{KEPT}"):
        top.with_name(name).unlink(missing_ok=True)


def _ensure_commit(repository: Path, commit: str) -> None:
    """Fetch ``commit`` if the repository does not have it. Raises RecordError if that fails."""
    if _has(repository, commit):
        return
    said = ""
    with suppress(RecordError):
        if "origin" in run_git(repository, "remote").split():
            for words in (
                ("fetch", "--quiet", "--no-tags", "origin", commit),
                ("fetch", "--quiet", "origin"),
            ):
                try:
                    run_git(repository, *words)
                except RecordError as error:
                    said = error.why or ""
                if _has(repository, commit):
                    return
    raise RecordError(
        f"this repository has no commit {commit}",
        why=said or None,
        hint="fetch the run's branch (`git fetch`), or run this in the right clone",
        place=str(repository),
    )


def _has(repository: Path, commit: str) -> bool:
    try:
        run_git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except RecordError:
        return False
    return True


def _check_links(top: Path, paths: Iterable[str]) -> None:
    """Refuse symbolic links of the diff that leave the tree: later writes could follow them."""
    for path in paths:
        file = top / path
        if file.is_symlink() and not file.resolve().is_relative_to(top.resolve()):
            raise RecordError(
                "the capsule's diff is refused",
                why=f"{path} is a symbolic link that leaves the tree",
                hint="no part of it has run; don't trust the source of this capsule",
            )


def _write_file(root: Path, path: str, source: Path, digest: str | None = None) -> None:
    """Write a file into the worktree, but never through a link that leaves it."""
    if not is_safe_path(path):
        raise RecordError(f"{path!r} leaves the project")
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(root.resolve()) or target.is_symlink():
        raise RecordError(f"{path} leaves the project", hint="don't trust the source of this capsule")
    try:
        data = source.read_bytes()
    except OSError as error:
        raise RecordError(f"the capsule does not contain {path}", why=str(error)) from None
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise RecordError(f"{path} was changed in the capsule", place=str(source))
    write_atomic(target, data, sync=False, follow_links=False)
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


# -- results of earlier stages of the run


def restore_results(root: Path, folder: RunFolder, records: Iterable[StageRecord]) -> tuple[str, ...]:
    """Restore the results of stages in the project at ``root``, as the run had them; return their paths.

    Copies metrics, plots and other files. From each lock file, takes the entries
    that a stage changed. Raises RecordError for paths that leave the project.
    """
    from rondel.data.dvc_lock import merge_lock, stage_blocks

    restored: list[str] = []
    base: dict[str, dict[str, str]] = {}
    for record in records:
        for name, file in _result_files(folder, record):
            if not is_safe_path(name):
                raise RecordError(f"{name!r} leaves the project")
            target = root / name
            if target.name == "dvc.lock":
                text = target.read_text(encoding="utf-8") if target.is_file() else None
                before = base.setdefault(name, stage_blocks(text) if text else {})
                made = file.read_text(encoding="utf-8")
                new = stage_blocks(made)
                merged = merge_lock(text, made, [stage for stage in new if before.get(stage) != new[stage]])
                if merged != text:
                    write_atomic(target, merged.encode(), sync=False, follow_links=False)
            else:
                _write_file(root, name, file)
            restored.append(name)
    return tuple(restored)


def _result_files(folder: RunFolder, record: StageRecord) -> Iterator[tuple[str, Path]]:
    """The result files of the stage's last attempt, with their paths in the project."""
    stage = folder.path / "results" / record.name
    if not is_safe_path(record.name) or not stage.is_dir():
        return
    for step in sorted(stage.iterdir()):
        if step.name.rpartition("-")[2].partition(".")[0] != str(record.attempts or 1):
            continue
        # The results of a DVC stage are in a subfolder beside its report; those of `sh` are not.
        top = step / "files" if (step / "result.json").is_file() else step
        for parent, _, names in os.walk(top):
            for name in sorted(names):
                file = Path(parent, name)
                if file.is_file() and not file.is_symlink():
                    yield file.relative_to(top).as_posix(), file


def results_before(capsule: Capsule, stage: str) -> list[StageRecord]:
    """The stages whose results the stage could read, in the order in which they ended."""
    started = capsule.stage(stage).started
    found = [
        record
        for record in capsule.stages
        if record.name != stage
        # A cached stage may have restored an earlier result.
        and (
            record.state == "cached"
            or (
                record.state in {"ran", "restored"}
                and record.finished
                and (started is None or record.finished <= started)
            )
        )
    ]
    return sorted(found, key=lambda record: record.finished or "")
