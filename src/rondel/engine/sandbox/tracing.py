"""Traces a command: holds it until its folder is watched, then collects what it opens.

The watch must be on the container's own mounts, and in place before the command's first
instruction. bwrap makes the mounts in the order of its options, and ``--file`` copies a
descriptor until its end. So the last option copies a pipe to /dev/null: when bwrap has read the
one byte in it, all mounts are in place; it continues when the pipe is closed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.sandbox.folder_watch import FolderWatch
from rondel.engine.sandbox.spawn import writable
from rondel.engine.sandbox.trace_scope import HOLD

if TYPE_CHECKING:
    from rondel.engine.sandbox.spawn import BwrapProcess
    from rondel.engine.sandbox.spec import Opened
    from rondel.engine.sandbox.trace_scope import TraceScope

_PAUSE = 0.01
"""Seconds between two reads of the queue: waking up for each event would cost the opening process ten times
as much as the event itself. Meanwhile the kernel queues events (``max_queued_events``, 16,384).
"""
_MANY = 2000
"""After this many events there is no pause."""
_NEW_ROOT = "newroot"  # where bwrap builds the container, below its temporary root


class Trace:
    """The tracing of one command."""

    def __init__(self, scope: TraceScope) -> None:
        self._watch = FolderWatch(scope)
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._pause: asyncio.TimerHandle | None = None
        self.theirs, self._ours = os.pipe2(os.O_CLOEXEC)
        # A pipe of one page: the byte fills it, so it is writable again only when bwrap has read it.
        fcntl.fcntl(self._ours, fcntl.F_SETPIPE_SZ, os.sysconf("SC_PAGE_SIZE"))
        os.write(self._ours, b".")

    @property
    def options(self) -> tuple[str, ...]:
        """The last of bwrap's mount options; ``theirs`` must be passed on to bwrap."""
        return ("--file", str(self.theirs), HOLD)

    def begin(self, container: BwrapProcess) -> None:
        """Place the watch as soon as the container has its mounts, then let the command start."""
        self._task = asyncio.get_running_loop().create_task(self._place(container))

    async def _place(self, container: BwrapProcess) -> None:
        try:
            await writable(self._ours)  # it also returns if bwrap has failed; then the next steps fail, too
            await container.known.wait()
            root = f"/proc/{container.first}/root/{_NEW_ROOT}"
            await anyio.to_thread.run_sync(self._watch.start, root)
            if self._closed:
                self._forget()
            else:
                self._listen()
        finally:
            self._release()

    def _listen(self) -> None:
        self._pause = None
        if self._watch.descriptor >= 0:
            asyncio.get_running_loop().add_reader(self._watch.descriptor, self._read)

    def _read(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._watch.descriptor)
        count = self._watch.read()
        self._pause = loop.call_later(_PAUSE if count < _MANY else 0, self._listen)

    async def end(self) -> Opened:
        """What was opened; call it after the container has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])
        return self._watch.end()

    def close(self) -> None:
        """Stop watching; may be called repeatedly."""
        self._closed = True
        self._release()
        self._forget()

    def _release(self) -> None:
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def _forget(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        queue = self._watch.detach()
        if queue is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(queue.descriptor)
            loop.run_in_executor(None, queue.close)  # the kernel removes the watches in the background
