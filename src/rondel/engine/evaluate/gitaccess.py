"""Runs git: the access to a repository, and what git may see and do during a command."""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from rondel.engine.evaluate.gitlogins import Logins
from rondel.engine.evaluate.giturls import (
    PROTOCOLS,
    GitError,
    basic,
    is_ssh,
    login_of,
    origin_of,
    remote_url,
)
from rondel.engine.evaluate.secrets import SessionSecrets
from rondel.engine.evaluate.services import SessionServices
from rondel.secrets.logins import without_login
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rondel.engine.evaluate.session import Session
    from rondel.engine.store import View
    from rondel.engine.values.git import GitRepository


REMOTE = "rondel"
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


_TOKEN_USERS = {"bitbucket.org": "x-token-auth"}
"""The user name for a token by host; most servers accept GitHub's ``x-access-token``."""


LOGIN_REFUSED = "git authentication failed"
SHA_REFUSED = "sha fetch unsupported by remote"
_MEANINGS = (
    ("authentication failed", LOGIN_REFUSED),
    ("authentication required", LOGIN_REFUSED),
    ("fatal: could not read username", LOGIN_REFUSED),
    ("fatal: could not read password", LOGIN_REFUSED),
    ("not a git repository", "not a git repository"),
    ("unadvertised object", SHA_REFUSED),
    ("not our ref", SHA_REFUSED),
    ("couldn't find remote ref", SHA_REFUSED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAccess:
    """The access to a repository: its URL for git, settings, variables, and texts to mask.

    ``origin`` is the server to log in to if it asks for credentials and none were given.
    """

    url: str
    origin: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()


def environment(access: GitAccess, environ: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of a git command, with its settings in GIT_CONFIG_* variables."""
    protocols = PROTOCOLS if not access.url.startswith("file:") else ("file",)
    settings = {
        **_SETTINGS,
        **{f"protocol.{name}.allow": "always" for name in protocols},
        f"remote.{REMOTE}.url": access.url,
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


async def git(session: Session, access: GitAccess, *args: str, cwd: Path, missing: str = "") -> str:
    """Run git and return its output. Raises GitError with git's message on failure.

    ``missing`` is the message if the repository does not exist. If the server asks for
    credentials and none were given, the user's own git configuration is asked.
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
    text = Masker(access.silent, shortest=1).text(text)
    if missing and "not appear to be a git repository" in text:
        raise GitError(missing)
    meaning = _meaning(text)
    if meaning == LOGIN_REFUSED and access.origin:
        login = await session.part(Logins).ask(access.url)
        if login:
            return await git(session, _logged_in(access, *basic(login)), *args, cwd=cwd, missing=missing)
    if meaning is not None:
        raise GitError(f"git error: {meaning}")
    raise GitError(f"git error: exit status {done.returncode}", why=text)


def _logged_in(access: GitAccess, header: str, silent: tuple[str, ...]) -> GitAccess:
    """The access with an authorization for its origin."""
    settings = {**access.settings, f"http.{access.origin}.extraHeader": f"Authorization: {header}"}
    return replace(access, settings=settings, silent=(*access.silent, *silent), origin="")


def _meaning(text: str) -> str | None:
    """The meaning of a git message, as far as callers distinguish messages."""
    lower = text.lower()
    return next((meaning for said, meaning in _MEANINGS if said in lower), None)


@asynccontextmanager
async def accessed(session: Session, repository: GitRepository) -> AsyncIterator[GitAccess]:
    """Make a repository accessible: start its service, copy its files, fetch its secrets."""
    async with AsyncExitStack() as stack:
        if repository.local:
            yield await _local(session, repository, stack)
            return
        url = remote_url(repository.url)
        header, silent = "", tuple[str, ...]()
        if url.startswith("http"):
            # A login in the URL is sent as a header instead, because git prints the URL in some messages.
            header, silent = await _authorization(session, repository, url)
            url = without_login(url)
        elif login_of(url):
            silent = basic(login_of(url))[1]
        origin, settings = origin_of(url), dict[str, str]()
        if repository.service is not None:
            origin, settings = await _through_service(session, repository, origin, stack)
        env = await _ssh(session, repository, stack) if is_ssh(url) else {}
        access = GitAccess(url=url, settings=settings, env=env, silent=silent)
        if url.startswith("http"):
            access = replace(access, origin=origin)
        yield _logged_in(access, header, silent) if header else access


async def _authorization(
    session: Session, repository: GitRepository, url: str
) -> tuple[str, tuple[str, ...]]:
    """The authorization header for an HTTP server, if there is one, and the parts of it to mask."""
    if repository.token is not None:
        token = (
            (await session.part(SessionSecrets).plaintext(repository.token)).decode(errors="replace").strip()
        )
        user = repository.username or _TOKEN_USERS.get(urlsplit(url).hostname or "", "x-access-token")
        return basic(f"{user}:{token}")
    if repository.header is not None:
        header = (
            (await session.part(SessionSecrets).plaintext(repository.header)).decode(errors="replace").strip()
        )
        return header, (header,) if header else ()
    login = login_of(url) or session.part(Logins).known.get(without_login(url), "")
    return basic(login) if login else ("", ())


async def _through_service(
    session: Session, repository: GitRepository, origin: str, stack: AsyncExitStack
) -> tuple[str, dict[str, str]]:
    """Let git reach a service of the session by name: the origin to connect to, and the settings.

    The settings refer to the address: git looks them up after it has replaced the name.
    """
    attachment = await stack.enter_async_context(
        session.part(SessionServices).bound([("", repository.service)])
    )
    parts = urlsplit(origin)
    address = next((a for a, name in attachment.hosts if name == parts.hostname), None)
    if address is None:
        return origin, {}
    reached = f"{parts.scheme}://{address}{f':{parts.port}' if parts.port else ''}/"
    return reached, {f"url.{reached}.insteadOf": origin}


async def _ssh(session: Session, repository: GitRepository, stack: AsyncExitStack) -> dict[str, str]:
    """The variables for SSH: the agent's socket, and the known hosts."""
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
        folder = await stack.enter_async_context(scratch_folder(session))
        known = folder / "known_hosts"
        await anyio.Path(known).write_text(repository.known_hosts)
        command += f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}"
    else:
        command += " -o StrictHostKeyChecking=accept-new"
    return {"SSH_AUTH_SOCK": agent, "GIT_SSH_COMMAND": command}


@asynccontextmanager
async def scratch_folder(session: Session) -> AsyncIterator[Path]:
    """A temporary folder in the session's scratch folder, removed at the end of the block."""
    folder = session.store.new_path()
    await anyio.Path(folder).mkdir(mode=0o755)
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _local(session: Session, repository: GitRepository, stack: AsyncExitStack) -> GitAccess:
    """A copy of a directory's git folder without anything that git would execute or follow."""
    view = await session.view(repository.fs)
    inside = git_folder(view, repository.path)
    if inside is None:
        raise GitError("git error: not a git repository")
    folder = await stack.enter_async_context(scratch_folder(session))
    copy = folder / "r.git"
    await session.store.export(view, inside, copy)
    await anyio.to_thread.run_sync(_defuse, copy)
    return GitAccess(url=f"file://{copy}")


def git_folder(view: View, path: str) -> str | None:
    """The path of a directory's git folder, found as git does: ``.git`` there or in a parent directory.

    A bare repository on the way is itself a git folder.
    """
    current = path
    while True:
        for candidate in (posixpath.join(current, ".git"), current):
            if all(view.lookup(posixpath.join(candidate, part)) for part in ("HEAD", "objects", "refs")):
                return candidate
        if current in {"", "/"}:
            return None
        current = posixpath.dirname(current)


def _defuse(folder: Path) -> None:
    """Remove from a git folder whatever could make git run programs or read other paths."""
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
