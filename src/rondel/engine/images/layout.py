"""Images on disk: OCI layouts (a directory or a tar of one) and what ``docker save`` writes.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md; the
other form is a tar with a ``manifest.json`` that names a configuration and
layers.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import tarfile
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Protocol, cast

import anyio.to_thread

from rondel.engine.images import model
from rondel.engine.images.compression import decompressed, detect
from rondel.engine.images.model import Descriptor, InvalidImageError, Manifest
from rondel.engine.images.reference import InvalidReferenceError, Reference, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 1 << 20
_MAX_SMALL = 32 << 20
_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_PREFIXES = ("oci:", "oci-archive:", "docker-archive:")


class _NamedFiles(Protocol):
    """Named files, in a directory or a tar."""

    def names(self) -> Sequence[str]: ...
    def open(self, name: str) -> IO[bytes]: ...


@dataclass(frozen=True)
class LocalImages:
    """The images of one layout or archive. ``entries`` are its (names, descriptor) pairs."""

    source: str
    files: _NamedFiles
    entries: tuple[tuple[tuple[str, ...], Descriptor], ...]
    made: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)

    async def read(self, blob: Descriptor) -> bytes:
        """A small blob, verified."""
        return await anyio.to_thread.run_sync(self.read_now, blob)

    async def fetch(self, blob: Descriptor, target: Path) -> None:
        """Copy a layer to ``target``, verified."""
        await anyio.to_thread.run_sync(self._copy, blob, target)

    def read_now(self, blob: Descriptor) -> bytes:
        """A small blob, verified; blocks."""
        if blob.digest in self.made:
            return self.made[blob.digest]
        with self._open(blob) as stream:
            data = stream.read(_MAX_SMALL + 1)
        if len(data) > _MAX_SMALL:
            raise InvalidImageError(f"{self.source}: {blob.digest} is larger than its kind allows")
        self._verify(blob, hashlib.new(blob.digest.split(":")[0], data).hexdigest())
        return data

    def choose(self, tag: str = "") -> Descriptor:
        """The image with a tag; without one, the first image."""
        if not self.entries:
            raise InvalidImageError(f"{self.source} holds no image")
        if not tag:
            return self.entries[0][1]
        for names, descriptor in self.entries:
            if any(name == tag or name.rpartition(":")[2] == tag for name in names):
                return descriptor
        there = ", ".join(name for names, _ in self.entries for name in names) or "no names"
        raise InvalidImageError(f"{self.source} has no image {tag!r}", hint=f"it has {there}")

    def _open(self, blob: Descriptor) -> IO[bytes]:
        algorithm, _, value = blob.digest.partition(":")
        name = self.members.get(blob.digest, f"blobs/{algorithm}/{value}")
        try:
            return self.files.open(name)
        except (OSError, KeyError):
            raise InvalidImageError(f"{self.source} lacks {name}") from None

    def _copy(self, blob: Descriptor, target: Path) -> None:
        digest = hashlib.new(blob.digest.split(":")[0])
        with self._open(blob) as stream, target.open("wb") as copy:
            while data := stream.read(_CHUNK):
                digest.update(data)
                copy.write(data)
        self._verify(blob, digest.hexdigest())

    def _verify(self, blob: Descriptor, actual: str) -> None:
        if actual != blob.digest.partition(":")[2]:
            raise InvalidImageError(
                f"{self.source}: {blob.digest[:19]}… is damaged: its content has {actual[:12]}…"
            )


def open_images(path: Path) -> LocalImages:
    """Open a layout or archive; blocks. InvalidImageError if it is neither."""
    files: _NamedFiles = _Directory(path) if path.is_dir() else _Archive(path)
    try:
        if "index.json" in files.names():
            return _oci(path, files)
        if "manifest.json" in files.names():
            return _docker(path, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidImageError(f"{path} cannot be read as an image", why=repr(error)) from error
    raise InvalidImageError(f"{path} is neither an OCI layout nor a Docker archive")


def open_local(address: str) -> tuple[str, Descriptor, LocalImages] | None:
    """An address such as ``oci:/path[:tag]``, ``oci-archive:…`` or ``docker-archive:…``; None for others."""
    prefix = next((p for p in _PREFIXES if address.startswith(p)), None)
    if prefix is None:
        return None
    rest = address.removeprefix(prefix)
    head, slash, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    path = Path(f"{head}{slash}{name}")
    if not path.is_absolute():
        raise InvalidReferenceError(f"{address}: an absolute path is expected after {prefix}")
    if not path.exists():
        raise InvalidImageError(f"{address}: {path} is not there: not found")
    images = open_images(path)
    return f"{prefix}{path}", images.choose(tag), images


def search_local(folders: Sequence[Path], wanted: Reference) -> tuple[Descriptor, LocalImages] | None:
    """The image with a name in the configured layouts and archives, or in folders of them."""
    wanted = wanted.with_default_tag()
    for folder in folders:
        for source in _candidates(folder):
            images = open_images(source)
            for names, descriptor in images.entries:
                if any(_means(name, source, wanted) for name in names):
                    return descriptor, images
    return None


def _candidates(folder: Path) -> list[Path]:
    if folder.is_file() or (folder / "index.json").is_file():
        return [folder]
    if not folder.is_dir():
        return []
    return [
        p for p in sorted(folder.iterdir()) if p.suffix in (".tar", ".tgz") or (p / "index.json").is_file()
    ]


def _means(name: str, source: Path, wanted: Reference) -> bool:
    """Whether an archive's name matches: in full, or as a bare tag in a layout with the image's name."""
    try:
        if parse(name).with_default_tag() == wanted:
            return True
    except InvalidReferenceError:
        pass
    return name == wanted.tag and source.name.split(".tar")[0] == wanted.repository.rsplit("/", 1)[-1]


def _oci(path: Path, files: _NamedFiles) -> LocalImages:
    index = json.loads(_small(files, "index.json"))
    entries = []
    for value in index["manifests"]:
        descriptor = Descriptor.from_json(value)
        names = [descriptor.annotations.get(key, "") for key in (_IMAGE_NAME, _REF_NAME)]
        entries.append((tuple(dict.fromkeys(name for name in names if name)), descriptor))
    return LocalImages(str(path), files, tuple(entries))


def _docker(path: Path, files: _NamedFiles) -> LocalImages:
    """A Docker archive contains no manifests: create them from its content."""
    entries = []
    made: dict[str, bytes] = {}
    members: dict[str, str] = {}
    for image in json.loads(_small(files, "manifest.json")):
        config = _small(files, image["Config"])
        layers = []
        for name in image["Layers"]:
            digest, size, kind = _measure(files, name)
            members[digest] = name
            media_type = model.OCI_LAYER + ("+gzip" if kind == "gzip" else "+zstd" if kind == "zstd" else "")
            layers.append(Descriptor(media_type, digest, size))
        described = Descriptor.of(config, model.OCI_CONFIG)
        data = Manifest(described, tuple(layers)).to_bytes()
        made |= {described.digest: config, model.sha256(data): data}
        names = tuple(str(name) for name in image.get("RepoTags") or ())
        entries.append((names, Descriptor.of(data, model.OCI_MANIFEST)))
    return LocalImages(str(path), files, tuple(entries), made, members)


def _small(files: _NamedFiles, name: str) -> bytes:
    with files.open(name) as stream:
        data = stream.read(_MAX_SMALL + 1)
    if len(data) > _MAX_SMALL:
        raise InvalidImageError(f"{name} is larger than its kind allows")
    return data


def _measure(files: _NamedFiles, name: str) -> tuple[str, int, str]:
    digest, size, kind = hashlib.sha256(), 0, None
    with files.open(name) as stream:
        while data := stream.read(_CHUNK):
            kind = detect(data[:6]) if kind is None else kind
            digest.update(data)
            size += len(data)
    return f"sha256:{digest.hexdigest()}", size, kind or ""


@dataclass(frozen=True)
class _Directory:
    """A layout in a directory; opens nothing outside of it."""

    root: Path

    def names(self) -> Sequence[str]:
        return [path.name for path in self.root.iterdir()]

    def open(self, name: str) -> IO[bytes]:
        path = (self.root / posixpath.normpath("/" + name).lstrip("/")).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise InvalidImageError(f"{self.root}: {name} leads outside")
        return path.open("rb")


class _Archive:
    """A layout in a tar, which may be compressed as a whole. Its members can be read concurrently."""

    def __init__(self, path: Path) -> None:
        file: BinaryIO = path.open("rb")
        try:
            if detect(file.read(6)):
                file = _decompressed(file)
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                members = tar.getmembers()
        except Exception as error:
            file.close()
            if isinstance(error, tarfile.TarError | OSError | EOFError):
                raise InvalidImageError("image archive import: unexpected EOF") from error
            raise
        self._file = file
        self._members = {posixpath.normpath(member.name).lstrip("/"): member for member in members}
        weakref.finalize(self, file.close)

    def names(self) -> Sequence[str]:
        return list(self._members)

    def open(self, name: str) -> IO[bytes]:
        """A member's content; links between members (docker save creates them) are followed."""
        name = posixpath.normpath(name)
        for _ in range(8):
            member = self._members[name]
            if member.issym():
                name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            elif member.islnk():
                name = posixpath.normpath(member.linkname)
            elif member.isreg():
                return io.BufferedReader(_Slice(self, self._file.fileno(), member.offset_data, member.size))
            else:
                break
        raise KeyError(name)


class _Slice(io.RawIOBase):
    """A part of a file, read without moving the file's position."""

    def __init__(self, owner: object, descriptor: int, start: int, size: int) -> None:
        self._owner = owner  # keeps the file open
        self._descriptor = descriptor
        self._position, self._end = start, start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._end - self._position]
        count = os.preadv(self._descriptor, [view], self._position) if len(view) else 0
        self._position += count
        return count


def _decompressed(raw: BinaryIO) -> BinaryIO:
    """The uncompressed bytes of an archive, in a file without a name."""
    raw.seek(0)
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the archive
    try:
        with raw, decompressed(raw) as stream:
            while data := stream.read(_CHUNK):
                plain.write(data)
    except Exception as error:
        plain.close()
        raise EOFError(f"cannot be decompressed: {error}") from error
    return cast("BinaryIO", plain)
