"""The output of commands while they run, for the program that started the session: JSON lines.

An extension of the Dagger API: if ``$RONDEL_ENGINE_OUTPUT`` names a file, the engine appends frames
``{"tag", "exec", "stream", "text"}`` to it. ``tag`` is the value of ``RONDEL_OUTPUT_TAG`` in the
command's environment, empty without; ``exec`` identifies the command; ``text`` is a part of its
masked output, bytes as Latin-1. The reader creates the file without a name and passes its path
below ``/proc``, so that nothing is left behind when a process is killed.

``RONDEL_TRACE_INPUTS`` in the environment names a folder of the container; the command does not see
the variable. When the command has ended, a frame ``{"tag", "exec", "opened", "written", "known",
"why"}`` lists which files of that folder it opened, of those that existed before it, as paths
relative to the folder. ``written`` are those that were only opened for writing. If ``known`` is
false, the list may be incomplete, and ``why`` says why. There is no such frame for a command
that did not run, because its result was known, or that was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from rondel.engine.sandbox import Opened

VARIABLE = "RONDEL_ENGINE_OUTPUT"
TAG = "RONDEL_OUTPUT_TAG"
TRACE = "RONDEL_TRACE_INPUTS"
LIMIT = 64 << 20
"""Limit of the frames of one session in bytes. Output beyond it still comes with the command's result."""


class LiveOutput:
    """Appends frames to a file; does nothing without one, and stops at the first error."""

    def __init__(self, path: str = "", *, limit: int = LIMIT) -> None:
        """Open the file, which must exist; without it, no frames are written."""
        self._descriptor = -1
        self._left = limit
        if not path:
            return
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                self.close()
        except OSError:
            self._descriptor = -1

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> LiveOutput:
        """The output file that the environment names."""
        return cls(environ.get(VARIABLE, ""))

    @property
    def on(self) -> bool:
        """Whether frames are written."""
        return self._descriptor >= 0

    def listener(self, tag: str, command: str) -> Callable[[str, bytes], None] | None:
        """A receiver for the output of one command: stream name and bytes. None if there is no reader."""
        if self._descriptor < 0:
            return None

        def take(stream: str, data: bytes) -> None:
            self._frame({"tag": tag, "exec": command, "stream": stream, "text": data.decode("latin-1")})

        return take

    def opened(self, tag: str, command: str, opened: Opened) -> None:
        """Report which files a command opened, in one frame of any length, written whole or not at all."""
        frame = {"tag": tag, "exec": command, "known": not opened.unknown, "why": opened.unknown}
        self._frame({**frame, "opened": sorted(opened.names), "written": sorted(opened.written)})

    def tell(self, notice: str) -> bool:
        """Send a notice to the reader of the frames; False if there is none, so that it must be printed.

        A reader holds a shared lock on the file. It may be drawing on the terminal, and printing
        there would spoil its drawing.
        """
        if self._descriptor < 0:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._frame({"notice": notice})
            return self._descriptor >= 0
        except OSError:
            return False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def _frame(self, frame: Mapping[str, Any]) -> None:
        if self._descriptor < 0:
            return
        # File names may contain any bytes: json.loads reads the surrogates that stand for them.
        line = json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        self._left -= len(line)
        if self._left < 0:
            # The reader must know that the rest of the output comes with the result.
            line = json.dumps({"full": True}).encode() + b"\n"
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            written = 0
        if self._left < 0 or written != len(line):
            self.close()

    def close(self) -> None:
        """Stop writing frames."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
