"""Running git: how a repository is reached, and what git may see and do meanwhile."""

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

from rondel.engine.evaluate.secrets import Secrets
from rondel.engine.evaluate.services import Services
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rondel.engine.evaluate.session import Session
    from rondel.engine.store import View
    from rondel.engine.values.git import GitRepository


REMOTE = "rondel"
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
        folder = await stack.enter_async_context(scratch_folder(session))
        known = folder / "known_hosts"
        await anyio.Path(known).write_text(repository.known_hosts)
        command += f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}"
    else:
        command += " -o StrictHostKeyChecking=accept-new"
    return {"SSH_AUTH_SOCK": agent, "GIT_SSH_COMMAND": command}


@asynccontextmanager
async def scratch_folder(session: Session) -> AsyncIterator[Path]:
    """A folder of the session's own, removed at the end of the block."""
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
    folder = await stack.enter_async_context(scratch_folder(session))
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
