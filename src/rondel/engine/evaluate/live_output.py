"""The output of commands while they run, for whoever started the session: one JSON object a line.

Beyond the Dagger API: where ``$RONDEL_ENGINE_OUTPUT`` names a file, the engine appends frames
``{"tag", "exec", "stream", "text"}`` to it. ``tag`` is the value of ``RONDEL_OUTPUT_TAG`` in the
command's environment, empty without; ``exec`` stands for the command; ``text`` is a part of its
output, scrubbed of secrets, bytes as Latin-1. The file's owner opens and removes it: a file
without a name, that others reach through ``/proc``, leaves nothing behind whoever is killed.

``RONDEL_TRACE_INPUTS`` in the environment names a folder of the container; the command does not get
the variable. When it has ended, a frame ``{"tag", "exec", "opened", "written", "known", "why"}`` says
which files of that folder it opened, of those that were there before it: by paths relative to the
folder. ``written`` are those of them that were only opened for writing. Unless it is ``known`` that
these are all, ``why`` says why not. No such frame comes of a command that was not run, because its
result was there already, or that was killed.
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
"""Bytes of frames in one session. What is more is not lost: it comes with the command's result."""


class LiveOutput:
    """Appends frames to a file; does nothing without one, and nothing more when it cannot."""

    def __init__(self, path: str = "", *, limit: int = LIMIT) -> None:
        """Open the file, which has to exist. One that cannot be opened is as good as none."""
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
        """The one that the environment asks for."""
        return cls(environ.get(VARIABLE, ""))

    @property
    def on(self) -> bool:
        """Whether frames are written."""
        return self._descriptor >= 0

    def listener(self, tag: str, command: str) -> Callable[[str, bytes], None] | None:
        """What takes the output of one command: stream name and bytes. None where nobody listens."""
        if self._descriptor < 0:
            return None

        def take(stream: str, data: bytes) -> None:
            self._frame({"tag": tag, "exec": command, "stream": stream, "text": data.decode("latin-1")})

        return take

    def opened(self, tag: str, command: str, opened: Opened) -> None:
        """Tell which files a command opened, in one frame however many they are: it comes whole or not."""
        frame = {"tag": tag, "exec": command, "known": not opened.unknown, "why": opened.unknown}
        self._frame({**frame, "opened": sorted(opened.names), "written": sorted(opened.written)})

    def tell(self, notice: str) -> bool:
        """Give a notice to whoever reads the frames; False if nobody does, so that it has to be printed.

        A reader holds a shared lock of the file. What is printed to a terminal
        on which that reader draws would spoil its drawing.
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
        # Names of files may be no text: json.loads takes the bytes that come of it.
        line = json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        self._left -= len(line)
        if self._left < 0:
            # The end is a frame, too: whoever reads has to know that more is to come another way.
            line = json.dumps({"full": True}).encode() + b"\n"
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            written = 0
        if self._left < 0 or written != len(line):
            self.close()

    def close(self) -> None:
        """No more frames."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
