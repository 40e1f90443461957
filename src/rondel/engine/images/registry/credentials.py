"""Credentials for registries: the usual Docker and Podman files, and their helper programs."""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_HELPER_TIMEOUT = 30.0
_DOCKER_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, or an identity token to exchange for access tokens."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Keychain:
    """Looks up credentials for a registry: given ones first, then files, then helpers.

    ``given`` maps a registry, or a registry with the beginning of a repository, to credentials
    (from ``withRegistryAuth``).
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    given: Mapping[str, Credentials] = field(default_factory=dict)

    def lookup(self, registry: str, repository: str) -> Credentials | None:
        """The credentials for a repository; None for anonymous access. May run a helper, so it blocks."""
        for key in _names(registry, repository):
            for name, credentials in self.given.items():
                if _normal(name) == key:
                    return credentials
        for path in self._files():
            found = _from_file(_read(path), registry, repository, self.environ)
            if found is not None:
                return found
        return None

    def _files(self) -> list[Path]:
        """The files that docker and podman read, in the order of containers-auth.json(5)."""
        environ = self.environ
        home = Path(environ.get("HOME") or "/")
        files = []
        if configured := environ.get("REGISTRY_AUTH_FILE"):
            files.append(Path(configured))
        if configured := environ.get("DOCKER_CONFIG"):
            files.append(Path(configured) / "config.json")
        if runtime := environ.get("XDG_RUNTIME_DIR"):
            files.append(Path(runtime) / "containers/auth.json")
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        files.append(config / "containers/auth.json")
        if not environ.get("DOCKER_CONFIG"):
            files.append(home / ".docker/config.json")
        return files


def _names(registry: str, repository: str) -> list[str]:
    """The possible keys of an entry for a repository, the most specific first."""
    parts = repository.split("/")
    names = [f"{registry}/{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1)]
    return [*names, registry, *(_normal(hub) for hub in _DOCKER_HUB if registry == "docker.io")]


def _normal(name: str) -> str:
    """An entry's key without scheme and API version: ``https://index.docker.io/v1/``."""
    name = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    return name.removesuffix("/v1").removesuffix("/v2")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _from_file(
    config: dict[str, Any], registry: str, repository: str, environ: Mapping[str, str]
) -> Credentials | None:
    names = _names(registry, repository)
    helpers = {_normal(name): helper for name, helper in (config.get("credHelpers") or {}).items()}
    for name in names:
        if isinstance(helper := helpers.get(name), str):
            return _from_helper(helper, registry, environ)
    auths = {_normal(name): entry for name, entry in (config.get("auths") or {}).items()}
    for name in names:
        entry = auths.get(name)
        if isinstance(entry, dict) and (found := _from_entry(entry)) is not None:
            return found
    store = config.get("credsStore")
    return _from_helper(store, registry, environ) if isinstance(store, str) and store else None


def _from_entry(entry: dict[str, Any]) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(str(auth)).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    token = str(entry.get("identitytoken") or "")
    if not (username or token):
        return None
    return Credentials(username, password.rstrip("\0"), token)


def _from_helper(helper: str, registry: str, environ: Mapping[str, str]) -> Credentials | None:
    """Ask ``docker-credential-NAME get``; a missing helper or entry gives None."""
    if "/" in helper:
        return None
    program = shutil.which(f"docker-credential-{helper}", path=environ.get("PATH"))
    if program is None:
        return None
    server = _DOCKER_HUB[0] if registry == "docker.io" else registry
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_TIMEOUT,
            check=False, env=dict(environ),
        )  # fmt: skip
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if not isinstance(answer, dict) or not answer.get("Secret"):
        return None
    username, secret = str(answer.get("Username") or ""), str(answer["Secret"])
    return Credentials(identity_token=secret) if username == "<token>" else Credentials(username, secret)
