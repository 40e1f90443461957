"""The machine's settings for registries and images.

A TOML file, ``$RONDEL_ENGINE_CONFIG`` or ``rondel/engine.toml`` in the XDG
configuration directory::

    host-image = "never"                     # or "auto", the default
    images = ["/srv/images"]                 # OCI layouts and archives to search first

    [registries."docker.io"]
    mirrors = ["https://mirror.example.com/dockerhub"]

    [registries."registry.lan:5000"]
    plain-http = true                        # the default only for loopback
    ca = "/etc/ssl/registry-lan.pem"

Environment variables override it: ``RONDEL_ENGINE_HOST_IMAGE``,
``RONDEL_ENGINE_IMAGES`` (paths), ``RONDEL_ENGINE_MIRRORS``
(``docker.io=https://one,https://two docker.io.example=…``, separated by spaces)
and ``RONDEL_ENGINE_PLAIN_HTTP`` (hosts, separated by commas).
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_REGISTRY_KEYS = ("mirrors", "plain-http", "ca")
_KEYS = ("host-image", "images", "registries")


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """One registry: its mirrors, which are asked first, whether it uses plain HTTP, and its CA."""

    mirrors: tuple[str, ...] = ()
    plain_http: bool = False
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """All settings for images."""

    host_image: str = "auto"
    images: tuple[Path, ...] = ()
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)

    def registry(self, name: str) -> RegistrySettings:
        """The settings of one registry."""
        return self.registries.get(name, RegistrySettings())

    def plain_http(self, host: str) -> bool:
        """Whether to use plain HTTP with this host: only if configured, and on loopback."""
        return self.registry(host).plain_http or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine's loopback."""
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 or host.startswith("[") else host
    name = name.strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def load(environ: Mapping[str, str] | None = None) -> ImageSettings:
    """The settings from the file and the environment; ConfigurationError for an error in either."""
    environ = os.environ if environ is None else environ
    path = _path(environ)
    value = _read(path)
    for key in value:
        if key not in _KEYS:
            raise ConfigurationError(f"unknown key {key!r}", hint=did_you_mean(key, _KEYS), place=str(path))
    registries = {name: _registry(name, table, path) for name, table in value.get("registries", {}).items()}
    for name, urls in _mirrors(environ.get("RONDEL_ENGINE_MIRRORS", "")).items():
        old = registries.get(name, RegistrySettings())
        registries[name] = RegistrySettings(urls, old.plain_http, old.ca)
    for name in filter(None, (n.strip() for n in environ.get("RONDEL_ENGINE_PLAIN_HTTP", "").split(","))):
        old = registries.get(name, RegistrySettings())
        registries[name] = RegistrySettings(old.mirrors, plain_http=True, ca=old.ca)
    host_image = environ.get("RONDEL_ENGINE_HOST_IMAGE") or value.get("host-image", "auto")
    if host_image not in ("auto", "never"):
        raise ConfigurationError(
            f"host-image is {host_image!r}: 'auto' or 'never' is expected",
            place="RONDEL_ENGINE_HOST_IMAGE" if "RONDEL_ENGINE_HOST_IMAGE" in environ else str(path),
        )
    images = environ.get("RONDEL_ENGINE_IMAGES")
    folders = images.split(os.pathsep) if images else value.get("images", [])
    return ImageSettings(
        host_image, tuple(Path(folder).expanduser() for folder in folders if folder), registries
    )


def _path(environ: Mapping[str, str]) -> Path:
    if configured := environ.get("RONDEL_ENGINE_CONFIG"):
        return Path(configured)
    base = environ.get("XDG_CONFIG_HOME")
    folder = Path(base) if base else Path(environ.get("HOME", "/")) / ".config"
    return folder / "rondel/engine.toml"


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"the engine's configuration cannot be read: {error}", place=str(path)
        ) from None


def _registry(name: str, table: Any, path: Path) -> RegistrySettings:
    place = f"{path}: registries.{name}"
    if not isinstance(table, dict):
        raise ConfigurationError("a table is expected", place=place)
    for key in table:
        if key not in _REGISTRY_KEYS:
            raise ConfigurationError(
                f"unknown key {key!r}", hint=did_you_mean(key, _REGISTRY_KEYS), place=place
            )
    mirrors = table.get("mirrors", [])
    if not isinstance(mirrors, list) or not all(isinstance(url, str) for url in mirrors):
        raise ConfigurationError("mirrors is a list of URLs", place=place)
    plain, ca = table.get("plain-http", False), table.get("ca")
    if not isinstance(plain, bool):
        raise ConfigurationError("plain-http is true or false", place=place)
    return RegistrySettings(tuple(mirrors), plain, Path(ca) if ca else None)


def _mirrors(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for word in text.split():
        name, equals, urls = word.partition("=")
        if not equals or not urls:
            raise ConfigurationError(
                f"{word!r} is not REGISTRY=URL[,URL]", place="RONDEL_ENGINE_MIRRORS",
                hint="RONDEL_ENGINE_MIRRORS='docker.io=https://mirror.example.com'",
            )  # fmt: skip
        found[name] = tuple(url for url in urls.split(",") if url)
    return found
