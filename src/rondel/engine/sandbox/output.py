"""A command's output while it runs: kept in memory or spilled to disk, and read back as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.engine.store import Blobs, Output

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.store.blobs import BlobWriter

_INLINE = 1024 * 1024


class Spool:
    """Holds bytes in memory while they are few, else in a blob."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._data = bytearray()
        self._file: tuple[BlobWriter, Path] | None = None
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._size += len(data)
        if self._file is not None:
            self._file[0].write(data)
            return
        self._data += data
        if len(self._data) > _INLINE:
            self._file = self._blobs.create()
            self._file[0].write(bytes(self._data))
            self._data = bytearray()

    def so_far(self) -> bytes:
        """What was written; only the last part if it was spilled."""
        if self._file is None:
            return bytes(self._data)
        with self._file[1].open("rb") as file:
            file.seek(max(0, self._size - _INLINE))
            return file.read()

    def finish(self) -> Output:
        """The whole output; call it once."""
        if self._file is None:
            return Output.of(bytes(self._data))
        writer, path = self._file
        self._file = None
        return Output(blob=self._blobs.keep(writer, path), size=self._size)

    def drop(self) -> None:
        """Discard the data."""
        if self._file is not None:
            self._blobs.drop(*self._file)
            self._file = None
