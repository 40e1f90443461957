"""Where the MLflow server is and how to be let in: read from MLflow's own variables.

The variables are those of MLflow's client: ``MLFLOW_TRACKING_URI``, ``_TOKEN``,
``_USERNAME``, ``_PASSWORD``, ``_SERVER_CERT_PATH``, ``_CLIENT_CERT_PATH`` and
``_INSECURE_TLS``. User and password win over a token, as in MLflow.
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
"""The name by which containers reach a server on this machine's loopback."""

_CONTAINER_CERTS = "/etc/rondel/mlflow"
_GITLAB_PATH = re.compile(r"/api/v4/projects/[^/]+/ml/mlflow/?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An MLflow server's address and the credentials for it; secrets are not in its repr."""

    uri: str
    token: str | None = field(default=None, repr=False)
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
        """The port, the scheme's own when none is written."""
        parts = urlsplit(self.uri)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def loopback(self) -> bool:
        """Whether the server listens on this machine only, so that containers need a way to it."""
        return is_loopback(self.host)

    @property
    def kind(self) -> Literal["mlflow", "gitlab"]:
        """``gitlab`` for GitLab's MLflow-compatible endpoint, which has no aliases and no logged models."""
        return "gitlab" if _GITLAB_PATH.search(urlsplit(self.uri).path) else "mlflow"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """What a run needs to log to MLflow, on the host and in containers.

    ``env`` is for containers and holds nothing secret; ``secrets`` maps the
    names of variables to values that may only travel as Dagger secrets;
    ``files`` maps paths in the container to certificate files on the host.
    When ``needs_host_service``, the container reaches the server as host
    :data:`CONTAINER_HOST` through ``host.service`` on ``port``. ``readable``
    tells whether the server's pages open for who reads the run's output.
    """

    uri: str
    container_uri: str
    needs_host_service: bool
    port: int
    endpoint: Endpoint = field(repr=False)
    readable: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address or ``localhost``; other names are not looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def from_environment(environ: Mapping[str, str]) -> Endpoint | None:
    """The server that the environment names, or None when it names none.

    Raises ConfigurationError for an address that is not an HTTP server and for a
    certificate file that is not there.
    """
    uri = environ.get(URI_VARIABLE, "").strip()
    if not uri:
        return None
    return parse(uri, environ)


def endpoint_for(environ: Mapping[str, str], uri: str | None = None) -> Endpoint | None:
    """The remote server that ``uri`` or the environment names, or None: then a local one is used.

    Raises ConfigurationError for an address that containers could not reach.
    """
    return parse(uri, environ) if uri else from_environment(environ)


def parse(uri: str, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint for ``uri``; credentials written in the address win over the variables."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"{uri!r} is not the address of an MLflow server",
            why="containers reach MLflow over HTTP only, so a folder or a database does not do.",
            hint="give an http:// or https:// address, or unset it: Rondel then starts a server of its own",
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


def tracking(endpoint: Endpoint, *, experiment: str) -> Tracking:
    """What containers get to log to ``endpoint`` under ``experiment``; pure."""
    container_uri = endpoint.uri
    if endpoint.loopback:
        parts = urlsplit(endpoint.uri)
        container_uri = urlunsplit((parts.scheme, f"{CONTAINER_HOST}:{endpoint.port}", parts.path, "", ""))
    env = {
        URI_VARIABLE: container_uri,
        "MLFLOW_EXPERIMENT_NAME": experiment,
        # MLflow's own default keeps retrying for minutes when the server is gone.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    secrets: dict[str, str] = {}
    if endpoint.user and endpoint.password:
        env[USER_VARIABLE] = endpoint.user
        secrets[PASSWORD_VARIABLE] = endpoint.password
    elif endpoint.token:
        secrets[TOKEN_VARIABLE] = endpoint.token
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
    return Tracking(
        uri=endpoint.uri,
        container_uri=container_uri,
        needs_host_service=endpoint.loopback,
        port=endpoint.port,
        endpoint=endpoint,
        env=env,
        secrets=secrets,
        files=files,
    )


def _common_ca(scheme: str, environ: Mapping[str, str]) -> Path | None:
    """The CA of the variables that other tools know, so that SDK and containers trust the same servers.

    Python's TLS heeds the one, MLflow's HTTP library the other.
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
