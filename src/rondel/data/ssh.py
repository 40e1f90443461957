"""Resolves SSH remotes with the user's configuration, because containers lack ``~/.ssh/config``."""

from __future__ import annotations

import getpass
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 5


def resolve_ssh_address(
    url: str, options: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """The address and options, with host, port, user and key from OpenSSH's configuration.

    The address and DVC's own options take precedence. No key is added if there is a
    password. Raises ValueError for an invalid address.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")
    known = _configured(host, environ)
    found = dict(options)
    port = parts.port or (None if "port" in found else _other_port(known))
    if not parts.username and "user" not in found:
        found["user"] = known.get("user") or environ.get("USER") or _login()
    if "keyfile" not in found and "password" not in found:
        key = Path(known.get("identityfile", "")).expanduser()
        if known.get("identityfile") and key.is_file():
            found["keyfile"] = str(key)
    login = parts.netloc.rpartition("@")[0]
    name = known.get("hostname") or host
    name = f"[{name}]" if ":" in name and not name.startswith("[") else name
    netloc = (f"{login}@" if login else "") + name + (f":{port}" if port else "")
    return urlunsplit(parts._replace(netloc=netloc)), found


def _configured(host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The output of ``ssh -G`` for the host; of several keys, the first whose file exists."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", host):
        return {}
    output = ""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["ssh", "-G", host],
            env=dict(environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        output = done.stdout if done.returncode == 0 else ""
    found: dict[str, str] = {}
    for line in output.splitlines():
        key, _, value = line.partition(" ")
        if key == "identityfile" and not Path(value).expanduser().is_file():
            continue
        found.setdefault(key, value)
    return found


def _other_port(known: Mapping[str, str]) -> int | None:
    port = known.get("port", "22")
    return int(port) if port.isdigit() and port != "22" else None


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "root"
