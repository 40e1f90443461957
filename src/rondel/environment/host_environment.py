"""The part of this machine's environment that containers get: proxies, package index, CAs, variables."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.secrets.logins import has_login

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.settings import Settings

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY")
NO_PROXY = ("NO_PROXY", "no_proxy")
INDEX = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
)
CERTIFICATES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
)
_PROXIES = tuple(name for upper in PROXIES for name in (upper, upper.lower()))
_CERTIFICATE = "/etc/rondel/certificates/"
_MEMORY = "/dev/shm/rondel-certificate-"  # noqa: S108 - of the build's container, where it reaches no layer
_END = "END-OF-CERTIFICATES"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEnvironment:
    """Variables and files of this machine for a container; ``files`` maps paths there to files here."""

    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict)


def host_environment(settings: Settings, environ: Mapping[str, str], bound: Iterable[str]) -> HostEnvironment:
    """What a container gets. ``bound`` are names that lead to this machine, which no proxy knows.

    A value with a login in it (``https://user:password@index/``) travels as a
    secret. Raises ConfigurationError for a secret that the settings name and
    the environment does not have.
    """
    plain: dict[str, str] = {}
    secret: dict[str, str] = {}
    for name in (*_PROXIES, *INDEX):
        if value := environ.get(name):
            (secret if has_login(value) else plain)[name] = value
    if any(name in plain or name in secret for name in _PROXIES):
        for name in NO_PROXY:
            known = [part for part in environ.get(name, "").split(",") if part]
            plain[name] = ",".join(dict.fromkeys([*known, "localhost", "127.0.0.1", *bound]))
    certificates, files = _certificates(environ, _CERTIFICATE)
    plain |= certificates
    for name in settings.environment:
        if name in environ:
            plain[name] = environ[name]
    for name in settings.secrets:
        if name not in environ:
            raise ConfigurationError(
                f"the secret {name} is not set",
                hint="set it, or take it out of `secrets` in [tool.rondel]",
                place=settings.sources.get("secrets"),
            )
        secret[name] = environ[name]
        plain.pop(name, None)
    return HostEnvironment(environment=plain, secrets=secret, files=files)


def build_script(environ: Mapping[str, str]) -> str:
    """A shell script that exports the package index, proxies and certificates; a build gets it as a secret.

    Rondel's engine gives proxies and certificates to a build anyway; a Dagger
    engine gives it only its own.
    """
    names = (*INDEX, *_PROXIES, *NO_PROXY)
    lines = [f"export {name}={shlex.quote(environ[name])}" for name in names if environ.get(name)]
    variables, files = _certificates(environ, _MEMORY)
    for place, path in files.items():
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        lines.append(f"cat > {place} <<'{_END}'\n{text}\n{_END}")
    lines += [f"export {name}={place}" for name, place in variables.items()]
    return "\n".join([*lines, ""])


def _certificates(environ: Mapping[str, str], place: str) -> tuple[dict[str, str], dict[str, Path]]:
    """The variables that name certificates, with the paths of copies below ``place``, and the copies."""
    variables: dict[str, str] = {}
    places: dict[Path, str] = {}
    for name in CERTIFICATES:
        path = Path(environ.get(name) or "/nonexistent")
        if path.is_file():
            variables[name] = places.setdefault(path.resolve(), f"{place}{len(places)}.pem")
    return variables, {copy: path for path, copy in places.items()}
