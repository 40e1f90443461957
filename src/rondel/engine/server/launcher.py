"""Starts sessions: binds a port at once; the engine loads in parallel and starts at the first connection.

Used by ``rondel run`` and ``rondel session``, and from Python::

    with EmbeddedSession.open() as session:
        subprocess.run(command, env=os.environ | session.environment)

``python -m rondel.engine.server.launcher COMMAND...`` runs a command in a session.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rondel.engine.server.__main__ import NOT_NEEDED
from rondel.engine.server.refusal import LONGEST_REASON, reason_of_end, refuse
from rondel.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN_SESSION = "RONDEL_SESSION"
"""Set to 1 with the session's port: tells clients that the session is not a Dagger engine's."""

LIVE_OUTPUT = "RONDEL_ENGINE_OUTPUT"
"""The file to which the engine appends the output of commands while they run."""


class EmbeddedSession:
    """A session's port and token, and the engine process behind it.

    The engine process loads while the client does, opens its store at the first connection, and
    ends with :meth:`close` or with this process, however that ends. On a machine with one
    processor, which the client needs, it starts at the first connection. Use as a context manager.
    """

    def __init__(self, listener: socket.socket, workdir: Path, store: Path | None) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.token = secrets.token_urlsafe(24)
        self._settings = {
            "token": self.token,
            "workdir": str(workdir),
            "store": str(store) if store else None,
        }
        # A file without a name leaves nothing behind, whichever process is killed.
        self._output = tempfile.TemporaryFile(prefix="rondel-output-")  # noqa: SIM115 - closed with the session
        self._wake, self._awake = os.pipe()
        self._engine: subprocess.Popen[bytes] | None = None
        # The kernel kills the engine when the thread that started it ends, so this thread stays.
        self._keeper = threading.Thread(target=self._keep, name="engine keeper", daemon=True)
        self._keeper.start()

    @classmethod
    def open(cls, *, workdir: Path | None = None, store: Path | None = None) -> Self:
        """Bind a loopback port for a session. Raises EngineUnavailable if there is none.

        ``workdir`` is the base of relative host paths, the current directory by default;
        ``store`` is where snapshots are kept, by default ``$RONDEL_ENGINE_HOME`` or the user's cache.
        """
        try:
            listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        except OSError as error:
            raise EngineUnavailable("no loopback port can be bound for the engine", why=str(error)) from error
        return cls(listener, workdir or Path.cwd(), store)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a Dagger client finds this session, and where its commands' output goes."""
        return {
            "DAGGER_SESSION_PORT": str(self.port),
            "DAGGER_SESSION_TOKEN": self.token,
            OWN_SESSION: "1",
            LIVE_OUTPUT: f"/proc/{os.getpid()}/fd/{self._output.fileno()}",
        }

    @property
    def connection_line(self) -> str:
        """The line that ``dagger session`` prints for its client."""
        return json.dumps({"port": self.port, "session_token": self.token})

    def close(self, timeout: float = 20.0) -> None:
        """End the engine; wait at most ``timeout`` seconds before killing it."""
        if self._awake >= 0:
            os.close(self._awake)
            self._awake = -1
        self._keeper.join(timeout)
        if self._keeper.is_alive() and self._engine is not None:
            self._engine.kill()
            self._keeper.join()
        self._listener.close()
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self) -> None:
        """Run the engine and wait for the session's end."""
        try:
            if len(os.sched_getaffinity(0)) == 1:
                readable, _, _ = select.select([self._listener.fileno(), self._wake], [], [])
                if self._wake in readable:
                    return
            engine = self._start()
            pidfd = os.pidfd_open(engine.pid)
            try:
                readable, _, _ = select.select([self._wake, pidfd], [], [])
            finally:
                os.close(pidfd)
            if self._wake not in readable:
                # It ended by itself. Tell clients the reason: a closed port looks like a broken network.
                message = reason_of_end(engine.wait(), _last_words(engine))
                refuse(self._listener, self.token, message, self._wake)
            self._listener.close()
            engine.send_signal(NOT_NEEDED)
            if engine.stdin is not None:
                engine.stdin.close()
            engine.wait()
            if engine.stdout is not None:
                engine.stdout.close()
        finally:
            os.close(self._wake)

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        self._engine = engine = subprocess.Popen(
            [sys.executable, "-P", "-m", "rondel.engine.server", str(descriptor)],
            env={**os.environ, LIVE_OUTPUT: self.environment[LIVE_OUTPUT]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,  # for its last words: the reason why it could not start
            pass_fds=[descriptor],
            process_group=0,
        )
        try:
            if engine.stdin is not None:
                engine.stdin.write(json.dumps(self._settings).encode() + b"\n")
                engine.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; the waiting thread learns the reason
        return engine


def _last_words(engine: subprocess.Popen[bytes]) -> str:
    """The reason that the engine gave before it ended."""
    if engine.stdout is None:
        return ""
    os.set_blocking(engine.stdout.fileno(), False)  # one of its children may hold the other end open
    data = engine.stdout.read(LONGEST_REASON)
    return (data or b"").decode("utf-8", "replace").strip()


def run(command: Sequence[str], *, workdir: Path | None = None, store: Path | None = None) -> int:
    """Run a command in a session; returns its exit code (128 + N if signal N ended it).

    Passes SIGINT and SIGTERM on to the command once, as ``dagger run`` does with SIGTERM.
    """
    with EmbeddedSession.open(workdir=workdir, store=store) as session:
        try:
            child = subprocess.Popen(command, env=os.environ | session.environment)
        except OSError as error:
            raise EngineUnavailable(f"cannot start {command[0]!r}: {error.strerror}") from error
        numbers = (signal.SIGINT, signal.SIGTERM)
        former = [signal.signal(number, lambda *_: child.terminate()) for number in numbers]
        try:
            code = child.wait()
        finally:
            for number, handler in zip(numbers, former, strict=True):
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
