"""A detached process that starts, watches and ends one MLflow server.

:mod:`rondel.tracking.server` starts it, and passes the locked supervisor lock on
as an open file, so that two runs can't start two supervisors. A run uses the
server while it holds the shared lease lock. If no run has held the lock for the
lingering time, the supervisor ends the server's process group and itself.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.files import landlock
from rondel.files.proc import IDLE_SECONDS, Patience
from rondel.tracking.endpoint import CONTAINER_HOST
from rondel.tracking.locks import FileLock, ProcessId, group_members
from rondel.tracking.login import server_token
from rondel.tracking.server_state import (
    FOLDER_VARIABLE,
    ServerFolder,
    ServerState,
    read_state,
    write_state,
    write_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

POLL_SECONDS = 0.5
STARTING_POLL_SECONDS = 0.05
STOP_SECONDS = 8.0
"""How long a server may take to end. It first answers pending requests, such as large uploads."""

QUICK_STOP_SECONDS = 1.5
"""The same for a server that ends with its run, as in CI: a cancelled job has five seconds in total.

At that time it has no users, and SQLite and renamed files survive a kill.
"""

RESTARTS = 3
LOG_LIMIT = 4 << 20
_PR_SET_PDEATHSIG = 1
_PLAIN = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
)


class _Stop(Exception):
    """A signal asked the supervisor to end."""


def main() -> int:
    """Entry point of ``python -m rondel.tracking.supervisor``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--linger", type=float, required=True)
    parser.add_argument("--lock", type=int, required=True)
    arguments = parser.parse_args()
    folder = ServerFolder(path=arguments.folder)
    os.set_inheritable(arguments.lock, False)
    lock = FileLock(folder.alive_lock, descriptor=arguments.lock)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    supervisor = Supervisor(folder, linger=arguments.linger)
    try:
        return supervisor.run()
    except _Stop:
        supervisor.stop_server()
        folder.state.unlink(missing_ok=True)
        return 0
    finally:
        lock.close()


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    raise _Stop


class Supervisor:
    """Runs the server of a folder, and restarts it if it dies, until no run needs it."""

    def __init__(self, folder: ServerFolder, *, linger: float) -> None:
        self._folder = folder
        self._linger = linger
        self._process: subprocess.Popen[bytes] | None = None
        identity = ProcessId.of(os.getpid())
        if identity is None:
            raise RuntimeError("/proc is not mounted")
        self._identity = identity

    def run(self) -> int:
        """Run the server until it is no longer used; return the exit code."""
        end_leftovers(self._folder)
        restarts = 0
        while True:
            failure = self._start()
            if failure is not None:
                write_state(self._folder, replace(self._state("failed"), message=failure))
                self.stop_server()
                return 1
            if self._watch():
                return 0
            # The server died while runs used it (out of memory, a kill). Clients retry for a while,
            # so a server on the same address a few seconds later saves their runs.
            restarts += 1
            self.stop_server()
            if restarts > RESTARTS:
                message = f"the server ended {restarts} times; the last lines:\n{tail(self._folder.log)}"
                write_state(self._folder, replace(self._state("failed"), message=message))
                return 1

    def stop_server(self) -> None:
        """End the server's process group: terminate, wait, then kill."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS if self._linger > 0 else QUICK_STOP_SECONDS)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def _start(self) -> str | None:
        """Start the server and wait until it answers; return the reason if it does not."""
        self._port = choose_port(self._folder)
        environment = server_environment(os.environ, self._folder)
        server_token(self._folder.login)
        self._folder.temporary.mkdir(exist_ok=True)
        with self._folder.log.open("wb") as log:
            self._process = subprocess.Popen(
                server_command(self._folder, self._port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder.path,
                env=environment,
                process_group=0,
                preexec_fn=partial(_before_server, str(self._folder.path), landlock.python_paths()),  # noqa: PLW1509
            )
        write_state(self._folder, self._state("starting"))
        patience = Patience(self._process.pid)
        while not patience.is_over():
            if self._process.poll() is not None:
                lines = tail(self._folder.log)
                return f"it ended with code {self._process.returncode}; the last lines:\n{lines}"
            version = ask_version(self._port)
            if version is not None:
                write_text(self._folder.port, f"{self._port}\n")
                write_state(self._folder, replace(self._state("ready"), version=version))
                return None
            time.sleep(STARTING_POLL_SECONDS)
        lines = tail(self._folder.log) or "(none)"
        return f"it did nothing for {IDLE_SECONDS:.0f} s and does not answer; its last lines:\n{lines}"

    def _watch(self) -> bool:
        """Wait until the server is unused, then stop it; return False if it died before."""
        lease = FileLock(self._folder.lease_lock)
        used = time.monotonic()
        try:
            while True:
                if self._process is None or self._process.poll() is not None:
                    return False
                if lease.try_exclusive():
                    lease.unlock()
                else:
                    used = time.monotonic()
                if time.monotonic() - used >= self._linger and self._end_unused(lease):
                    return True
                if self._folder.log.stat().st_size > LOG_LIMIT:
                    os.truncate(self._folder.log, 0)
                time.sleep(POLL_SECONDS)
        finally:
            lease.close()

    def _end_unused(self, lease: FileLock) -> bool:
        """Stop the server under the start lock, so that no run can lease it; return whether it stopped."""
        start = FileLock(self._folder.start_lock)
        try:
            if not start.try_exclusive() or not lease.try_exclusive():
                return False
            self.stop_server()
            self._folder.state.unlink(missing_ok=True)
            return True
        finally:
            start.close()

    def _state(self, status: str) -> ServerState:
        server = ProcessId.of(self._process.pid) if self._process else None
        return ServerState(
            status=status,  # type: ignore[arg-type]
            port=self._port,
            supervisor=self._identity,
            server=server,
        )


def server_command(folder: ServerFolder, port: int) -> list[str]:
    """The command line of a small server: one worker, SQLite, and proxied artifacts."""
    return [
        sys.executable, "-P", "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder.database}",
        "--artifacts-destination", str(folder.artifacts),
        "--app-name", "rondel",
    ]  # fmt: skip


def server_environment(environ: Mapping[str, str], folder: ServerFolder) -> dict[str, str]:
    """The server's environment: the harmless variables of ours, with bytecode caching on.

    A process that outlives the run must not have the run's secrets, or the client's
    MLflow settings. It can only write to its folder, so that is its home. Without
    bytecode, the server takes three times as long to start. So
    PYTHONDONTWRITEBYTECODE is dropped, and if the packages were installed without
    bytecode, it goes to the folder, too.
    """
    kept = plain_environment(environ) | {"HOME": str(folder.path), "TMPDIR": str(folder.temporary)}
    spec = find_spec("mlflow")
    if spec and spec.cached and not Path(spec.cached).is_file():
        kept["PYTHONPYCACHEPREFIX"] = str(folder.path / "pycache")
    names = ("localhost", "127.0.0.1", "[[]::1[]]", CONTAINER_HOST)
    return kept | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # By default, MLflow answers 403 to the host name that containers use; its health check does not.
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name}:*" for name in names),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        FOLDER_VARIABLE: str(folder.path),
        "PYTHONSAFEPATH": "1",  # files in its folder are no modules
    }


def plain_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a Python program needs, without any that could be a secret."""
    return {
        name: value
        for name, value in environ.items()
        if (name in _PLAIN or name.startswith(("LC_", "XDG_", "PYTHON")))
        and name != "PYTHONDONTWRITEBYTECODE"
    }


def choose_port(folder: ServerFolder) -> int:
    """The last port if it is free, so that recorded addresses stay valid; else any free port."""
    with contextlib.suppress(OSError, ValueError):
        last = int(folder.port.read_text(encoding="ascii"))
        if 1024 <= last <= 65535 and _free(last):
            return last
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_leftovers(folder: ServerFolder) -> None:
    """End the server that a killed supervisor left running: two servers must not share a folder."""
    state = read_state(folder, previous=True)
    if state is None or state.server is None:
        return
    marker = f"{FOLDER_VARIABLE}={folder.path}"
    deadline = time.monotonic() + STOP_SECONDS
    number = signal.SIGTERM
    while members := group_members(state.server.pid, marker):
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(STARTING_POLL_SECONDS)
        if time.monotonic() > deadline:
            number = signal.SIGKILL
    folder.previous.unlink(missing_ok=True)


def ask_version(port: int) -> str | None:
    """The version of the server on this port; None while it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/version")
        response = connection.getresponse()
        body = response.read(200).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        return None
    else:
        return body if response.status == 200 else None
    finally:
        connection.close()


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a file, or nothing."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _before_server(folder: str, read: list[str]) -> None:
    # Runs between fork and exec, which is safe here because the supervisor has one thread.
    # MLflow's command passes SIGTERM on to its worker, so a killed supervisor leaves no server behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if landlock.version() >= landlock.PATHS_SINCE:
        landlock.restrict_to_paths(read=read, write=[folder, "/dev/null"])


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
