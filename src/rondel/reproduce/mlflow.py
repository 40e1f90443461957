"""Fetches the capsule that a pipeline run logged to its MLflow run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rondel.errors import RecordError
from rondel.record.archive import ARTIFACT, unpack
from rondel.record.download import login_is_for, temporary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.record import RunFolder


def fetch_run(
    root: Path, run_id: str, environ: Mapping[str, str], into: Path, *, page: str | None = None
) -> RunFolder:
    """The capsule of an MLflow run, or of the parent run of a stage's run.

    The server is the project's, or that of ``page``, the address of the run's page.
    Raises RecordError if there is no capsule, and TrackingUnavailable if the server
    does not answer.
    """
    import anyio

    from rondel.ci.providers import detect
    from rondel.settings import load_settings
    from rondel.tracking.endpoint import LOGIN_VARIABLES
    from rondel.tracking.session import connect

    settings = load_settings(root, {}, environ)
    linger = 0 if detect(environ) else settings.linger
    own = uri = settings.tracking_uri
    if page is not None:
        parts = urlsplit(page)
        uri = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        if not login_is_for(uri, own):
            environ = {name: value for name, value in environ.items() if name not in LOGIN_VARIABLES}
    endpoint, lease = connect(root, environ, uri=uri, linger=linger)
    try:
        data = anyio.run(_read, endpoint, run_id)
    finally:
        if lease is not None:
            lease.release()
    with temporary(into) as file:
        file.write_bytes(data)
        return unpack(file, into)


async def _read(endpoint: object, run_id: str) -> bytes:
    from rondel.tracking import TrackingClient, TrackingRefused

    async with TrackingClient(endpoint) as client:  # type: ignore[arg-type]
        try:
            run = await client.get_run(run_id)
        except TrackingRefused as refusal:
            if not refusal.missing:
                raise
            raise RecordError(
                f"the MLflow server at {client.endpoint.uri} has no run {run_id}",
                hint="if another server has it, pass the run's page, or set MLFLOW_TRACKING_URI",
            ) from None
        parent = run.tags.get("mlflow.parentRunId")
        for handle in (run, await client.get_run(parent) if parent else None):
            data = await client.read_artifact(handle.handle, ARTIFACT) if handle is not None else None
            if data is not None:
                return data
    raise RecordError(
        f"MLflow run {run_id} has no capsule",
        why=f"neither this run nor its parent has the artifact {ARTIFACT}",
        hint="runs log it when they end; or run `rondel runs export` on its machine",
    )
