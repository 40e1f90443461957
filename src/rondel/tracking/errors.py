"""Errors of an MLflow server, with what to do about them: bad answers, or none."""

from __future__ import annotations

import json
from typing import Any

from rondel.errors import TrackingUnavailable
from rondel.tracking.endpoint import CONTAINER_HOST, Endpoint


class TrackingRefused(TrackingUnavailable):
    """The MLflow server understood a request but refused it; ``code`` is MLflow's error code."""

    def __init__(self, what: str, *, code: str, status: int, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.code = code
        self.status = status

    @property
    def missing(self) -> bool:
        """Whether the requested object does not exist."""
        return self.code == "RESOURCE_DOES_NOT_EXIST"

    @property
    def exists(self) -> bool:
        """Whether the object to create already exists."""
        return self.code == "RESOURCE_ALREADY_EXISTS"


def response_error(endpoint: Endpoint, path: str, status: int, text: str) -> TrackingUnavailable | None:
    """The error for an answer's status and text; None for a good answer."""
    if status < 300:
        return None
    where = f"the MLflow server at {endpoint.uri}"
    if status < 400:
        return TrackingUnavailable(
            f"{where} redirects elsewhere (HTTP {status})",
            hint="it may be behind a login page; set MLFLOW_TRACKING_URI to the address of the API itself",
        )
    code, message = _error_fields(text)
    if status == 401:
        return TrackingUnavailable(
            f"{where} does not accept the credentials (HTTP 401)",
            why=message or _credentials(endpoint),
            hint="set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if status == 403:
        return _forbidden(endpoint, where, message)
    if code and status < 500:
        return TrackingRefused(f"{where} refuses {path}: {message or code}", code=code, status=status)
    if status == 404:
        return TrackingRefused(
            f"{where} does not know {path} (HTTP 404)",
            code="ENDPOINT_NOT_FOUND",
            status=status,
            hint="check the path in MLFLOW_TRACKING_URI; on GitLab it ends in /api/v4/projects/ID/ml/mlflow",
        )
    if status == 429:
        return TrackingUnavailable(f"{where} limits requests (HTTP 429)", hint="wait, then run again")
    if status < 500:
        return TrackingRefused(
            f"{where} refuses {path} (HTTP {status})", code=f"HTTP_{status}", status=status
        )
    return TrackingUnavailable(
        f"{where} fails (HTTP {status} at {path})", why=message, hint="see the server's log, then run again"
    )


def transport_error(endpoint: Endpoint, error: Exception) -> TrackingUnavailable:
    """The error for a request without an answer; ``error`` is httpx's."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return timeout_error(endpoint, None)
    text = f"{error}" or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return TrackingUnavailable(
            f"the certificate of the MLflow server at {endpoint.uri} cannot be verified",
            why=text,
            hint="set MLFLOW_TRACKING_SERVER_CERT_PATH to the CA's certificate",
        )
    return TrackingUnavailable(
        f"the MLflow server at {endpoint.uri} does not answer",
        why=text,
        hint="start it, or unset MLFLOW_TRACKING_URI to use a local server",
    )


def certificate_name_error(endpoint: Endpoint, error: Exception) -> TrackingUnavailable:
    """The error for a loopback server whose certificate is not valid for the name that containers use."""
    return TrackingUnavailable(
        f"the certificate of the MLflow server at {endpoint.uri} cannot be verified "
        "under the name that containers use",
        why=f"containers reach a server on this machine as {CONTAINER_HOST}:{endpoint.port}: {error}",
        hint=f"add DNS:{CONTAINER_HOST} to its subjectAltName, or set MLFLOW_TRACKING_URI to the address "
        "that other machines use",
    )


def timeout_error(endpoint: Endpoint, seconds: float | None) -> TrackingUnavailable:
    """The error for a server that does not answer in time."""
    after = f" within {seconds:g} s" if seconds else " in time"
    return TrackingUnavailable(
        f"the MLflow server at {endpoint.uri} does not answer{after}",
        hint="check its address and your network, or unset MLFLOW_TRACKING_URI to use a local server",
    )


def json_object(endpoint: Endpoint, path: str, text: str) -> dict[str, Any]:
    """The JSON object in a good answer. Raises TrackingUnavailable for others, such as a login page."""
    try:
        found = json.loads(text) if text.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TrackingUnavailable(
            f"the server at {endpoint.uri} is not an MLflow server",
            why=f"{path} returned no JSON object: {text.strip()[:120]!r}",
            hint="check MLFLOW_TRACKING_URI",
        )
    return found


def _forbidden(endpoint: Endpoint, where: str, message: str) -> TrackingUnavailable:
    if "host header" in message.lower():
        return TrackingUnavailable(
            f"{where} refuses the host name that containers use for it (HTTP 403)",
            why=f"containers reach a server on this machine as {CONTAINER_HOST}:{endpoint.port}.",
            hint=f"start the server with --allowed-hosts 'localhost:*,127.0.0.1:*,{CONTAINER_HOST}:*'",
        )
    return TrackingUnavailable(
        f"{where} forbids this (HTTP 403)",
        why=message or _credentials(endpoint),
        hint="request write permission for its experiments and models",
    )


def _credentials(endpoint: Endpoint) -> str:
    if endpoint.user and endpoint.password:
        return f"sent: user {endpoint.user!r} and a password."
    return "sent: a token." if endpoint.token else "sent: no credentials."


def _error_fields(text: str) -> tuple[str, str]:
    """The server's error code and message. MLflow answers in JSON; a proxy in front of it may not."""
    try:
        found = json.loads(text)
    except ValueError:
        plain = text.strip()
        return "", "" if plain.startswith("<") else plain[:300]
    if not isinstance(found, dict):
        return "", ""
    message = found.get("message") or found.get("error_description") or found.get("error") or ""
    return str(found.get("error_code") or ""), str(message)[:500]
