"""One run's access to MLflow, local or remote, from the first look to the last release."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.tracking import server
from rondel.tracking.client import TrackingClient
from rondel.tracking.endpoint import Endpoint, Tracking, endpoint_for, tracking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from rondel.tracking.server import Lease


class TrackingSession:
    """A server that is known and perhaps still starting; :meth:`ready` waits for it and probes it."""

    def __init__(self, remote: Endpoint | None, lease: Lease | None, *, experiment: str) -> None:
        self._remote = remote
        self._lease = lease
        self._experiment = experiment
        self._tracking: Tracking | None = None

    @property
    def local(self) -> bool:
        """Whether this is the project's own server."""
        return self._remote is None

    async def ready(self) -> Tracking:
        """Wait until the server can be used.

        Raises TrackingUnavailable, for a remote server within five seconds.
        """
        if self._tracking is not None:
            return self._tracking
        if self._remote is not None:
            async with TrackingClient(self._remote) as client:
                await client.probe()
            self._tracking = tracking(self._remote, experiment=self._experiment)
        elif self._lease is not None:
            state = await self._lease.ready()
            self._tracking = tracking(Endpoint(uri=state.uri), experiment=self._experiment)
        else:
            raise ValueError("a session has a server or a lease")
        return self._tracking

    def release(self) -> None:
        """Let the local server go; it ends some time after its last user."""
        if self._lease is not None:
            self._lease.release()


@asynccontextmanager
async def ensure_server(
    root: Path,
    environ: Mapping[str, str],
    *,
    experiment: str,
    uri: str | None = None,
    linger: float = server.LINGER_SECONDS,
) -> AsyncIterator[TrackingSession]:
    """The MLflow server of a run: the one that is configured, else the project's own, started on demand.

    Returns at once, so that hashing and the engine need not wait for it.
    """
    import anyio

    session = begin(root, environ, experiment=experiment, uri=uri, linger=linger)
    try:
        yield session
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(session.release)


def begin(
    root: Path,
    environ: Mapping[str, str],
    *,
    experiment: str,
    uri: str | None = None,
    linger: float = server.LINGER_SECONDS,
) -> TrackingSession:
    """As :func:`ensure_server`, for callers that release the session themselves."""
    remote = endpoint_for(environ, uri)
    lease = None if remote is not None else server.acquire(root, environ, linger=linger)
    return TrackingSession(remote, lease, experiment=experiment)


def connect_now(
    root: Path, environ: Mapping[str, str], *, uri: str | None = None, linger: float = server.LINGER_SECONDS
) -> tuple[Endpoint, Lease | None]:
    """For commands: the server's endpoint, waiting for a local one; release the lease at the end."""
    remote = endpoint_for(environ, uri)
    if remote is not None:
        return remote, None
    lease = server.acquire(root, environ, linger=linger)
    try:
        return Endpoint(uri=lease.ready_now().uri), lease
    except BaseException:
        lease.release()
        raise


def without_secrets(endpoint: Endpoint) -> Endpoint:
    """The endpoint as it may be written to a record."""
    return replace(endpoint, token=None, password=None)
