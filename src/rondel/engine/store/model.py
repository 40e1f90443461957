"""The store's values: snapshots, directory entries, outputs, results."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file system: the IDs of its layers from bottom to top. ``()`` is the empty one."""

    layers: tuple[str, ...] = ()

    def over(self, layer: str) -> Snapshot:
        """The same file system with one more layer on top."""
        return Snapshot((*self.layers, layer))


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name of a merged tree.

    ``path`` is its canonical path in the container; ``file`` is the path of the layer's file that
    is visible there (a string, because there are so many); ``link`` is the target of a symbolic
    link. The other fields are those of ``lstat``.
    """

    path: str
    file: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: str | None = None

    @property
    def real(self) -> Path:
        """The visible file of a layer."""
        return Path(self.file)

    @property
    def name(self) -> str:
        """The last part of the path; empty for the root."""
        return self.path.rpartition("/")[2]

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True)
class Output:
    """A command's output on one stream: the bytes if they are few, else the digest of a blob.

    Read it with :meth:`rondel.engine.store.Store.read` and ``tail``.
    """

    data: bytes = b""
    blob: str | None = None
    size: int = 0

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The output with the content ``data``."""
        return cls(data=data, size=len(data))

    def to_json(self) -> dict[str, Any]:
        """As a JSON value; bytes survive through surrogate escapes."""
        if self.blob is not None:
            return {"blob": self.blob, "size": self.size}
        return {"text": self.data.decode("utf-8", "surrogateescape")}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The output that :meth:`to_json` wrote."""
        if "blob" in value:
            return cls(blob=value["blob"], size=value["size"])
        return cls.of(value["text"].encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationResult:
    """The result of an operation; stored durably under the operation's key.

    ``mounts`` maps the path of each mounted directory or file to its snapshot afterwards;
    ``meta`` holds small JSON facts for the operation; ``created`` is seconds since the epoch.
    """

    snapshot: Snapshot
    mounts: Mapping[str, Snapshot] = field(default_factory=dict)
    exit_code: int = 0
    stdout: Output = Output()
    stderr: Output = Output()
    combined: Output = Output()
    meta: Mapping[str, Any] = field(default_factory=dict)
    created: float = 0.0

    def layers(self) -> frozenset[str]:
        """Every layer that the result depends on."""
        return frozenset(self.snapshot.layers).union(*(s.layers for s in self.mounts.values()))

    def blobs(self) -> frozenset[str]:
        """Every blob that the result depends on."""
        return frozenset(o.blob for o in (self.stdout, self.stderr, self.combined) if o.blob)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value; empty parts are left out."""
        value: dict[str, Any] = {"layers": list(self.snapshot.layers), "created": self.created}
        if self.mounts:
            value["mounts"] = {path: list(s.layers) for path, s in self.mounts.items()}
        if self.exit_code:
            value["exit"] = self.exit_code
        for name in ("stdout", "stderr", "combined"):
            output: Output = getattr(self, name)
            if output.size:
                value[name] = output.to_json()
        if self.meta:
            value["meta"] = dict(self.meta)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The result that :meth:`to_json` wrote."""
        outputs = {
            name: Output.from_json(value[name]) for name in ("stdout", "stderr", "combined") if name in value
        }
        return cls(
            snapshot=Snapshot(tuple(value["layers"])),
            mounts={path: Snapshot(tuple(ids)) for path, ids in value.get("mounts", {}).items()},
            exit_code=value.get("exit", 0),
            meta=value.get("meta", {}),
            created=value.get("created", 0.0),
            **outputs,
        )
