"""URLs of git repositories: which are served, their parts, and which parts to mask."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote, urlsplit

from rondel.errors import EngineError

PROTOCOLS = ("http", "https", "ssh", "git")
_SCHEME = re.compile(r"[a-zA-Z0-9]+(?=://)")
_SCP = re.compile(r"[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:.*")


class GitError(EngineError):
    """A git command failed, or the requested object does not exist."""


def is_remote(text: str) -> bool:
    """Whether an address is a remote repository's, not a path."""
    scheme = _SCHEME.match(text)
    return scheme[0].lower() in PROTOCOLS if scheme else _SCP.fullmatch(text) is not None


def split_fragment(text: str) -> tuple[str, str, str]:
    """URL, reference and path of ``URL#REF:PATH``; missing parts are empty."""
    url, _, fragment = text.partition("#")
    name, _, path = fragment.partition(":")
    return url, name, path


def remote_url(url: str) -> str:
    """The URL for git: without the fragment; the SSH user is ``git`` unless given."""
    bare = url.partition("#")[0]
    if bare.startswith("ssh://") and "@" not in urlsplit(bare).netloc:
        return bare.replace("ssh://", "ssh://git@", 1)
    return bare


def clean_url(url: str) -> str:
    """The URL with its protocol; raises GitError for protocols that are not served.

    ``host/path`` without a protocol is HTTPS, ``user@host:path`` is SSH as in git.
    """
    scheme = _SCHEME.match(url)
    if scheme is not None:
        name = scheme[0].lower()
        if name not in PROTOCOLS:
            raise GitError(f'failed to parse Git URL: invalid protocol "{name}"')
        return name + url[scheme.end() :]
    if _SCP.fullmatch(url):
        return url
    if not url or url.startswith(("-", "/", ".")) or "::" in url or "://" in url:
        raise GitError(f'failed to parse Git URL: "{url}"', hint="give a URL such as https://host/path")
    return f"https://{url}"


def is_ssh(url: str) -> bool:
    """Whether a repository is reached by SSH."""
    return url.startswith("ssh://") or "://" not in url


def origin_of(url: str) -> str:
    """Protocol, host and port of a URL, for settings that apply to one server."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"


def basic(login: str) -> tuple[str, tuple[str, ...]]:
    """The Authorization header for ``user:password``, and the parts of it to mask."""
    encoded = base64.b64encode(login.encode()).decode()
    return f"Basic {encoded}", tuple(filter(None, (login.partition(":")[2], encoded)))


def login_of(url: str) -> str:
    """``user:password`` of a URL; empty if it has no password."""
    parts = urlsplit(url)
    return unquote(parts.netloc.rpartition("@")[0]) if parts.password else ""
