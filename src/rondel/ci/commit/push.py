"""Commits ``dvc.lock``, ``*.dvc`` and metrics to a branch, and pushes them.

Data goes first: an entry of ``dvc.lock`` is committed only if this run pushed
its data, and a ``*.dvc`` file only after ``dvc push``. So no commit refers to
data that the remote lacks.

The commit is made with a separate index on top of the commit that was checked
out, so a detached HEAD, a shallow clone and other changes in the working tree
don't matter. If the branch has new commits, the commit is rebased once. If it
can't be pushed to the branch, it goes to a new branch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.data.dvc_lock import stage_blocks
from rondel.errors import DataError
from rondel.git.command import run_git
from rondel.secrets.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

TOKEN = "RONDEL_GIT_TOKEN"  # noqa: S105 - the variable's name
USER = "RONDEL_GIT_USER"
HELPER = f'!f() {{ test "$1" = get && echo "username=${{{USER}:-oauth2}}" && echo "password=${TOKEN}"; }}; f'
"""A credential helper that takes the token from the environment, so that no command line has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCommit:
    """The commit to make.

    ``branch`` is the branch to push to, and ``aside`` the one to use if that
    fails; ``options`` are push options for it. ``made`` are the hashes of the data
    that the run pushed (``md5:…``); ``paths`` are other files that the run wrote
    (metrics, plots). ``url`` is the remote's address, if the checkout's own will
    not do. ``merged``: the checkout may be a merge commit that the CI system made
    for the job and that must not get to the branch.
    """

    branch: str
    message: str
    author: str
    aside: str
    made: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    url: str | None = None
    options: tuple[str, ...] = field(default=())
    merged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedCommit:
    """The commit and its branch. ``aside``: it is not the wanted branch; ``why`` says why not."""

    commit: str
    branch: str
    rebased: bool = False
    aside: bool = False
    why: str = ""


def commit_results(root: Path, wanted: ResultCommit, environ: Mapping[str, str]) -> PushedCommit | None:
    """Commit and push; None if nothing changed.

    Raises DataError, and commits nothing, if an entry refers to data that was not
    pushed, or if neither branch can be pushed to.
    """
    git = GitClient(Path(GitClient(root, environ)("rev-parse", "--show-toplevel").rstrip("\n")), environ)
    folder = root.resolve().relative_to(git.root.resolve()).as_posix()
    changed = changed_files(git, "" if folder == "." else f"{folder}/", wanted.paths)
    if not changed:
        return None
    try:
        _check_locks(git, [path for path in changed if Path(path).name == "dvc.lock"], wanted.made)
    except DataError:
        if _already_pushed(git, changed, wanted):
            return None  # an earlier run in this checkout pushed it
        raise
    _push_data(git.root, [path for path in changed if path.endswith(".dvc")], environ)
    base = git("rev-parse", "HEAD").strip()
    commit = _commit(git, changed, base, wanted)
    if commit is None:
        return None
    return _deliver(git, commit, base, wanted)


class GitClient:
    """Git in one repository, with the team's token if it is set. Calls raise DataError."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self.root = root
        self.environ = dict(environ)
        self._settings = ("credential.helper=", f"credential.helper={HELPER}") if environ.get(TOKEN) else ()

    def run(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command; its outcome, whatever it is."""
        done = run_git(self.root, *words, environ=self.environ, variables=extra, settings=self._settings)
        out, error = os.fsdecode(done.stdout), os.fsdecode(done.stderr)
        return subprocess.CompletedProcess(done.args, done.returncode, out, error)

    def __call__(self, *words: str, **extra: str) -> str:
        """Run a command and return its output. Raises DataError if it fails."""
        done = self.run(*words, **extra)
        if done.returncode:
            raise DataError(f"git {words[0]} failed", why=_said(done))
        return done.stdout


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return "\n".join(without_login(line) for line in lines[-8:])


def changed_files(git: GitClient, folder: str, paths: Iterable[str]) -> list[str]:
    """The files to commit: those that differ from HEAD and that git does not ignore.

    Candidates are the lock files, ``rondel.lock`` and ``*.dvc`` below ``folder``
    of the repository, and ``paths`` in it.
    """
    patterns = [f":(glob){folder}**/dvc.lock", f":(glob){folder}**/*.dvc", f":(literal){folder}rondel.lock"]
    patterns += [f":(literal){folder}{path}" for path in paths]
    status = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *patterns)
    found = []
    for entry in status.split("\0"):
        state, path = entry[:2], entry[3:]
        if path and "D" not in state and not f"/{path}".rpartition("/")[0].endswith(("/.rondel", "/.dvc")):
            found.append(path)
    return sorted(found)


def _already_pushed(git: GitClient, paths: Sequence[str], wanted: ResultCommit) -> bool:
    """Whether the branch has the same versions of these files."""
    fetched = git.run(
        "fetch", "--no-tags", "--depth=1", wanted.url or "origin", f"refs/heads/{wanted.branch}"
    )
    return fetched.returncode == 0 and all(
        git.run("rev-parse", f"FETCH_HEAD:{path}").stdout == git.run("hash-object", "--", path).stdout
        for path in paths
    )


def _check_locks(git: GitClient, locks: Sequence[str], made: frozenset[str]) -> None:
    for lock in locks:
        old = git.run("show", f"HEAD:./{lock}")
        before = stage_blocks(old.stdout) if old.returncode == 0 else {}
        now = stage_blocks((git.root / lock).read_text(encoding="utf-8"))
        for stage, block in now.items():
            missing = unpushed(block, made) if before.get(stage) != block else []
            if missing:
                raise DataError(
                    f"the entry of {stage} is not committed: this run did not push {missing[0]}",
                    why="a commit that refers to data which the remote lacks would break every checkout",
                    hint="run the stage in this job (--no-cache), or push it by hand: dvc push",
                    place=lock,
                )


def unpushed(block: str, made: frozenset[str]) -> list[str]:
    """The outputs of an entry of ``dvc.lock`` whose hashes are not in ``made``."""
    from rondel.files.yaml_file import parse_yaml

    entry = next(iter(parse_yaml(block, "dvc.lock").values()))
    outs = entry.get("outs", []) if isinstance(entry, dict) else []
    return [str(out["path"]) for out in outs if f"md5:{out.get('md5')}" not in made]


def _push_data(root: Path, pointers: Sequence[str], environ: Mapping[str, str]) -> None:
    if not pointers:
        return
    command = [sys.executable, "-m", "dvc", "push", "--quiet", *pointers]
    done = subprocess.run(command, cwd=root, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(
            f"dvc push of {', '.join(pointers)} failed, so nothing is committed",
            why="\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-8:]),
        )


def _commit(git: GitClient, paths: Sequence[str], base: str, wanted: ResultCommit) -> str | None:
    with tempfile.TemporaryDirectory(prefix="rondel-index-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git("read-tree", base, **index)
        git("add", "--", *(f":(literal){path}" for path in paths), **index)
        tree = git("write-tree", **index).strip()
    if tree == git("rev-parse", f"{base}^{{tree}}").strip():
        return None
    name, _, address = wanted.author.partition("<")
    who = {"NAME": name.strip() or "Rondel", "EMAIL": address.rstrip("> ") or "rondel@localhost"}
    identity = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    git.environ |= identity
    return git("commit-tree", tree, "-p", base, "-m", wanted.message).strip()


def _deliver(git: GitClient, commit: str, base: str, wanted: ResultCommit) -> PushedCommit:
    remote = wanted.url or "origin"
    foreign = wanted.merged and _is_merge(git, base)
    why = ""
    if not foreign:
        pushed = _push(git, remote, commit, wanted.branch)
        if pushed.returncode == 0:
            _follow(git, commit, base, wanted.branch)
            return PushedCommit(commit=commit, branch=wanted.branch)
        why = _said(pushed)
    if foreign or _moved_on(pushed):
        rebased = _rebased(git, remote, commit, wanted.branch)
        if rebased is None:
            why = f"new commits on {wanted.branch} change the same lines"
        else:
            commit = rebased
            pushed = _push(git, remote, commit, wanted.branch)
            if pushed.returncode == 0:
                return PushedCommit(commit=commit, branch=wanted.branch, rebased=True)
            why = _said(pushed)
    aside = _push(git, remote, commit, wanted.aside, wanted.options)
    if aside.returncode and wanted.options:
        aside = _push(git, remote, commit, wanted.aside)  # the server may not support push options
    if aside.returncode:
        raise DataError(
            f"the results could be pushed neither to {wanted.branch} nor to {wanted.aside}",
            why=_said(aside),
            hint=f"the job needs a token that may push: set {TOKEN}",
        )
    return PushedCommit(commit=commit, branch=wanted.aside, aside=True, why=why)


def _push(
    git: GitClient, remote: str, commit: str, branch: str, options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    flags = [word for option in options for word in ("--push-option", option)]
    return git.run("push", "--porcelain", *flags, remote, f"{commit}:refs/heads/{branch}")


def _is_merge(git: GitClient, commit: str) -> bool:
    """Whether a commit has several parents, by its own text, because a shallow clone lacks the parents."""
    head = git("cat-file", "commit", commit).partition("\n\n")[0]
    return head.count("\nparent ") > 1


def _moved_on(pushed: subprocess.CompletedProcess[str]) -> bool:
    said = pushed.stdout + pushed.stderr
    return any(sign in said for sign in ("fetch first", "non-fast-forward", "cannot lock ref"))


def _rebased(git: GitClient, remote: str, commit: str, branch: str) -> str | None:
    """The commit on top of the branch; None if it conflicts."""
    shallow = git("rev-parse", "--is-shallow-repository").strip() == "true"
    git("fetch", "--no-tags", *(["--depth=50"] if shallow else []), remote, f"refs/heads/{branch}")
    tip = git("rev-parse", "FETCH_HEAD").strip()
    with _worktree(git, tip) as tree:
        # Even a shallow clone has the parent, because it was checked out.
        picked = tree.run("cherry-pick", "--allow-empty", commit)
        if picked.returncode:
            return None
        return tree("rev-parse", "HEAD").strip()


@contextmanager
def _worktree(git: GitClient, commit: str) -> Iterator[GitClient]:
    with tempfile.TemporaryDirectory(prefix="rondel-rebase-") as folder:
        path = Path(folder, "tree")
        git("worktree", "add", "--detach", "--quiet", str(path), commit)
        try:
            yield GitClient(path, git.environ)
        finally:
            git.run("worktree", "remove", "--force", str(path))


def _follow(git: GitClient, commit: str, base: str, branch: str) -> None:
    """Move the local branch to the commit; the detached HEAD of a CI job stays."""
    current = git.run("symbolic-ref", "--quiet", "HEAD").stdout.strip()
    if current == f"refs/heads/{branch}" and git.run("update-ref", current, commit, base).returncode == 0:
        changed = git("diff", "--name-only", "-z", base, commit).split("\0")
        git.run("reset", "--quiet", "--", *(path for path in changed if path))
