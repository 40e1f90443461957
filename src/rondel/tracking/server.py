"""The local MLflow server from the view of a run: lease it, wait for it, release it, stop it.

Each project has one server, which its runs share. A run holds a lease: a shared
file lock, which the kernel drops when the run ends for any reason. Some time
after the last lease ends, the supervisor (:mod:`rondel.tracking.supervisor`)
stops the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rondel.errors import TrackingUnavailable
from rondel.files.atomic import private_folder
from rondel.tracking.endpoint import Endpoint
from rondel.tracking.locks import FileLock, ProcessId
from rondel.tracking.login import derived_key, server_token
from rondel.tracking.server_state import ServerFolder, ServerState, read_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LINGER_SECONDS = 600.0
"""How long a server outlives its last run."""
LOCK_SECONDS = 15.0
STOP_SECONDS = 20.0


class _Supervisor(subprocess.Popen[bytes]):
    """A child process that outlives this process on purpose."""

    def __del__(self) -> None:
        """Do not warn about a child that still runs."""


_STARTED: list[_Supervisor] = []
"""Supervisors that this process started. They outlive it, but while it lives, it must reap them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus:
    """The state of the local server, as commands show it."""

    running: bool
    uri: str = ""
    version: str = ""
    status: str = ""
    in_use: bool = False


class Lease:
    """A run's lease of the local server. The server runs as long as there is a lease."""

    def __init__(self, folder: ServerFolder, lock: FileLock, *, linger: float) -> None:
        self._folder = folder
        self._lock = lock
        self._linger = linger

    def state(self) -> ServerState | None:
        """The state of the server; None until the supervisor has written it.

        Raises TrackingUnavailable if the server can't start.
        """
        state = read_state(self._folder)
        if state is not None and state.status == "failed":
            raise TrackingUnavailable(
                "the local MLflow server does not start",
                why=state.message,
                hint=f"see {self._folder.log}, or set MLFLOW_TRACKING_URI to another server",
            )
        return state

    async def ready(self) -> Endpoint:
        """Wait until the server answers; returns its address and token.

        The supervisor gives up a server that does nothing. Raises TrackingUnavailable if it fails.
        """
        import anyio

        while True:
            state = self._ready_state()
            if state is not None:
                return endpoint_of(self._folder, state)
            await anyio.sleep(0.03)

    def ready_now(self) -> Endpoint:
        """Like :meth:`ready`, for callers outside an event loop."""
        while True:
            state = self._ready_state()
            if state is not None:
                return endpoint_of(self._folder, state)
            time.sleep(0.03)

    def release(self) -> None:
        """Release the lease. If the server does not linger, as in CI, the last release stops it."""
        self._lock.close()
        if self._linger <= 0:
            with contextlib.suppress(TrackingUnavailable):
                stop_folder(self._folder, only_unused=True)

    def _ready_state(self) -> ServerState | None:
        state = self.state()
        if state is not None and state.status == "ready":
            return state
        if not _supervised(self._folder) and read_state(self._folder) == state:
            raise TrackingUnavailable(
                "the local MLflow server's supervisor ended while the server was starting",
                hint=f"run again; if that fails, see {self._folder.log}",
            )
        return None


def acquire(root: Path, environ: Mapping[str, str], *, linger: float = LINGER_SECONDS) -> Lease:
    """Lease the project's server; start one if none runs, without waiting for it.

    Raises TrackingUnavailable if MLflow is not installed, or if the folder is not
    writable.
    """
    folder = ServerFolder.used_by(root, environ)
    try:
        private_folder(folder.path.parent)
        private_folder(folder.path)
        folder.artifacts.mkdir(exist_ok=True)
        return _acquire(folder, environ, linger)
    except PermissionError as error:
        raise TrackingUnavailable(
            f"cannot write to {error.filename}",
            why="the local MLflow server stores its database and lock files there.",
            hint="make the folder writable (it may belong to root), or set MLFLOW_TRACKING_URI",
        ) from None


def _acquire(folder: ServerFolder, environ: Mapping[str, str], linger: float) -> Lease:
    start = FileLock(folder.start_lock)
    if not start.wait_exclusive(LOCK_SECONDS):
        start.close()
        raise TrackingUnavailable(
            "another process is taking too long to start or stop the local MLflow server",
            hint=f"see {folder.log}; the lock is {folder.start_lock}",
        )
    lease = FileLock(folder.lease_lock)
    try:
        while not lease.try_shared():  # the supervisor holds it for microseconds while it checks
            time.sleep(0.001)
        alive = FileLock(folder.alive_lock)
        try:
            if _take(alive):
                _spawn(folder, environ, alive, linger)
        finally:
            alive.close()
    except BaseException:
        lease.close()
        raise
    finally:
        start.close()
    return Lease(folder, lease, linger=linger)


def status(root: Path) -> ServerStatus:
    """Whether the project's server runs, and where. Starts nothing and writes nothing."""
    folder = ServerFolder.of(root)
    if not folder.alive_lock.exists() or not _supervised(folder):
        return ServerStatus(running=False)
    state = read_state(folder)
    in_use = _leased(folder)
    if state is None:
        return ServerStatus(running=True, status="starting", in_use=in_use)
    return ServerStatus(
        running=True, uri=state.uri, version=state.version, status=state.status, in_use=in_use
    )


def running_at(folder: ServerFolder, uri: str) -> Endpoint | None:
    """The server of this folder with its token, if it runs at this address."""
    state = read_state(folder)
    same = state is not None and state.uri == uri and folder.alive_lock.exists() and _supervised(folder)
    return endpoint_of(folder, state) if state is not None and same else None


def stop(root: Path, *, only_unused: bool = False) -> bool:
    """Stop the project's server and wait until it has ended; return whether there was one.

    With ``only_unused``, a server that a run uses keeps running. Raises
    TrackingUnavailable if the server does not end.
    """
    return stop_folder(ServerFolder.of(root), only_unused=only_unused)


def stop_folder(folder: ServerFolder, *, only_unused: bool) -> bool:
    """Like :func:`stop`, for the server's folder."""
    if not folder.alive_lock.exists():
        return False
    start = FileLock(folder.start_lock)
    if not start.wait_exclusive(LOCK_SECONDS):
        start.close()
        raise TrackingUnavailable("another process is starting or stopping the local MLflow server")
    try:
        if only_unused and _leased(folder):
            return False
        if not _supervised(folder):
            return False
        deadline = time.monotonic() + STOP_SECONDS
        asked: ProcessId | None = None
        # The supervisor releases the lock shortly before it ends.
        while _supervised(folder) or (asked is not None and asked.alive()):
            state = read_state(folder)
            if asked is None and state is not None and state.supervisor.alive():
                os.kill(state.supervisor.pid, signal.SIGTERM)
                asked = state.supervisor
            if time.monotonic() > deadline:
                raise TrackingUnavailable(
                    "the local MLflow server does not end",
                    why="its supervisor may run in another container or as another user.",
                    hint=f"see {folder.state} for its process number",
                )
            time.sleep(0.02)
            _reap()
        return True
    finally:
        start.close()


def _spawn(folder: ServerFolder, environ: Mapping[str, str], alive: FileLock, linger: float) -> None:
    if find_spec("mlflow") is None:
        raise TrackingUnavailable(
            "MLflow is not installed, so Rondel can't start a local server",
            hint="install rondel[mlops], or set MLFLOW_TRACKING_URI to a running server",
        )
    from rondel.tracking.supervisor import plain_environment

    with contextlib.suppress(FileNotFoundError):
        folder.state.replace(folder.previous)  # the new supervisor ends the processes in it
    command = [
        sys.executable, "-P", "-m", "rondel.tracking.supervisor", str(folder.path),
        "--linger", str(linger), "--lock", str(alive.descriptor),
    ]  # fmt: skip
    _reap()
    process = _Supervisor(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=plain_environment(environ),
        start_new_session=True,
        pass_fds=(alive.descriptor,),
    )
    _STARTED.append(process)


def _reap() -> None:
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]


def _take(alive: FileLock) -> bool:
    """Take the supervisor's lock; return False if a supervisor holds it.

    Processes that only check the lock hold it shared for a moment: they are not supervisors.
    """
    while not alive.try_exclusive():
        if not alive.try_shared():
            return False
        alive.unlock()
    return True


def endpoint_of(folder: ServerFolder, state: ServerState) -> Endpoint:
    """The address of the local server, with its token."""
    token = server_token(folder.login)
    return Endpoint(uri=state.uri, token=token, stage_token=derived_key(token, "stages"))


def _supervised(folder: ServerFolder) -> bool:
    lock = FileLock(folder.alive_lock)
    try:
        return not lock.try_shared()
    finally:
        lock.close()


def _leased(folder: ServerFolder) -> bool:
    lock = FileLock(folder.lease_lock)
    try:
        return not lock.try_exclusive()
    finally:
        lock.close()
