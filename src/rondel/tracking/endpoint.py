"""The MLflow server's address and credentials, from the environment variables of MLflow's own client.

These are ``MLFLOW_TRACKING_URI``, ``_TOKEN``, ``_USERNAME``, ``_PASSWORD``,
``_SERVER_CERT_PATH``, ``_CLIENT_CERT_PATH`` and ``_INSECURE_TLS``. As in MLflow,
user and password take precedence over a token.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

URI_VARIABLE = "MLFLOW_TRACKING_URI"
TOKEN_VARIABLE = "MLFLOW_TRACKING_TOKEN"  # noqa: S105
USER_VARIABLE = "MLFLOW_TRACKING_USERNAME"
PASSWORD_VARIABLE = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105
LOGIN_VARIABLES = frozenset({TOKEN_VARIABLE, USER_VARIABLE, PASSWORD_VARIABLE})
CA_VARIABLE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
CLIENT_CERT_VARIABLE = "MLFLOW_TRACKING_CLIENT_CERT_PATH"
INSECURE_VARIABLE = "MLFLOW_TRACKING_INSECURE_TLS"

CONTAINER_HOST = "mlflow"
"""The host name that containers use for a server on this machine's loopback."""

_CONTAINER_CERTS = "/etc/rondel/mlflow"
_GITLAB_PATH = re.compile(r"/api/v4/projects/[^/]+/ml/mlflow/?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An MLflow server's address and credentials; its repr contains no secrets.

    ``stage_token`` is the token for pure stages, if the server has one that may do less.
    """

    uri: str
    token: str | None = field(default=None, repr=False)
    stage_token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    client_cert: Path | None = None
    verify: bool = True

    @property
    def host(self) -> str:
        """The host name, without port."""
        return urlsplit(self.uri).hostname or ""

    @property
    def port(self) -> int:
        """The port; without one in the address, the scheme's default."""
        parts = urlsplit(self.uri)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def loopback(self) -> bool:
        """Whether the server listens on this machine only, so that containers need a tunnel to it."""
        return is_loopback(self.host)

    @property
    def kind(self) -> Literal["mlflow", "gitlab"]:
        """``gitlab`` for GitLab's MLflow-compatible endpoint, which has no aliases and no logged models."""
        return "gitlab" if _GITLAB_PATH.search(urlsplit(self.uri).path) else "mlflow"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingConnection:
    """What a run needs to log to MLflow, on the host and in containers.

    ``env`` is for containers and contains no secrets. ``secrets`` maps variable
    names to values that must be passed as Dagger secrets, and ``pure_secrets``
    those for pure stages, which may do less. ``files`` maps paths in
    the container to certificate files on the host. With ``needs_host_service``, the
    container reaches the server as host :data:`CONTAINER_HOST`, through
    ``host.service`` on ``port``. ``readable`` says whether people who read the
    run's output can open the server's pages.
    """

    uri: str
    container_uri: str
    needs_host_service: bool
    port: int
    endpoint: Endpoint = field(repr=False)
    readable: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    pure_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address or ``localhost``; does not resolve other names."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def endpoint_for(environ: Mapping[str, str], uri: str | None = None) -> Endpoint | None:
    """The server at ``uri`` or in the environment; None if there is neither, for a local server.

    Raises ConfigurationError for an address that is not an HTTP server, and for a
    missing certificate file.
    """
    address = uri or environ.get(URI_VARIABLE, "").strip()
    return parse_endpoint(address, environ) if address else None


def parse_endpoint(uri: str, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint for ``uri``; credentials in the address take precedence over the variables."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"{uri!r} is not the address of an MLflow server",
            why="containers use HTTP to reach MLflow, so a folder or a database does not work.",
            hint="set it to an http:// or https:// address, or unset it to use a local server",
            place=URI_VARIABLE,
        )
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{uri!r}: {error}", place=URI_VARIABLE) from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = f"{host}:{port}" if port else host
    user = unquote(parts.username) if parts.username else environ.get(USER_VARIABLE) or None
    password = unquote(parts.password) if parts.password else environ.get(PASSWORD_VARIABLE) or None
    return Endpoint(
        uri=urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", "")),
        token=environ.get(TOKEN_VARIABLE) or None,
        user=user,
        password=password,
        ca_file=_file(environ, CA_VARIABLE) or _common_ca(parts.scheme, environ),
        client_cert=_file(environ, CLIENT_CERT_VARIABLE),
        verify=environ.get(INSECURE_VARIABLE, "").lower() not in {"1", "true", "yes"},
    )


def connection_to(endpoint: Endpoint, *, experiment: str) -> TrackingConnection:
    """The connection of containers to ``endpoint``, logging to ``experiment``."""
    container_uri = endpoint.uri
    if endpoint.loopback:
        parts = urlsplit(endpoint.uri)
        container_uri = urlunsplit((parts.scheme, f"{CONTAINER_HOST}:{endpoint.port}", parts.path, "", ""))
    env = {
        URI_VARIABLE: container_uri,
        "MLFLOW_EXPERIMENT_NAME": experiment,
        # By default, MLflow retries for minutes if the server is gone.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    secrets: dict[str, str] = {}
    pure_secrets: dict[str, str] = {}
    if endpoint.user and endpoint.password:
        env[USER_VARIABLE] = endpoint.user
        secrets[PASSWORD_VARIABLE] = endpoint.password
    elif endpoint.token:
        secrets[TOKEN_VARIABLE] = endpoint.token
        pure_secrets[TOKEN_VARIABLE] = endpoint.stage_token or endpoint.token
    files: dict[str, Path] = {}
    for variable, path, name in (
        (CA_VARIABLE, endpoint.ca_file, "ca.pem"),
        (CLIENT_CERT_VARIABLE, endpoint.client_cert, "client.pem"),
    ):
        if path is not None:
            files[f"{_CONTAINER_CERTS}/{name}"] = path
            env[variable] = f"{_CONTAINER_CERTS}/{name}"
    if not endpoint.verify:
        env[INSECURE_VARIABLE] = "true"
    return TrackingConnection(
        uri=endpoint.uri,
        container_uri=container_uri,
        needs_host_service=endpoint.loopback,
        port=endpoint.port,
        endpoint=endpoint,
        env=env,
        secrets=secrets,
        pure_secrets=secrets | pure_secrets,
        files=files,
    )


def _common_ca(scheme: str, environ: Mapping[str, str]) -> Path | None:
    """The CA from variables of other tools, so that SDK and containers trust the same servers.

    Python's ``ssl`` module reads one variable, MLflow's HTTP library the other.
    """
    paths = [Path(environ[name]) for name in _CA_VARIABLES if environ.get(name)] if scheme == "https" else []
    return next((path.absolute() for path in paths if path.is_file()), None)


def _file(environ: Mapping[str, str], variable: str) -> Path | None:
    value = environ.get(variable, "").strip()
    if not value:
        return None
    path = Path(value).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"no file {value!r}", place=variable)
    return path.absolute()
