"""A small event loop: readiness callbacks, calls from threads, and a slow clock.

asyncio would do, but takes longer to import than everything else here together.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_TICK_SECONDS = 1.0


class Loop:
    """Calls back on one thread when file descriptors are ready."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._watched: dict[int, tuple[int, Callable[[int], None]]] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._ticks: list[Callable[[float], None]] = []
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.running = True
        self.watch(self._wake_read, READ, self._drain)

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback`` with the ready ones of ``events``; no events stops the watch."""
        known = self._watched.get(fd)
        if not events:
            if known is not None:
                del self._watched[fd]
                with suppress(OSError):
                    self._poll.unregister(fd)
            return
        if known is None:
            self._poll.register(fd, events)
        elif known[0] != events:
            self._poll.modify(fd, events)
        self._watched[fd] = (events, callback)

    def each_tick(self, callback: Callable[[float], None]) -> None:
        """Call ``callback`` about once a second with the monotonic time."""
        self._ticks.append(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` from the loop; safe to use from other threads."""
        self._calls.append(callback)
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _drain(self, _ready: int) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    def run(self) -> None:
        """Serve until ``running`` is False."""
        last = time.monotonic()
        while self.running:
            for fd, ready in self._poll.poll(_TICK_SECONDS):
                found = self._watched.get(fd)
                if found is not None:
                    found[1](ready)
            while self._calls:
                self._calls.popleft()()
            now = time.monotonic()
            if now - last >= _TICK_SECONDS:
                last = now
                for tick in self._ticks:
                    tick(now)
