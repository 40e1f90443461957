"""What to run and its outcome: the sandbox's values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.engine.store import Output, Snapshot


class ExecRefused(EngineError):
    """A command cannot be started at all; decided before anything is spawned.

    ``exit_code_seen`` is the exit code that the real engine reports (-1 for an unknown user or an
    impossible redirect). A missing or unexecutable command is not this error but an
    :class:`Outcome` with exit code 1 and Go's text on stderr.
    """

    exit_code_seen: int = -1


class SandboxError(EngineError):
    """The sandbox could not be set up; the command never ran."""


class CannotStart(SandboxError):
    """The command of a service is missing or cannot be executed; the message is Go's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayMount:
    """A directory of a snapshot; writes to it become a layer over that snapshot.

    ``path`` is the mount point in the container, ``subpath`` the directory of
    the snapshot.
    """

    path: str
    snapshot: Snapshot
    subpath: str = "/"
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFileMount:
    """A file of a snapshot; a change to it becomes a layer over that snapshot.

    ``owner`` and ``mode`` replace the file's own in the container.
    """

    path: str
    snapshot: Snapshot
    subpath: str
    readonly: bool = False
    owner: tuple[int, int] | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """A cache volume's folder on the host (see ``Store.volumes``), writable."""

    path: str
    source: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsMount:
    """An empty file system in memory; ``size`` in bytes, 0 for the kernel's default."""

    path: str
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFileMount:
    """A file that exists in memory only and is never part of a layer."""

    path: str
    value: bytes
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixSocketMount:
    """A unix socket of the host."""

    path: str
    source: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """A file or directory of the host, for the engine's own needs."""

    path: str
    source: Path
    readonly: bool = True


SandboxMount = (
    OverlayMount
    | SnapshotFileMount
    | VolumeMount
    | TmpfsMount
    | SecretFileMount
    | UnixSocketMount
    | BindMount
)


class Network(enum.Enum):
    """The networks that need no preparation."""

    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class JoinNetwork:
    """An existing network namespace, by a path such as ``/proc/123/ns/net``.

    It must belong to the engine's user namespace.
    """

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAttachment:
    """How a container reaches services: what its ExecSpec takes over.

    ``hosts`` are (address, name) pairs for /etc/hosts. The container's own variables
    override ``env``.
    """

    network: Network | JoinNetwork = Network.HOST
    hosts: tuple[tuple[str, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a container may use, if the machine's cgroups allow limits."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """One command in one file system. All paths are container paths unless stated otherwise.

    ``args`` is not expanded; ``env`` is the complete environment; ``user`` is
    ``name``, ``uid``, ``name:group`` or ``uid:gid`` as in an image's config.
    ``stdin`` is bytes or a host file. The redirects are container paths, relative
    ones to ``cwd``. ``secrets`` are the values to mask in every output. ``hosts``
    are (address, name) pairs added to /etc/hosts. Without ``init`` the command
    itself is process 1. HOME and PATH are set if ``env`` lacks them. An
    ``insecure`` command of user 0 may do all that the engine may. ``trace`` is a
    folder: the outcome lists which of its files were opened.
    """

    root: Snapshot
    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    mounts: tuple[SandboxMount, ...] = ()
    stdin: bytes | Path | None = None
    redirect_stdin: str | None = None
    redirect_stdout: str | None = None
    redirect_stderr: str | None = None
    secrets: tuple[bytes, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    hostname: str = "dagger"
    network: Network | JoinNetwork = Network.HOST
    limits: Limits | None = None
    tty: bool = False
    init: bool = True
    insecure: bool = False
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Which files of a folder a command or its child processes opened.

    ``names`` are relative paths of regular files that existed before the command began.
    ``written`` are those that were only opened for writing. ``unknown`` says why the
    names may be incomplete; empty if they are complete.
    """

    names: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a command.

    ``snapshot`` is the root afterwards; ``mounts`` maps the path of each writable
    :class:`OverlayMount` and :class:`SnapshotFileMount` to its snapshot afterwards.
    The caller decides whether to keep them; unreferenced layers are collected like all
    others. An exit by signal N is 128 + N. ``opened`` is set if the command was traced.
    """

    exit_code: int
    stdout: Output
    stderr: Output
    combined: Output
    snapshot: Snapshot
    mounts: Mapping[str, Snapshot] = field(default_factory=dict)
    opened: Opened | None = None
