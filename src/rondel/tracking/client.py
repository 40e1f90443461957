"""A small client of MLflow's documented REST API (version 2.0).

Importing MLflow's own package takes over a second and 150 MB, and a run needs
only a dozen calls. All stages of a run share one client.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlsplit

from rondel.errors import TrackingUnavailable
from rondel.tracking import errors
from rondel.tracking.endpoint import CONTAINER_HOST, Endpoint
from rondel.tracking.errors import TrackingRefused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    import httpx

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

TIMEOUT_SECONDS = 4.5
"""For one request, so that users get an answer within 5 s."""

BATCH_METRICS, BATCH_PARAMS, BATCH_TAGS = 1000, 100, 100
"""The server's limits for one ``log-batch`` request."""

_MAX_TAG, _MAX_PARAM = 5000, 6000
_RETRY_PAUSES = (0.2, 0.8)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunHandle:
    """A run on the server: its ID, its page, and the address of its artifacts."""

    run_id: str
    url: str
    experiment_id: str = ""
    artifact_uri: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """All data of a run on the server."""

    handle: RunHandle
    name: str = ""
    status: str = ""
    start_ms: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class TrackingClient:
    """A client of one MLflow server. Use it as an async context manager.

    Every method raises TrackingUnavailable if the server does not answer in time,
    refuses the credentials or fails, and its subclass TrackingRefused if the
    server understands a request but refuses it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = TIMEOUT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        import httpx

        auth = None
        headers = {"User-Agent": "rondel"}
        if self.endpoint.user and self.endpoint.password:
            auth = httpx.BasicAuth(self.endpoint.user, self.endpoint.password)
        elif self.endpoint.token:
            headers["Authorization"] = f"Bearer {self.endpoint.token}"
        self._http = httpx.AsyncClient(
            auth=auth,
            headers=headers,
            timeout=self._timeout,
            verify=tls_context(self.endpoint),
            transport=self._transport,
            # A proxy can't reach this machine's loopback.
            trust_env=not self.endpoint.loopback,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Call the API; ``path`` follows ``/api/2.0/mlflow/``.

        ``repeatable`` calls (reads, and writes that change nothing the second time)
        are retried after a failure of the server.
        """
        import anyio
        import httpx

        url = f"{self.endpoint.uri}/api/2.0/mlflow/{path}"
        pauses = list(_RETRY_PAUSES) if repeatable else []
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                response = await self._client().request(method, url, params=query, json=body, headers=headers)
                problem = errors.response_error(self.endpoint, path, response.status_code, response.text)
                if problem is None:
                    return errors.json_object(self.endpoint, path, response.text)
                if response.status_code < 500:
                    raise problem
            except httpx.HTTPError as error:
                problem = errors.transport_error(self.endpoint, error)
            if not pauses or time.monotonic() > deadline:
                raise problem
            await anyio.sleep(pauses.pop(0))

    async def probe(self, *, from_containers: bool = True) -> None:
        """Check within five seconds that the server answers and accepts the credentials.

        Also checks a loopback server under the name that containers use: MLflow
        refuses unknown host names, although its health check accepts them.
        """
        import anyio

        body = {"max_results": 1}
        try:
            with anyio.fail_after(self._timeout):
                # GitLab has no experiments/search with a body, but answers for an unknown name.
                if self.endpoint.kind == "gitlab":
                    await self.get_experiment("rondel-probe")
                    return
                await self.call("POST", "experiments/search", body=body)
                if from_containers and self.endpoint.loopback:
                    host = {"Host": f"{CONTAINER_HOST}:{self.endpoint.port}"}
                    await self.call("POST", "experiments/search", body=body, headers=host)
                    if self.endpoint.uri.startswith("https:") and self.endpoint.verify:
                        await self._check_container_certificate()
        except TimeoutError:
            raise errors.timeout_error(self.endpoint, self._timeout) from None

    async def _check_container_certificate(self) -> None:
        """Raise if a loopback server's certificate is not valid for the name that containers use."""
        import anyio

        try:
            stream = await anyio.connect_tcp(
                self.endpoint.host,
                self.endpoint.port,
                tls_hostname=CONTAINER_HOST,
                ssl_context=_context(self.endpoint),
                tls_standard_compatible=False,
            )
            await stream.aclose()
        except OSError as error:
            raise errors.certificate_name_error(self.endpoint, error) from error

    async def get_experiment(self, name: str) -> str | None:
        """The ID of the experiment with this name, or None."""
        try:
            found = await self.call(
                "GET", "experiments/get-by-name", query={"experiment_name": name}, repeatable=True
            )
        except TrackingRefused as refusal:
            if refusal.missing:
                return None
            raise
        return str(found["experiment"]["experiment_id"])

    async def ensure_experiment(self, name: str) -> str:
        """The ID of the experiment with this name, created if needed; safe if two runs do it at once."""
        found = await self.get_experiment(name)
        if found is not None:
            return found
        try:
            made = await self.call("POST", "experiments/create", body={"name": name})
        except TrackingRefused as refusal:
            if not refusal.exists:
                raise
            found = await self.get_experiment(name)
            if found is None:
                raise
            return found
        return str(made["experiment_id"])

    async def create_run(
        self, experiment_id: str, *, name: str, tags: Mapping[str, str], parent: str | None = None
    ) -> RunHandle:
        """Start a run; with ``parent``, a nested one."""
        all_tags = {**tags, "mlflow.runName": name}
        if parent:
            all_tags["mlflow.parentRunId"] = parent
        body = {
            "experiment_id": experiment_id,
            "run_name": name,
            "start_time": now_ms(),
            "tags": _pairs(all_tags, _MAX_TAG),
        }
        found = await self.call("POST", "runs/create", body=body)
        return self._run(found["run"]).handle

    async def get_run(self, run_id: str) -> RunData:
        """All data of a run."""
        found = await self.call("GET", "runs/get", query={"run_id": run_id}, repeatable=True)
        return self._run(found["run"])

    async def search_runs(self, experiment_id: str, filter_: str = "", *, limit: int = 100) -> list[RunData]:
        """Runs of an experiment that match MLflow's filter expression, newest first."""
        body: dict[str, Any] = {"experiment_ids": [experiment_id], "max_results": limit}
        if filter_:
            body["filter"] = filter_
        found = await self.call("POST", "runs/search", body=body, repeatable=True)
        return [self._run(each) for each in found.get("runs", [])]

    async def end_run(self, run_id: str, status: RunStatus) -> None:
        """Set a run's final status and its end time."""
        body = {"run_id": run_id, "status": status, "end_time": now_ms()}
        await self.call("POST", "runs/update", body=body, repeatable=True)

    async def log(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        """Log metrics, parameters and tags, in as few requests as the server's limits allow.

        :func:`mlflow_name` changes names that MLflow refuses. NaN and infinite
        metrics are left out, because the API can't transmit them.
        """
        stamp = now_ms()
        metric_rows = [
            {"key": mlflow_name(key), "value": value, "timestamp": stamp, "step": step}
            for key, value in (metrics or {}).items()
            if math.isfinite(value)
        ]
        param_rows = _pairs(
            {mlflow_name(key): str(value) for key, value in (params or {}).items()}, _MAX_PARAM
        )
        tag_rows = _pairs(tags or {}, _MAX_TAG)
        while metric_rows or param_rows or tag_rows:
            body = {
                "run_id": run_id,
                "metrics": metric_rows[: BATCH_METRICS - BATCH_PARAMS - BATCH_TAGS],
                "params": param_rows[:BATCH_PARAMS],
                "tags": tag_rows[:BATCH_TAGS],
            }
            metric_rows = metric_rows[BATCH_METRICS - BATCH_PARAMS - BATCH_TAGS :]
            param_rows, tag_rows = param_rows[BATCH_PARAMS:], tag_rows[BATCH_TAGS:]
            await self.call("POST", "runs/log-batch", body=body, repeatable=True)

    async def log_artifact(self, run: RunHandle, name: str, content: bytes) -> bool:
        """Store a file with a run. Return False if the server does not proxy the run's artifacts."""
        import httpx

        target = self._artifact_url(run, name)
        if target is None:
            return False
        try:
            response = await self._client().put(target, content=content, timeout=60.0)
        except httpx.HTTPError as error:
            raise errors.transport_error(self.endpoint, error) from None
        problem = errors.response_error(self.endpoint, "artifacts", response.status_code, response.text)
        if problem is not None:
            raise problem
        return True

    async def read_artifact(self, run: RunHandle, name: str) -> bytes | None:
        """A file of a run; None if it does not exist, or if the server does not proxy artifacts."""
        import httpx

        target = self._artifact_url(run, name)
        if target is None:
            return None
        try:
            response = await self._client().get(target, timeout=60.0)
        except httpx.HTTPError as error:
            raise errors.transport_error(self.endpoint, error) from None
        if response.status_code == 404:
            return None
        problem = errors.response_error(self.endpoint, "artifacts", response.status_code, "")
        if problem is not None:
            raise problem
        return response.content

    def run_url(self, run_id: str, experiment_id: str) -> str:
        """The page that shows a run."""
        if self.endpoint.kind == "gitlab":
            return f"{self.endpoint.uri}/api/2.0/mlflow/runs/get?run_id={run_id}"
        return f"{self.endpoint.uri}/#/experiments/{experiment_id}/runs/{run_id}"

    def _artifact_url(self, run: RunHandle, name: str) -> str | None:
        parts = urlsplit(run.artifact_uri)
        path = quote(name)
        if parts.scheme == "mlflow-artifacts":
            stored = parts.path.strip("/")
            return f"{self.endpoint.uri}/api/2.0/mlflow-artifacts/artifacts/{stored}/{path}"
        own = urlsplit(self.endpoint.uri)
        if parts.scheme in {"http", "https"} and (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
            return f"{run.artifact_uri.rstrip('/')}/{path}"
        return None  # only this server may see the credentials

    def _run(self, run: Mapping[str, Any]) -> RunData:
        info, data = run["info"], run.get("data", {})
        run_id, experiment = str(info["run_id"]), str(info.get("experiment_id", ""))
        return RunData(
            handle=RunHandle(
                run_id=run_id,
                url=self.run_url(run_id, experiment),
                experiment_id=experiment,
                artifact_uri=str(info.get("artifact_uri", "")),
            ),
            name=str(info.get("run_name", "")),
            status=str(info.get("status", "")),
            start_ms=int(info.get("start_time", 0)),
            metrics={row["key"]: float(row["value"]) for row in data.get("metrics") or ()},
            params={row["key"]: str(row["value"]) for row in data.get("params") or ()},
            tags={row["key"]: str(row.get("value", "")) for row in data.get("tags") or ()},
        )

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            raise TrackingUnavailable("the MLflow client is not open")
        return self._http


def tls_context(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """How httpx verifies the server's certificate: with its own CA, with the system's, or not at all."""
    if not endpoint.uri.startswith("https:"):
        return False
    return _context(endpoint)


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    import ssl

    if not endpoint.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cafile=str(endpoint.ca_file) if endpoint.ca_file else None)
    if endpoint.client_cert:
        context.load_cert_chain(str(endpoint.client_cert))
    return context


def mlflow_name(name: str) -> str:
    """The name of a metric or parameter, in the characters that MLflow accepts.

    ``roc_auc[origin=JFK]`` becomes ``roc_auc/origin/JFK``.
    """
    name = name.replace("[", "/").replace("]", "").replace("=", "/").replace(",", "/")
    return "".join(sign if sign.isalnum() or sign in "_-. /:" else "_" for sign in name)[:250]


def now_ms() -> int:
    """The time in MLflow's unit: milliseconds since 1970."""
    return int(time.time() * 1000)


def _pairs(values: Mapping[str, str], limit: int) -> list[dict[str, str]]:
    return [{"key": key, "value": _cut(value, limit)} for key, value in values.items()]


def _cut(value: str, limit: int) -> str:
    return value if len(value) <= limit else value[: limit - 1] + "…"


__all__: Sequence[str] = (
    "RunData",
    "RunHandle",
    "RunStatus",
    "TrackingClient",
    "TrackingRefused",
    "mlflow_name",
    "now_ms",
    "tls_context",
)
