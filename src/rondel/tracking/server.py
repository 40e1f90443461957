"""The local MLflow server as a run sees it: lease it, wait for it, release it, stop it.

One server a project, shared by all runs at the same time. A run holds a lease
(a shared file lock that the kernel drops however the run ends); the supervisor
(:mod:`rondel.tracking.supervisor`) ends the server some time after the last
lease is gone.
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
from rondel.tracking.locks import FileLock, ProcessId
from rondel.tracking.state import Folder, ServerState, read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LINGER_SECONDS = 600.0
"""How long a server outlives its last run."""
LOCK_SECONDS = 15.0
READY_SECONDS = 130.0
STOP_SECONDS = 20.0


class _Supervisor(subprocess.Popen[bytes]):
    """A child that outlives this process on purpose, so that nobody has to be warned of it."""

    def __del__(self) -> None:
        """Do not warn."""


_STARTED: list[_Supervisor] = []
"""Supervisors that this process started: they outlive it, but while it lives it has to reap them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus:
    """What ``rondel ui`` and ``rondel doctor`` tell about the local server."""

    running: bool
    uri: str = ""
    version: str = ""
    status: str = ""
    in_use: bool = False


class Lease:
    """A run's claim on the local server; as long as it is held, the server is kept."""

    def __init__(self, folder: Folder, lock: FileLock, *, linger: float) -> None:
        self._folder = folder
        self._lock = lock
        self._linger = linger

    def state(self) -> ServerState | None:
        """How far the server is; None in the first moments.

        Raises TrackingUnavailable when it cannot start.
        """
        state = read(self._folder)
        if state is not None and state.status == "failed":
            raise TrackingUnavailable(
                "the local MLflow server does not start",
                why=state.message,
                hint=f"see {self._folder.log}, or set MLFLOW_TRACKING_URI to a server of your own",
            )
        return state

    async def ready(self, seconds: float = READY_SECONDS) -> ServerState:
        """Wait until the server answers. Raises TrackingUnavailable when it cannot or does not."""
        import anyio

        deadline = time.monotonic() + seconds
        while True:
            state = self._ready_state(deadline)
            if state is not None:
                return state
            await anyio.sleep(0.03)

    def ready_now(self, seconds: float = READY_SECONDS) -> ServerState:
        """As :meth:`ready`, for callers outside an event loop."""
        deadline = time.monotonic() + seconds
        while True:
            state = self._ready_state(deadline)
            if state is not None:
                return state
            time.sleep(0.03)

    def release(self) -> None:
        """Give the lease back; where nothing lingers (CI) the last one ends the server."""
        self._lock.close()
        if self._linger <= 0:
            with contextlib.suppress(TrackingUnavailable):
                stop_folder(self._folder, only_unused=True)

    def _ready_state(self, deadline: float) -> ServerState | None:
        state = self.state()
        if state is not None and state.status == "ready":
            return state
        if not _supervised(self._folder) and read(self._folder) == state:
            raise TrackingUnavailable(
                "the local MLflow server's supervisor ended while the server was starting",
                hint=f"run again; if it stays, see {self._folder.log}",
            )
        if time.monotonic() > deadline:
            raise TrackingUnavailable(
                "the local MLflow server is not ready in time", hint=f"see {self._folder.log}"
            )
        return None


def acquire(root: Path, environ: Mapping[str, str], *, linger: float = LINGER_SECONDS) -> Lease:
    """Lease the project's server, starting one when none runs; returns at once.

    Raises TrackingUnavailable when MLflow is not installed or the folder cannot
    be written to.
    """
    folder = Folder.of(root)
    try:
        folder.artifacts.mkdir(parents=True, exist_ok=True)
        return _acquire(folder, root, environ, linger)
    except PermissionError as error:
        raise TrackingUnavailable(
            f"cannot write to {error.filename}",
            why="the local MLflow server keeps its database and its lock files there.",
            hint="give yourself the folder (it may belong to root), or set MLFLOW_TRACKING_URI",
        ) from None


def _acquire(folder: Folder, root: Path, environ: Mapping[str, str], linger: float) -> Lease:
    start = FileLock(folder.start_lock)
    if not start.wait_exclusive(LOCK_SECONDS):
        start.close()
        raise TrackingUnavailable(
            "another process has been starting or stopping the local MLflow server for a while",
            hint=f"see {folder.log}; the lock is {folder.start_lock}",
        )
    lease = FileLock(folder.lease_lock)
    try:
        while not lease.try_shared():  # the supervisor looks in for microseconds
            time.sleep(0.001)
        alive = FileLock(folder.alive_lock)
        try:
            if _take(alive):
                _spawn(root, environ, alive, linger)
        finally:
            alive.close()
    except BaseException:
        lease.close()
        raise
    finally:
        start.close()
    return Lease(folder, lease, linger=linger)


def status(root: Path) -> ServerStatus:
    """Whether the project's server runs, and where; starts nothing, writes nothing."""
    folder = Folder.of(root)
    if not folder.alive_lock.exists() or not _supervised(folder):
        return ServerStatus(running=False)
    state = read(folder)
    in_use = _leased(folder)
    if state is None:
        return ServerStatus(running=True, status="starting", in_use=in_use)
    return ServerStatus(
        running=True, uri=state.uri, version=state.version, status=state.status, in_use=in_use
    )


def stop(root: Path, *, only_unused: bool = False) -> bool:
    """End the project's server; whether there was one. Waits until it is gone.

    Raises TrackingUnavailable when it does not end. With ``only_unused`` a
    server that a run uses is left alone.
    """
    return stop_folder(Folder.of(root), only_unused=only_unused)


def stop_folder(folder: Folder, *, only_unused: bool) -> bool:
    """As :func:`stop`, for a folder that is already known."""
    if not folder.alive_lock.exists():
        return False
    start = FileLock(folder.start_lock)
    if not start.wait_exclusive(LOCK_SECONDS):
        start.close()
        raise TrackingUnavailable("the local MLflow server is being started or stopped by another process")
    try:
        if only_unused and _leased(folder):
            return False
        if not _supervised(folder):
            return False
        deadline = time.monotonic() + STOP_SECONDS
        asked: ProcessId | None = None
        # The lock is let go shortly before the process is gone.
        while _supervised(folder) or (asked is not None and asked.alive()):
            state = read(folder)
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


def _spawn(root: Path, environ: Mapping[str, str], alive: FileLock, linger: float) -> None:
    if find_spec("mlflow") is None:
        raise TrackingUnavailable(
            "MLflow is not installed here, so no local server can be started",
            hint="install rondel[mlops], or set MLFLOW_TRACKING_URI to a server that runs",
        )
    from rondel.tracking.supervisor import plain_environment

    folder = Folder.of(root)
    with contextlib.suppress(FileNotFoundError):
        folder.state.replace(folder.previous)  # the new supervisor ends what it names
    command = [
        sys.executable, "-m", "rondel.tracking.supervisor", str(root.absolute()),
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
    """Take the supervisor's lock; False when a supervisor has it.

    Those who only look hold it shared for a moment, and must not pass for one.
    """
    while not alive.try_exclusive():
        if not alive.try_shared():
            return False
        alive.unlock()
    return True


def _supervised(folder: Folder) -> bool:
    lock = FileLock(folder.alive_lock)
    try:
        return not lock.try_shared()
    finally:
        lock.close()


def _leased(folder: Folder) -> bool:
    lock = FileLock(folder.lease_lock)
    try:
        return not lock.try_exclusive()
    finally:
        lock.close()
