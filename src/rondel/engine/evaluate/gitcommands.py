"""The engine's git operations: the command line program, isolated from all configuration.

No system, user or repository configuration is read, no hook runs, nothing prompts on a
terminal, and only the served protocols are enabled. Credentials are passed in the
environment, never on the command line, and are removed from every message.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rondel.engine.evaluate.gitaccess import REMOTE, GitAccess, accessed, git, scratch_folder
from rondel.engine.evaluate.giturls import GitError, remote_url
from rondel.engine.evaluate.operations import operation
from rondel.engine.values.git import Advertised, GitRef, GitRepository
from rondel.engine.values.node import Fs, Node, digest_of
from rondel.secrets.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rondel.engine.evaluate.session import Session
    from rondel.engine.store import OperationResult


async def advertised(session: Session, repository: GitRepository) -> Advertised:
    """The references of a repository. Raises GitError."""
    async with accessed(session, repository) as access, scratch_folder(session) as folder:
        text = await git(
            session,
            access,
            "ls-remote",
            "--symref",
            REMOTE,
            cwd=folder,
            missing="git error: not a git repository",
        )
    return Advertised.parse(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The source of a tree."""

    ref: GitRef
    discard_git_dir: bool = False
    depth: int = 1
    include_tags: bool = False


def tree_of(checkout: Checkout) -> Fs:
    """The file system of a commit's tree. Its key depends on the commit, not on the access."""
    ref, repository = checkout.ref, checkout.ref.repository
    origin = repository.fs.key if repository.fs else without_login(remote_url(repository.url))
    key = digest_of(
        "git-tree", origin, repository.path, ref.full_name, ref.sha,
        checkout.discard_git_dir, checkout.depth, checkout.include_tags,
    )  # fmt: skip
    inputs = (repository.fs,) if repository.fs else ()
    return Fs(Node("git-tree", key, inputs, checkout))


@operation("git-tree")
async def _git_tree(session: Session, node: Node) -> OperationResult:
    checkout: Checkout = node.params
    repository = checkout.ref.repository
    folder = session.store.new_path()
    try:
        await anyio.Path(folder).mkdir(mode=0o755)
        async with accessed(session, repository) as access:
            await _check_out(session, access, folder, checkout)
        await anyio.to_thread.run_sync(_tidy, folder, checkout.discard_git_dir)
        layer = await session.store.publish(folder)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
    from rondel.engine.store import Snapshot

    return session.result(Snapshot((layer,)))


async def _check_out(session: Session, access: GitAccess, folder: Path, checkout: Checkout) -> None:
    ref, local = checkout.ref, checkout.ref.repository.local
    shown = without_login(remote_url(ref.repository.url))

    async def run(*args: str, with_access: GitAccess = access) -> str:
        return await git(session, with_access, *args, cwd=folder)

    await run("init", "-q", "--template=")
    with _within(f"failed to checkout {ref.full_name}" if local else f"failed to fetch remote {shown}"):
        await _fetch(run, checkout)
    with _within(f"failed to checkout {ref.full_name}" + ("" if local else f" in {shown}")):
        if ref.full_name:
            await run("update-ref", ref.full_name, ref.sha)
        target = ref.full_name.removeprefix("refs/heads/") if ref.full_name else ref.sha
        await run("checkout", "-q", "--force", target)
        await run("reset", "-q", "--hard", ref.sha)
        if not local:
            await run("remote", "add", "origin", shown)
        if (folder / ".gitmodules").is_file():
            with _within("failed to update submodules"):
                arguments = ("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
                # The submodules of a local repository may still be remote.
                await run(*arguments, with_access=replace(access, url="") if local else access)
    await run("update-ref", "-d", "refs/rondel/tree")
    await run("reflog", "expire", "--all", "--expire=now")
    if not checkout.discard_git_dir:
        await run("read-tree", "HEAD")  # an index without this machine's file times


@contextmanager
def _within(what: str) -> Iterator[None]:
    """Prefix an error with the step that failed."""
    try:
        yield
    except GitError as error:
        raise GitError(f"{what}: {error.what}", why=error.why, hint=error.hint) from None


async def _fetch(run: Callable[..., Awaitable[str]], checkout: Checkout) -> None:
    """Fetch one commit: by hash, or if the server does not allow that, by reference, or everything.

    Tags of the fetched commits are included from a local repository, and from a remote one if
    requested.
    """
    ref = checkout.ref
    depth = [f"--depth={checkout.depth}"] if checkout.depth > 0 else []
    tags = [] if checkout.include_tags or ref.repository.local else ["--no-tags"]
    wanted = [f"{ref.sha}:refs/rondel/tree"]
    fallback = [f"{ref.full_name}:refs/rondel/tree"] if ref.full_name else ["+refs/*:refs/rondel/all/*"]
    try:
        await run("fetch", "-q", "-u", *depth, *tags, REMOTE, *wanted)
    except GitError as error:
        await run("fetch", "-q", "-u", *tags, REMOTE, *fallback)
        try:
            await run("cat-file", "-e", f"{ref.sha}^{{commit}}")
        except GitError:
            raise error from None


def _tidy(folder: Path, discard_git_dir: bool) -> None:
    (folder / ".git" / "FETCH_HEAD").unlink(missing_ok=True)
    shutil.rmtree(folder / ".git" / "refs" / "rondel", ignore_errors=True)  # fetched only to search it
    if discard_git_dir:
        shutil.rmtree(folder / ".git", ignore_errors=True)
    # Not the epoch: some build tools take that for a missing file.
    for base, directories, files in os.walk(folder):
        for name in [*directories, *files]:
            os.utime(Path(base, name), (1, 1), follow_symlinks=False)
    os.utime(folder, (1, 1))


async def merge_base(session: Session, one: GitRef, two: GitRef) -> str:
    """The best common ancestor of two commits. Raises GitError if there is none."""
    async with scratch_folder(session) as folder:
        for ref in (one, two):
            async with accessed(session, ref.repository) as access:
                if not (folder / "HEAD").exists():
                    await git(session, access, "init", "-q", "--bare", "--template=", cwd=folder)
                await git(session, access, "fetch", "-q", REMOTE, ref.sha, cwd=folder)
        access = GitAccess(url="")
        with _within("git merge-base failed"):
            text = await git(session, access, "merge-base", one.sha, two.sha, cwd=folder)
    return text.strip()


def cleaned(repository: GitRepository, top: str) -> Fs:
    """A local repository's working tree at its last commit; ignored files stay.

    ``top`` is the directory that contains the git folder.
    """
    assert repository.fs is not None  # noqa: S101 - remote repositories are never cleaned
    key = digest_of("git-clean", repository.fs.key, top)
    return Fs(Node("git-clean", key, (repository.fs,), (repository, top)))


@operation("git-clean")
async def _git_clean(session: Session, node: Node) -> OperationResult:
    from rondel.engine.store import Snapshot

    repository, top = node.params
    view = await session.view(repository.fs)
    folder = session.store.new_path()
    try:
        await session.store.export(view, top, folder)
        async with accessed(session, repository) as access, scratch_folder(session) as scratch:
            copy = Path(access.url.removeprefix("file://"))
            env = {
                "GIT_DIR": str(copy),
                "GIT_WORK_TREE": str(folder),
                "GIT_INDEX_FILE": str(scratch / "index"),
            }
            own = GitAccess(url=access.url, env=env)
            for args in (("read-tree", "HEAD"), ("checkout-index", "-q", "-f", "-a"), ("clean", "-q", "-fd")):
                await git(session, own, *args, cwd=folder)
        layer = await session.store.publish(folder)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
    return session.result(Snapshot((layer,)))
