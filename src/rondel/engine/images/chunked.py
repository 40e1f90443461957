"""Writes streams in large chunks: collected without a copy, and processed in background threads."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

CHUNK = 1 << 20
AHEAD = 8 << 20  # how much of a file the kernel reads ahead


class ByteSink(Protocol):
    """An object that accepts bytes."""

    def write(self, data: bytes | bytearray, /) -> object:
        """Accept these bytes; the caller does not change them afterwards."""


class ChunkedWriter:
    """Collects written bytes in chunks of :data:`CHUNK` bytes; only the last one is shorter.

    Files are read directly into a chunk, and a chunk is passed on without a copy.
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
        """Append a number of zeros."""
        while count:
            part = min(count, CHUNK - self._at)
            self._advance(part)  # a new chunk consists of zeros
            count -= part

    def read(self, handle: int, size: int) -> None:
        """Append exactly ``size`` bytes of a newly opened file; zeros if the file is shorter."""
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
        """Pass on the last chunk; the sink stays open."""
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
    """Writes to a sink in a background thread, in order, with a bounded queue.

    An error of the sink is raised by a later :meth:`write` or by :meth:`close`.
    """

    def __init__(self, sink: ByteSink, *, most: int = 8) -> None:
        self._sink = sink
        self._most = most
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._jobs: deque[Future[object]] = deque()

    def write(self, data: bytes | bytearray, /) -> int:
        """Queue bytes."""
        self._jobs.append(self._pool.submit(self._sink.write, data))
        while len(self._jobs) > self._most:
            self._jobs.popleft().result()
        return len(data)

    def close(self) -> None:
        """Wait until everything is written; the sink stays open."""
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
