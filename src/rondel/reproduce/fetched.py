"""What all sources of capsules need: a file to fetch into, and whom a login is for."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def temporary(into: Path) -> Iterator[Path]:
    """The name of a file below ``into`` that is gone afterwards."""
    into.mkdir(parents=True, exist_ok=True)
    file = into / f".{os.getpid()}.{secrets.token_hex(4)}.download"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def login_is_for(server: str, *own: str | None) -> bool:
    """Whether the environment's login may be sent to ``server``; ``own`` are the servers that it is for.

    Where they are known, another one must not see it: people paste addresses
    that somebody else gave them.
    """
    known = {_origin(each) for each in own if each}
    return not known or _origin(server) in known


def said(error: Exception) -> str:
    """The first line of a foreign error, or its name."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
