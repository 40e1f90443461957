"""What the engine does with git: the command line program, kept from everybody's configuration.

No system, user or repository configuration takes part, no hook runs, nothing asks on a
terminal, and only the protocols that are meant are open. Credentials go in by the
environment, never by the command line, and are taken out of every message.
"""

from __future__ import annotations

import base64
import os
import posixpath
import shutil
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import anyio
import anyio.to_thread

from rondel.engine.evaluate.operations import operation
from rondel.engine.evaluate.secrets import Secrets
from rondel.engine.evaluate.services import Services
from rondel.engine.values.git import Advertised, GitRef, GitRepository
from rondel.engine.values.node import Fs, Node, digest_of
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from rondel.engine.evaluate.session import Session
    from rondel.engine.store import Result, View

_REMOTE = "rondel"
_PROTOCOLS = ("http", "https", "ssh", "git")
_KEPT = (
    "PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
)  # fmt: skip
_SETTINGS = {
    "protocol.allow": "never",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "credential.helper": "",
    "init.defaultBranch": "main",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "safe.directory": "*",
    "fetch.fsckObjects": "false",
}


class GitError(EngineError):
    """A git command failed, or what was asked for is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one gets at a repository: its URL for git, settings, variables, and what to keep silent."""

    url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()


def environment(access: Access, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a git command, with its settings in GIT_CONFIG_* variables."""
    protocols = _PROTOCOLS if not access.url.startswith("file:") else ("file",)
    settings = {
        **_SETTINGS,
        **{f"protocol.{name}.allow": "always" for name in protocols},
        f"remote.{_REMOTE}.url": access.url,
        **access.settings,
    }
    env = {name: environ[name] for name in _KEPT if name in environ}
    env |= {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
        "LC_ALL": "C",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (name, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return {**env, **access.env}


async def git(session: Session, access: Access, *args: str, cwd: Path, missing: str = "") -> str:
    """Run git and give back what it prints. Raises GitError with what it says on failure.

    ``missing`` is the message when the repository is not one.
    """
    program = shutil.which("git")
    if program is None:
        raise GitError(
            "git is not installed here", hint="install git: the engine uses it to read repositories"
        )
    done = await anyio.run_process(
        [program, *args],
        cwd=cwd,
        env=environment(access, session.environ),
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode == 0:
        return done.stdout.decode(errors="replace")
    text = done.stderr.decode(errors="replace").strip()
    for secret in access.silent:
        text = text.replace(secret, "***")
    if missing and "not appear to be a git repository" in text:
        raise GitError(missing)
    raise GitError(f"git error: exit status {done.returncode}", why=text)


# Getting at a repository


def clean_url(url: str) -> str:
    """The URL as git takes it; raises GitError for protocols that are not served.

    ``host/path`` without a protocol is HTTPS, ``user@host:path`` is SSH as everywhere in git.
    """
    scheme, separator, _ = url.partition("://")
    if separator:
        if scheme not in _PROTOCOLS:
            raise GitError(
                f'failed to parse Git URL: unsupported protocol "{scheme}"',
                hint="for a repository on this machine use host().directory(path).as_git()",
            )
        return url
    head, colon, rest = url.partition(":")
    if colon and "/" not in head and "@" in head:
        return url
    if not url or url.startswith(("-", "/", ".")) or rest.startswith(":"):
        raise GitError(f'failed to parse Git URL: "{url}"', hint="give a URL such as https://host/path")
    return f"https://{url}"


@asynccontextmanager
async def accessed(session: Session, repository: GitRepository) -> AsyncIterator[Access]:
    """Have a repository within reach: its service runs, its files are there, its secrets are known."""
    async with AsyncExitStack() as stack:
        if repository.local:
            yield await _local(session, repository, stack)
            return
        url, settings, silent = _with_credentials(repository.url)
        origin = _origin(url)
        if repository.token is not None:
            token = (await session.part(Secrets).plaintext(repository.token)).decode(errors="replace").strip()
            login = f"{repository.username or 'x-access-token'}:{token}"
            encoded = base64.b64encode(login.encode()).decode()
            settings[f"http.{origin}.extraHeader"] = f"Authorization: basic {encoded}"
            silent += [token, encoded]
        elif repository.header is not None:
            header = (
                (await session.part(Secrets).plaintext(repository.header)).decode(errors="replace").strip()
            )
            settings[f"http.{origin}.extraHeader"] = f"Authorization: {header}"
            silent.append(header)
        if repository.service is not None:
            settings |= await _through_service(session, repository, origin, stack)
        env = await _ssh(session, repository, stack) if _is_ssh(url) else {}
        yield Access(url=url, settings=settings, env=env, silent=tuple(filter(None, silent)))


def _is_ssh(url: str) -> bool:
    return url.startswith("ssh://") or "://" not in url


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}/"


def _with_credentials(url: str) -> tuple[str, dict[str, str], list[str]]:
    """A URL's own login as a header of its own host: the URL itself is printed by git at times."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.password is None:
        return url, {}, []
    login = parts.netloc.rpartition("@")[0]
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    encoded = base64.b64encode(login.encode()).decode()
    return (
        bare,
        {f"http.{_origin(bare)}.extraHeader": f"Authorization: basic {encoded}"},
        [parts.password, encoded],
    )


async def _through_service(
    session: Session, repository: GitRepository, origin: str, stack: AsyncExitStack
) -> dict[str, str]:
    """Let git reach a service of the session by its name."""
    joined = await stack.enter_async_context(session.part(Services).bound([("", repository.service)]))
    address = next((a for a, name in joined.hosts if name == urlsplit(repository.url).hostname), None)
    if address is None:
        return {}
    parts = urlsplit(origin)
    port = f":{parts.port}" if parts.port else ""
    return {f"url.{parts.scheme}://{address}{port}/.insteadOf": origin}


async def _ssh(session: Session, repository: GitRepository, stack: AsyncExitStack) -> dict[str, str]:
    """The variables for SSH: the agent's socket, and the hosts that are known."""
    agent = (
        repository.auth_socket.path if repository.auth_socket else session.environ.get("SSH_AUTH_SOCK", "")
    )
    if not agent:
        raise GitError(
            "git authentication failed: SSH URLs are not supported without an SSH socket",
            hint="start an SSH agent and load the key (ssh-add), or use HTTPS with a token",
        )
    command = "ssh -F /dev/null -o BatchMode=yes"
    if repository.known_hosts:
        folder = await stack.enter_async_context(_scratch(session))
        known = folder / "known_hosts"
        await anyio.Path(known).write_text(repository.known_hosts)
        command += f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}"
    else:
        command += " -o StrictHostKeyChecking=accept-new"
    return {"SSH_AUTH_SOCK": agent, "GIT_SSH_COMMAND": command}


@asynccontextmanager
async def _scratch(session: Session) -> AsyncIterator[Path]:
    folder = session.store.new_path()
    await anyio.Path(folder).mkdir(mode=0o755)
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _local(session: Session, repository: GitRepository, stack: AsyncExitStack) -> Access:
    """A copy of a directory's git folder, with nothing in it that git would run or follow."""
    view = await session.view(repository.fs)
    inside = git_folder(view, repository.path)
    if inside is None:
        raise GitError("git error: not a git repository")
    folder = await stack.enter_async_context(_scratch(session))
    copy = folder / "r.git"
    await session.store.export(view, inside, copy)
    await anyio.to_thread.run_sync(_defuse, copy)
    return Access(url=f"file://{copy}")


def git_folder(view: View, path: str) -> str | None:
    """The path of a directory's git folder: ``.git`` in it, or itself if it is a bare repository."""
    for candidate in (posixpath.join(path, ".git"), path):
        if all(view.lookup(posixpath.join(candidate, part)) for part in ("HEAD", "objects", "refs")):
            return candidate
    return None


def _defuse(folder: Path) -> None:
    """Take out of a git folder what could make git run programs or read elsewhere."""
    for base, directories, files in os.walk(folder):
        links = [name for name in directories + files if Path(base, name).is_symlink()]
        if links:
            raise GitError(
                f"the git folder holds a symbolic link, {Path(base, links[0]).relative_to(folder)}"
            )
    config = folder / "config"
    text = config.read_text(errors="replace") if config.exists() else ""
    sha256 = "objectformat = sha256" in text.lower()
    extension = "[extensions]\n\tobjectformat = sha256\n" if sha256 else ""
    config.write_text(f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tbare = true\n{extension}")
    for name in ("objects/info/alternates", "objects/info/http-alternates", "commondir", "config.worktree"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "hooks", ignore_errors=True)


# Asking, fetching


async def advertised(session: Session, repository: GitRepository) -> Advertised:
    """The references of a repository. Raises GitError."""
    async with accessed(session, repository) as access, _scratch(session) as folder:
        text = await git(
            session,
            access,
            "ls-remote",
            "--symref",
            _REMOTE,
            cwd=folder,
            missing="git error: not a git repository",
        )
    return Advertised.parse(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What a tree is made of."""

    ref: GitRef
    discard_git_dir: bool = False
    depth: int = 1
    include_tags: bool = False


def tree_of(checkout: Checkout) -> Fs:
    """The file system of a commit's tree. It depends on the commit, not on who fetched it how."""
    ref, repository = checkout.ref, checkout.ref.repository
    origin = repository.fs.key if repository.fs else _without_login(repository.url)
    key = digest_of(
        "git-tree", origin, repository.path, ref.full_name, ref.sha,
        checkout.discard_git_dir, checkout.depth, checkout.include_tags,
    )  # fmt: skip
    inputs = (repository.fs,) if repository.fs else ()
    return Fs(Node("git-tree", key, inputs, checkout))


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.scheme else url


@operation("git-tree")
async def _git_tree(session: Session, node: Node) -> Result:
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


async def _check_out(session: Session, access: Access, folder: Path, checkout: Checkout) -> None:
    ref = checkout.ref

    async def run(*args: str) -> str:
        return await git(session, access, *args, cwd=folder)

    await run("init", "-q", "--template=")
    await _fetch(run, ref, checkout)
    if ref.full_name:
        await run("update-ref", ref.full_name, ref.sha)
    target = ref.full_name.removeprefix("refs/heads/") if ref.full_name else ref.sha
    await run("checkout", "-q", "--force", target)
    await run("reset", "-q", "--hard", ref.sha)
    if not ref.repository.local:
        await run("remote", "add", "origin", _without_login(ref.repository.url))
        if (folder / ".gitmodules").is_file():
            await run("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    await run("update-ref", "-d", "refs/rondel/tree")
    await run("reflog", "expire", "--all", "--expire=now")
    if not checkout.discard_git_dir:
        await run("read-tree", "HEAD")  # an index without this machine's file times


async def _fetch(run: Callable[..., Awaitable[str]], ref: GitRef, checkout: Checkout) -> None:
    """Fetch one commit: by its hash, or, where the server gives none by hash, by its reference, or all."""
    depth = [f"--depth={checkout.depth}"] if checkout.depth > 0 else []
    tags = ["--tags"] if checkout.include_tags else []
    wanted = [f"{ref.sha}:refs/rondel/tree"]
    fallback = [f"{ref.full_name}:refs/rondel/tree"] if ref.full_name else ["+refs/*:refs/rondel/all/*"]
    try:
        await run("fetch", "-q", "-u", *depth, *tags, _REMOTE, *wanted)
    except GitError:
        await run("fetch", "-q", "-u", *tags, _REMOTE, *fallback)
        await run("cat-file", "-e", f"{ref.sha}^{{commit}}")


def _tidy(folder: Path, discard_git_dir: bool) -> None:
    (folder / ".git" / "FETCH_HEAD").unlink(missing_ok=True)
    if discard_git_dir:
        shutil.rmtree(folder / ".git", ignore_errors=True)
    # Not the epoch: some build tools take it for a missing file.
    for base, directories, files in os.walk(folder):
        for name in [*directories, *files]:
            os.utime(Path(base, name), (1, 1), follow_symlinks=False)
    os.utime(folder, (1, 1))


async def merge_base(session: Session, one: GitRef, two: GitRef) -> str:
    """The commit at which two histories part. Raises GitError when they have none in common."""
    async with _scratch(session) as folder:
        for ref in (one, two):
            async with accessed(session, ref.repository) as access:
                if not (folder / "HEAD").exists():
                    await git(session, access, "init", "-q", "--bare", "--template=", cwd=folder)
                await git(session, access, "fetch", "-q", _REMOTE, ref.sha, cwd=folder)
        access = Access(url="")
        text = await git(session, access, "merge-base", one.sha, two.sha, cwd=folder)
    return text.strip()


def cleaned(repository: GitRepository) -> Fs:
    """A local repository's directory as its last commit has it, ignored files left alone."""
    assert repository.fs is not None
    key = digest_of("git-clean", repository.fs.key, repository.path)
    return Fs(Node("git-clean", key, (repository.fs,), repository))


@operation("git-clean")
async def _git_clean(session: Session, node: Node) -> Result:
    from rondel.engine.store import Snapshot

    repository: GitRepository = node.params
    view = await session.view(repository.fs)
    folder = session.store.new_path()
    try:
        await session.store.export(view, repository.path, folder)
        async with accessed(session, repository) as access, _scratch(session) as scratch:
            copy = Path(access.url.removeprefix("file://"))
            env = {
                "GIT_DIR": str(copy),
                "GIT_WORK_TREE": str(folder),
                "GIT_INDEX_FILE": str(scratch / "index"),
            }
            own = Access(url=access.url, env=env)
            for args in (("read-tree", "HEAD"), ("checkout-index", "-q", "-f", "-a"), ("clean", "-q", "-fd")):
                await git(session, own, *args, cwd=folder)
        layer = await session.store.publish(folder)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
    return session.result(Snapshot((layer,)))
