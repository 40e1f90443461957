"""Immutable files by their content's digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rondel.engine.store.errors import StoreCorrupt, translated
from rondel.engine.store.files import write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rondel.engine.store.index import Index, Object

_CHUNK = 1024 * 1024


class BlobWriter:
    """A blob that is written in parts; ``digest`` is valid once it is committed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0
        self.digest: str | None = None

    def write(self, data: bytes | bytearray) -> int:
        """Append bytes."""
        write_all(self._file.fileno(), data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def current_digest(self) -> str:
        """The digest of what has been written so far."""
        return f"sha256:{self._hash.hexdigest()}"


class Blobs:
    """Immutable files by their digest, ``sha256:<hex>``."""

    def __init__(self, folder: Path, scratch: Path, index: Index) -> None:
        self._folder = folder
        self._scratch = scratch
        self._index = index

    def _path_of(self, digest: str) -> Path:
        kind, _, value = digest.partition(":")
        if kind != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise StoreCorrupt(f"not a digest: {digest!r}")
        return self._folder / value[:2] / value

    def create(self) -> tuple[BlobWriter, Path]:
        """A writer without a ``with`` block; finish it with :meth:`keep` or :meth:`drop`."""
        path = self._scratch / f"b{secrets.token_hex(6)}"
        with translated(self._folder):
            return BlobWriter(path.open("xb", buffering=0)), path

    def keep(self, writer: BlobWriter, path: Path, *, expected: str | None = None) -> str:
        """Move a finished blob into place; StoreCorrupt if its digest is not ``expected``."""
        writer._file.close()  # noqa: SLF001 — the two classes belong together
        digest = writer.digest = self._place_file(path, writer.current_digest(), writer.size, expected)
        return digest

    def take(self, path: Path, *, expected: str) -> str:
        """Move a file of the store's own file system into place, once its digest is verified."""
        with translated(self._folder), path.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            size = os.fstat(file.fileno()).st_size
        return self._place_file(path, digest, size, expected)

    def _place_file(self, path: Path, digest: str, size: int, expected: str | None) -> str:
        if expected is not None and digest != expected:
            path.unlink()
            raise StoreCorrupt(
                "the received data does not match the digest",
                why=f"expected {expected}\ngot      {digest}",
                hint="try again; if the error persists, the source serves damaged data",
            )
        target = self._path_of(digest)
        with translated(self._folder):
            path.chmod(0o600)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            self._index.add("blob", digest, size=size)
            path.rename(target)
        return digest

    @staticmethod
    def drop(writer: BlobWriter, path: Path) -> None:
        """Discard an unfinished blob."""
        writer._file.close()  # noqa: SLF001 — the two classes belong together
        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writer(self, *, expected: str | None = None) -> Iterator[BlobWriter]:
        """Write a blob within a block; it is kept if the block succeeds, and dropped otherwise."""
        writer, path = self.create()
        try:
            with translated(self._folder):
                yield writer
        except BaseException:
            self.drop(writer, path)
            raise
        try:
            self.keep(writer, path, expected=expected)
        finally:
            path.unlink(missing_ok=True)

    def put(self, data: bytes | Path | BinaryIO, *, expected: str | None = None) -> str:
        """Keep the bytes and return their digest; StoreCorrupt if it is not ``expected``."""
        if isinstance(data, bytes):
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            if self.has(digest) and expected in (None, digest):
                return digest
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(self.writer(expected=expected))
            if isinstance(data, bytes):
                writer.write(data)
            else:
                file = stack.enter_context(data.open("rb")) if isinstance(data, Path) else data
                while piece := file.read(_CHUNK):
                    writer.write(piece)
        if writer.digest is None:  # pragma: no cover - the block above raises instead
            raise StoreCorrupt("a blob was not kept")
        return writer.digest

    def has(self, digest: str) -> bool:
        """Whether the blob exists; marks it as used."""
        return self._index.alive("blob", [digest]) and self._path_of(digest).exists()

    def path(self, digest: str) -> Path:
        """The blob's file (never change it); StoreCorrupt if it is missing or has the wrong size."""
        row = self._index.object("blob", digest)
        why = "it is missing" if row is None else self.damage(row)
        if why or not self._index.alive("blob", [digest]):
            raise self._damaged(digest, why or "it is missing")
        return self._path_of(digest)

    def damage(self, row: Object, *, deep: bool = False) -> str:
        """What is wrong with a blob; empty if nothing is. ``deep`` also compares its content."""
        try:
            with self._path_of(row.id).open("rb") as file:
                if os.fstat(file.fileno()).st_size != row.size:
                    return "its size is wrong"
                if deep and f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != row.id:
                    return "its content does not match its digest"
        except FileNotFoundError:
            return "it is missing"
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        return ""

    def read(self, digest: str) -> bytes:
        """The blob's bytes, verified."""
        data = self.path(digest).read_bytes()
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise self._damaged(digest, "its content does not match its digest")
        return data

    def _damaged(self, digest: str, why: str) -> StoreCorrupt:
        """The error for a damaged blob; removes it, so that the next run fetches or makes it again."""
        self._index.remove("blob", [digest])
        with contextlib.suppress(OSError):
            os.unlink(self._path_of(digest))
        return StoreCorrupt(
            f"blob {digest} of the engine's store is damaged",
            why=why,
            hint="run again: it was removed, and will be fetched or made again",
        )
