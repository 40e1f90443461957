"""A fresh git worktree with the files of a run: its commit, its diff, what git did not know, earlier results.

The user's own tree is never touched: the worktree lies in ``.rondel/worktrees``
of the project. While somebody uses one its lock file is held, so that those
of processes that died are found and removed by the next reproduction.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rondel.errors import ConfigurationError, RecordError
from rondel.files.atomic import write_atomic
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
    """A worktree: ``top`` is git's, ``root`` the project's folder in it."""

    top: Path
    root: Path
    repository: Path
    lock: IO[bytes]

    def keep(self) -> None:
        """From now on nobody removes it but the user."""
        self.top.with_name(f"{self.top.name}{KEPT}").touch()

    def remove(self) -> None:
        """Remove it, and what git knows of it."""
        _remove(self.repository, self.top)
        self.lock.close()


def make(root: Path, folder: RunFolder, capsule: Capsule) -> Worktree:
    """A worktree with the code of ``capsule``, whose files lie in ``folder``.

    Raises RecordError for a commit that cannot be had, and for a diff that
    does not apply or reaches out of the tree; nothing is left behind then.
    """
    git = capsule.git
    if git.commit is None:
        raise RecordError(
            "the run was not made in a git repository, or before its first commit",
            hint="commit the project; runs made then can be reproduced",
            place=capsule.id,
        )
    repository = top_of(root)
    clean(root)
    diff = folder.path / DIFF if git.diff else None
    changed = changed_files(root, folder, capsule)
    _have(repository, git.commit)
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
                _put(worktree.root, path, folder.path / UNTRACKED / digest, digest)
        _check_entry(worktree.root, capsule)
    except BaseException:
        worktree.remove()
        raise
    return worktree


def _check_entry(root: Path, capsule: Capsule) -> None:
    if not (root / capsule.file).is_file():
        raise RecordError(f"that code has no {capsule.file}", place=capsule.id)


def top_of(root: Path) -> Path:
    """The top of the git repository that ``root`` lies in. Raises ConfigurationError outside of one."""
    try:
        found = run_git(root, "rev-parse", "--show-toplevel").strip()
    except RecordError as error:
        raise ConfigurationError(
            "this is no git repository",
            why=error.why,
            hint="run this in a clone of the project's repository",
            place=str(root),
        ) from None
    return Path(found)


def run_git(folder: Path, *words: str) -> str:
    """The output of a git command without hooks. Raises RecordError with what git says."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    settings = [
        "safe.directory=*",
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.quotePath=false",
    ]
    command = ["git", *(word for each in settings for word in ("-c", each)), *words]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, env=environ)
    except OSError as error:
        raise RecordError("git cannot be run", why=str(error), hint="install git") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise RecordError(
            f"`git {words[0]} {words[1] if len(words) > 1 else ''}` failed".replace(" `", "`"), why=said
        )
    return done.stdout.decode("utf-8", "surrogateescape")


def diff_paths(repository: Path, diff: Path) -> tuple[str, ...]:
    """The paths that a diff changes, as git itself reads it.

    Raises RecordError if it is no diff, or if one of them leaves the tree.
    """
    try:
        text = run_git(repository, "apply", "--numstat", "-z", "--binary", str(diff.resolve()))
    except RecordError as error:
        raise RecordError(
            "the capsule's diff is refused", why=error.why, hint="nothing of it was used", place=str(diff)
        ) from None
    paths = tuple(entry.split("\t", 2)[-1] for entry in text.split("\0") if entry)
    wrong = [path for path in paths if not is_safe_path(path)]
    if wrong:
        raise RecordError(
            "the capsule's diff is refused",
            why="\n".join(f"it leaves the tree: {path!r}" for path in wrong[:5]),
            hint="nothing of it was used; do not trust where it came from",
            place=str(diff),
        )
    return paths


def changed_files(root: Path, folder: RunFolder, capsule: Capsule) -> tuple[str, ...]:
    """The files that the capsule's diff changes. Raises RecordError as :func:`diff_paths` does."""
    return diff_paths(top_of(root), folder.path / DIFF) if capsule.git.diff else ()


def clean(root: Path) -> tuple[str, ...]:
    """Remove the worktrees that nobody uses and nobody wanted to keep; their names."""
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


def _have(repository: Path, commit: str) -> None:
    """See that the repository has ``commit``, fetching it where it has a remote."""
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
        hint="fetch the branch of that run (`git fetch`), or run this in the right clone",
        place=str(repository),
    )


def _has(repository: Path, commit: str) -> bool:
    try:
        run_git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except RecordError:
        return False
    return True


def _check_links(top: Path, paths: Iterable[str]) -> None:
    """No symbolic link of the diff leads out of the tree: later writes could go through it."""
    for path in paths:
        place = top / path
        if place.is_symlink() and not place.resolve().is_relative_to(top.resolve()):
            raise RecordError(
                "the capsule's diff is refused",
                why=f"{path} is a symbolic link that leaves the tree",
                hint="nothing of it was run; do not trust where it came from",
            )


def _put(root: Path, path: str, source: Path, digest: str | None = None) -> None:
    """Write a file into the worktree, never through a link that leads out of it."""
    if not is_safe_path(path):
        raise RecordError(f"{path!r} leaves the project")
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.parent.resolve().is_relative_to(root.resolve()) or place.is_symlink():
        raise RecordError(f"{path} leads out of the project", hint="do not trust where the capsule came from")
    try:
        data = source.read_bytes()
    except OSError as error:
        raise RecordError(f"the capsule does not hold {path}", why=str(error)) from None
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise RecordError(f"{path} was changed in the capsule", place=str(source))
    write_atomic(place, data, sync=False, follow_links=False)
    place.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


# -- what earlier stages of the run brought back


def lay_results(root: Path, folder: RunFolder, records: Iterable[StageRecord]) -> tuple[str, ...]:
    """Put the results of ``records`` into the project at ``root``, as the run itself had; their paths.

    Metrics, plots and the like are copied; of each lock file those entries are
    taken that a stage changed. Raises RecordError for what leaves the project.
    """
    from rondel.data.dvc_lock import merge_lock, stage_blocks

    laid: list[str] = []
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
                _put(root, name, file)
            laid.append(name)
    return tuple(laid)


def _result_files(folder: RunFolder, record: StageRecord) -> Iterator[tuple[str, Path]]:
    """The files that the stage's last attempt brought back, with their paths in the project."""
    stage = folder.path / "results" / record.name
    if not is_safe_path(record.name) or not stage.is_dir():
        return
    for step in sorted(stage.iterdir()):
        if step.name.rpartition("-")[2].partition(".")[0] != str(record.attempts or 1):
            continue
        # A DVC stage's are in a folder beside its report; those of `sh` are not.
        top = step / "files" if (step / "result.json").is_file() else step
        for parent, _, names in os.walk(top):
            for name in sorted(names):
                file = Path(parent, name)
                if file.is_file() and not file.is_symlink():
                    yield file.relative_to(top).as_posix(), file


def results_before(capsule: Capsule, stage: str) -> list[StageRecord]:
    """The stages of the run whose results the stage saw, in the order in which they ended."""
    started = capsule.stage(stage).started
    found = [
        record
        for record in capsule.stages
        if record.name != stage
        # Of a cached stage an earlier result may have been put back, when it was its turn.
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
