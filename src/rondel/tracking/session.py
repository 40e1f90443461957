"""A run's session with an MLflow server, local or remote."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rondel.tracking import server
from rondel.tracking.client import TrackingClient
from rondel.tracking.endpoint import Endpoint, TrackingConnection, connection_to, endpoint_for
from rondel.tracking.login import open_text
from rondel.tracking.server_state import ServerFolder, write_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from rondel.tracking.server import Lease


class TrackingSession:
    """A server that may still be starting; :meth:`ready` waits for it and probes it."""

    def __init__(self, remote: Endpoint | None, lease: Lease | None, *, experiment: str) -> None:
        self._remote = remote
        self._lease = lease
        self._experiment = experiment
        self._tracking: TrackingConnection | None = None

    @property
    def local(self) -> bool:
        """Whether this is the project's local server."""
        return self._remote is None

    async def ready(self) -> TrackingConnection:
        """Wait until the server is usable.

        Raises TrackingUnavailable; for a remote server, within five seconds.
        """
        if self._tracking is not None:
            return self._tracking
        if self._remote is not None:
            async with TrackingClient(self._remote) as client:
                await client.probe()
            self._tracking = connection_to(self._remote, experiment=self._experiment)
        elif self._lease is not None:
            self._tracking = connection_to(await self._lease.ready(), experiment=self._experiment)
        else:
            raise ValueError("a session needs a remote server or a lease")
        return self._tracking

    def release(self) -> None:
        """Release the local server, which ends some time after the last release."""
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
    """The MLflow server of a run: the configured one, else the project's own, started on demand.

    Does not wait for the server, so that hashing and the engine can start at once.
    """
    import anyio

    remote = given_server(root, environ, uri)
    lease = None if remote is not None else server.acquire(root, environ, linger=linger)
    session = TrackingSession(remote, lease, experiment=experiment)
    try:
        yield session
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(session.release)


def given_server(root: Path, environ: Mapping[str, str], uri: str | None) -> Endpoint | None:
    """The server at ``uri`` or in the environment, with the token if it is the project's own."""
    given = endpoint_for(environ, uri)
    if given is None or given.token or given.password or not given.loopback:
        return given
    return server.running_at(ServerFolder.used_by(root, environ), given.uri) or given


def open_page(root: Path, endpoint: Endpoint) -> Path:
    """Write the page that signs a browser in to the local server; only this user can read it.

    The token must not be in an address, which other users see in the browser's command line.
    """
    page = ServerFolder.of(root).open_page
    write_text(page, open_text(endpoint.uri, endpoint.token or ""))
    return page


def connect(
    root: Path, environ: Mapping[str, str], *, uri: str | None = None, linger: float = server.LINGER_SECONDS
) -> tuple[Endpoint, Lease | None]:
    """The server's endpoint, for commands; waits for a local server. The caller releases the lease."""
    remote = given_server(root, environ, uri)
    if remote is not None:
        return remote, None
    lease = server.acquire(root, environ, linger=linger)
    try:
        return lease.ready_now(), lease
    except BaseException:
        lease.release()
        raise
