"""A command's output while it runs: masked, kept in memory or spilled to disk, and read back as a whole."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from rondel.engine.store import Blobs, Output

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rondel.engine.store.blobs import BlobWriter

MASK = b"***"
_INLINE = 1024 * 1024
_SHORT, _TELLING = 2, 6  # bytes
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def patterns_of(secrets: Iterable[bytes]) -> tuple[bytes, ...]:
    """The texts to mask for some secrets: as they are, trimmed, and both in base64; longest first."""
    found = set()
    for value in secrets:
        for form in (value, value.strip()):
            if form:
                found.add(form)
                found |= _in_base64(form)
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _in_base64(form: bytes) -> set[bytes]:
    """The base64 of a value, alone and inside of a longer text (``user:password``).

    There, the value may start at any of three offsets within a group; characters that also encode
    its neighbours are left out. Short values give none, because they would match by chance.
    """
    if len(form) <= _SHORT:
        return set()
    found = {base64.b64encode(form).rstrip(b"=")}
    if len(form) >= _TELLING:
        for before in range(3):
            text = base64.b64encode(bytes(before) + form)
            found.add(text[-(-before * 8 // 6) : (before + len(form)) * 8 // 6])
    return found | {text.translate(_URL_SAFE) for text in found}


class Scrubber:
    """Masks patterns in a stream, even if one is split over several chunks."""

    def __init__(self, patterns: tuple[bytes, ...]) -> None:
        self._patterns = patterns
        self._longest = len(patterns[0]) if patterns else 0
        self._first = frozenset(pattern[0] for pattern in patterns)
        self._regex = re.compile(b"|".join(re.escape(pattern) for pattern in patterns)) if patterns else None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The masked data so far; holds back an end that may be the start of a secret."""
        if self._regex is None:
            return data
        data = self._held + data
        return self._mask(data, self._safe_end(data))

    def flush(self) -> bytes:
        """The held-back rest, at the end of the stream."""
        data, self._held = self._held, b""
        return b"" if self._regex is None else self._regex.sub(MASK, data)

    def _safe_end(self, data: bytes) -> int:
        for position in range(max(0, len(data) - self._longest + 1), len(data)):
            if data[position] in self._first:
                rest = data[position:]
                if any(len(pattern) > len(rest) and pattern.startswith(rest) for pattern in self._patterns):
                    return position
        return len(data)

    def _mask(self, data: bytes, end: int) -> bytes:
        shown, position = [], 0
        if self._regex is not None:
            for match in self._regex.finditer(data):
                if match.start() >= end:
                    break
                shown += [data[position : match.start()], MASK]
                position = match.end()
        end = max(end, position)
        shown.append(data[position:end])
        self._held = data[end:]
        return b"".join(shown)


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
