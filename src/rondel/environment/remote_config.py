"""The configuration and credentials with which a container reaches the DVC remote.

Everything that may contain a secret, including the whole DVC configuration, is
a Dagger secret. Addresses on this machine's loopback are replaced by a host
name that the engine binds to a ``host.service``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from rondel.secrets.values import secret_options
from rondel.tracking.endpoint import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.data.remote import Remote
    from rondel.data.webdav import WebdavEndpoint

CACHE = "/dvc/cache"
SITE = "/dvc/site"
GLOBAL = "/dvc/config"
REMOTE_HOST = "dvc-remote"
_SECRETS = "/run/rondel"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteConfig:
    """The additions to a container: ``config`` is DVC's, ``hosts`` maps host names to ports of this machine.

    ``secret_files`` maps paths in the container to files here, ``hidden`` are
    the secret values in ``config``.
    """

    config: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_files: Mapping[str, Path] = field(default_factory=dict)
    hosts: Mapping[str, int] = field(default_factory=dict)
    hidden: tuple[str, ...] = field(default=(), repr=False)


def remote_config(
    remote: Remote, served: WebdavEndpoint | None, *, cache_type: str | None = None
) -> RemoteConfig:
    """The configuration for ``remote``; ``served`` is the server of a local folder."""
    from rondel.data.webdav import USER

    if served is not None:
        options = {
            "url": f"webdav://{REMOTE_HOST}:{served.port}/",
            "user": USER,
            "password": served.token,
        }
        return RemoteConfig(
            config=config_text(options, cache_type),
            hosts={REMOTE_HOST: served.port},
            hidden=secret_options(options),
        )
    hosts: dict[str, int] = {}
    options = {"url": remote.url, **remote.options}
    hidden = secret_options(options)
    environment = dict(remote.environment)
    for values, keys in ((options, ("url", "endpointurl")), (environment, tuple(environment))):
        for key in keys:
            if "://" in values.get(key, ""):
                values[key] = _from_container(values[key], hosts)
    secret_files: dict[str, Path] = {}
    for key, path in remote.files.items():
        options[key] = f"{_SECRETS}/{key}"
        secret_files[options[key]] = path
    for name, path in remote.secret_files.items():
        environment[name] = f"{_SECRETS}/{name.lower()}"
        secret_files[environment[name]] = path
    return RemoteConfig(
        config=config_text(options, cache_type),
        environment=environment,
        secrets=remote.secrets,
        secret_files=secret_files,
        hosts=hosts,
        hidden=hidden,
    )


def config_text(remote: Mapping[str, str] | None, cache_type: str | None = None) -> str:
    """The ``.dvc/config.local`` of a container, which overrides the project's own ``.dvc/config``."""
    sections: dict[str, dict[str, str]] = {
        "core": {
            "analytics": "false",
            "check_update": "false",
            "no_scm": "true",
            "autostage": "false",
            **({} if remote is None else {"remote": "rondel"}),
        },
        "cache": {"dir": CACHE, **({"type": cache_type} if cache_type else {})},
        **({} if remote is None else {"'remote \"rondel\"'": dict(remote)}),
    }
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"    {key} = {_quoted(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def usable_cache_type(configured: str | None) -> str | None:
    """The project's link types without those that fail between a cache volume and the workspace.

    Hard links can't cross mounts, and a volume is a mount; a copy always works.
    """
    if not configured:
        return None
    kinds = [kind.strip() for kind in configured.split(",")]
    return ",".join([kind for kind in kinds if kind not in {"hardlink", "copy"}] + ["copy"])


def _quoted(value: str) -> str:
    if not any(mark in value for mark in "\"'#,") and value == value.strip():
        return value
    return f'"{value}"' if '"' not in value else f"'''{value}'''"


def _from_container(url: str, hosts: dict[str, int]) -> str:
    """The URL as a container reaches it; adds the host name of a loopback port to ``hosts``."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not is_loopback(host):
        return url
    port = parts.port or {"https": 443, "http": 80, "ssh": 22, "webdavs": 443, "webdav": 80}.get(
        parts.scheme, 80
    )
    taken = {number: name for name, number in hosts.items()}
    name = taken.get(port) or (REMOTE_HOST if not hosts else f"{REMOTE_HOST}-{len(hosts)}")
    hosts[name] = port
    login = parts.netloc.rpartition("@")[0]
    netloc = f"{login}@{name}:{port}" if login else f"{name}:{port}"
    return urlunsplit(parts._replace(netloc=netloc))
