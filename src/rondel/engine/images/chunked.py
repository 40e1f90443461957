"""Streams in large pieces: gathered without a copy, and worked on in threads of their own."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

CHUNK = 1 << 20
AHEAD = 8 << 20  # what of a file the kernel is to read in advance


class ByteSink(Protocol):
    """Something that takes bytes."""

    def write(self, data: bytes | bytearray, /) -> object:
        """Take these bytes, which nobody changes afterwards."""


class ChunkedWriter:
    """Gathers what is written into pieces of :data:`CHUNK` bytes; only the last one is shorter.

    Files are read straight into a piece, and a piece is handed on as it is.
    """

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._piece = bytearray(CHUNK)
        self._at = 0
        self.written = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        end = self._at + len(data)
        if end < CHUNK:
            self._piece[self._at : end] = data
            self._at = end
            self.written += len(data)
            return
        left = memoryview(data)
        while left:
            part = left[: CHUNK - self._at]
            self._piece[self._at : self._at + len(part)] = part
            self._advance(len(part))
            left = left[len(part) :]

    def zeros(self, count: int) -> None:
        """Append so many zeros."""
        while count:
            part = min(count, CHUNK - self._at)
            self._advance(part)  # a piece is all zeros where nothing was written
            count -= part

    def read(self, handle: int, size: int) -> None:
        """Append exactly ``size`` bytes of a newly opened file; zeros in place of what it has not."""
        done = 0
        while size:
            part = min(size, CHUNK - self._at)
            if size > AHEAD:
                os.posix_fadvise(handle, done + AHEAD, part, os.POSIX_FADV_WILLNEED)
            got = os.readv(handle, [memoryview(self._piece)[self._at : self._at + part]])
            if not got:
                self.zeros(size)
                return
            self._advance(got)
            size -= got
            done += got

    def close(self) -> None:
        """Hand on what is left; the sink stays open."""
        if self._at:
            self._sink.write(bytes(memoryview(self._piece)[: self._at]))
            self._at = 0

    def _advance(self, count: int) -> None:
        self._at += count
        self.written += count
        if self._at == CHUNK:
            full, self._piece, self._at = self._piece, bytearray(CHUNK), 0
            self._sink.write(full)


class BackgroundWriter:
    """Writes to a sink in a thread of its own, in order, and at most a few pieces behind.

    What the sink raises is raised by a later :meth:`write` or by :meth:`close`.
    """

    def __init__(self, sink: ByteSink, *, most: int = 8) -> None:
        self._sink = sink
        self._most = most
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._jobs: deque[Future[object]] = deque()

    def write(self, data: bytes | bytearray, /) -> int:
        """Take bytes."""
        self._jobs.append(self._pool.submit(self._sink.write, data))
        while len(self._jobs) > self._most:
            self._jobs.popleft().result()
        return len(data)

    def close(self) -> None:
        """Wait until all is written; the sink stays open."""
        while self._jobs:
            self._jobs.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._pool.shutdown(cancel_futures=True)
