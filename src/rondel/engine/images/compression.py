"""Compressed layer streams: detected by their first bytes, written reproducibly.

Gzip output is a sequence of members (RFC 1952 allows it, every reader accepts
it), so that all cores can work on one layer; its header contains no time and no name.
"""

from __future__ import annotations

import bz2
import lzma
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Self, cast

from rondel.engine.images.chunked import CHUNK, BackgroundWriter

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from rondel.engine.images.chunked import ByteSink

_LEVEL = 2  # of isal: a little larger than zlib's default, and ten times as fast
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def detect(head: bytes) -> str:
    """``gzip``, ``zstd``, ``bzip2``, ``xz`` or ``""`` (none), by the first six bytes or more."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"
    if head.startswith(b"BZh"):
        return "bzip2"
    return "xz" if head.startswith(b"\xfd7zXZ\x00") else ""


def decompressed(raw: IO[bytes]) -> IO[bytes]:
    """A reader of the uncompressed bytes of a seekable stream with any supported compression."""
    start = raw.tell()
    kind = detect(raw.read(6))
    raw.seek(start)
    if kind == "gzip":
        from isal import igzip

        return cast("IO[bytes]", igzip.GzipFile(fileobj=raw, mode="rb"))  # type: ignore[no-untyped-call]
    if kind == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=False)
    if kind == "bzip2":
        return bz2.BZ2File(raw)
    return lzma.LZMAFile(raw) if kind == "xz" else raw


class GzipWriter:
    """Gzip on all cores; the bytes depend only on the content, not on the sizes of the writes."""

    def __init__(self, sink: ByteSink) -> None:
        self._sink = BackgroundWriter(sink)
        self._pending = bytearray()
        self._written = False
        workers = min(os.cpu_count() or 1, 8)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="gzip")
        self._jobs: deque[Future[bytes]] = deque()
        self._depth = workers * 2

    def write(self, data: bytes | bytearray, /) -> int:
        """Write uncompressed bytes; the caller does not change them afterwards."""
        if len(data) == CHUNK and not self._pending:
            self._submit(data)
            return CHUNK
        self._pending += data
        while len(self._pending) >= CHUNK:
            self._submit(bytes(self._pending[:CHUNK]))
            del self._pending[:CHUNK]
        return len(data)

    def close(self) -> None:
        """Write the rest; the sink stays open."""
        if self._pending or not self._written:
            self._submit(bytes(self._pending))
            self._pending.clear()
        while self._jobs:
            self._sink.write(self._jobs.popleft().result())
        self._sink.close()

    def __enter__(self) -> Self:
        self._sink.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._sink.__exit__(kind, error, trace)

    def _submit(self, piece: bytes | bytearray) -> None:
        self._written = True
        self._jobs.append(self._pool.submit(_gzip_member, piece))
        while len(self._jobs) > self._depth:
            self._sink.write(self._jobs.popleft().result())


def _gzip_member(piece: bytes | bytearray) -> bytes:
    from isal import isal_zlib

    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    checksum = isal_zlib.crc32(piece).to_bytes(4, "little") + len(piece).to_bytes(4, "little")
    return b"".join((_GZIP_HEADER, packer.compress(piece), packer.flush(), checksum))
