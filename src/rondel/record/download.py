"""Helpers for capsules that come from a server: a temporary file, and which server a login is for."""

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
    """The path of a file below ``into`` that is removed at the end."""
    into.mkdir(parents=True, exist_ok=True)
    file = into / f".{os.getpid()}.{secrets.token_hex(4)}.download"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def login_is_for(server: str, *own: str | None) -> bool:
    """Whether ``server`` may get the environment's login; ``own`` are the servers that it is for.

    If those are known, no other server gets it, because people paste addresses
    from other people.
    """
    known = {_origin(each) for each in own if each}
    return not known or _origin(server) in known


def reason(error: Exception) -> str:
    """The first line of another library's error, or the error's name."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
