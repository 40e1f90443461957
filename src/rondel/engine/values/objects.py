"""The API's smaller objects: directories, files, secrets, volumes, sockets, pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

from rondel.engine.values.node import Fs, digest_of


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of a file system; ``fs`` None is the empty one, ``path`` is absolute inside it.

    ``named`` is the path as the caller gave it, for errors.
    """

    fs: Fs | None = None
    path: str = "/"
    named: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a file system; ``path`` is absolute inside it, links in it are followed.

    ``named`` is the path as the caller gave it, for errors.
    """

    fs: Fs | None
    path: str
    named: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret: where its text comes from, never the text itself.

    A secret made by ``setSecret`` has the URI ``session://NAME`` and its text in the
    session's memory; others name a provider (``env://``, ``file://``, ``cmd://``) and have no
    name.
    """

    uri: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class CacheVolume:
    """A named volume that outlives containers; each field is part of its identity."""

    key: str
    sharing: str = "SHARED"
    owner: str = ""
    source: Directory | None = None

    @property
    def identity(self) -> str:
        """The name under which the store keeps the volume."""
        source = None
        if self.source is not None:
            source = [self.source.fs.key if self.source.fs else "", self.source.path]
        return digest_of("volume", self.key, self.sharing, self.owner, source)


@dataclass(frozen=True, slots=True)
class Socket:
    """A Unix socket of the host, by its path there."""

    path: str


@dataclass(frozen=True, slots=True)
class EnvVariable:
    """A variable of a container or env file."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Label:
    """A label of an image."""

    name: str
    value: str
