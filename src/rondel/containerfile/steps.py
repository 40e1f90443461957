"""What a build does, as values: every word expanded, every path absolute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StageSource:
    """Files come from another stage of the same file, by its index."""

    index: int


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Files come from an image that is no stage."""

    reference: str


@dataclass(frozen=True, slots=True)
class ContextSource:
    """Files come from the build context."""


Source: TypeAlias = StageSource | ImageSource | ContextSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """``--mount=type=cache``: a volume by its ID."""

    target: str
    id: str
    sharing: str = "SHARED"
    source: Source | None = None
    subpath: str = "/"
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """``--mount=type=secret``: a file at ``target``, a variable ``env``, or both."""

    id: str
    target: str | None
    env: str | None = None
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SshUse:
    """``--mount=type=ssh``: the SSH agent that the build was given; an empty target is the usual one."""

    id: str
    target: str
    required: bool = False
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BindUse:
    """``--mount=type=bind``: files of the context, a stage or an image; writes are dropped."""

    target: str
    source: Source
    subpath: str = "/"
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsUse:
    """``--mount=type=tmpfs``; ``size`` in bytes, 0 for the kernel's default."""

    target: str
    size: int = 0


Use: TypeAlias = CacheUse | SecretUse | SshUse | BindUse | TmpfsUse


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A heredoc as a file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """A command. ``script`` is a heredoc with an interpreter line, shown at ``args[0]``.

    ``hidden_env`` are the predefined proxy arguments: the command sees them, its
    identity does not depend on them.
    """

    line: int
    source: str
    args: tuple[str, ...]
    env: Pairs
    hidden_env: Pairs = ()
    workdir: str = "/"
    user: str = ""
    uses: tuple[Use, ...] = ()
    network: str = "default"
    script: InlineFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStep:
    """COPY, and ADD of local files. ``unpack`` tells whether archives among them are taken apart."""

    line: int
    text: str
    sources: tuple[str, ...]
    destination: str
    origin: Source = ContextSource()
    files: tuple[InlineFile, ...] = ()
    into_directory: bool = False
    chown: str = ""
    chmod: str = ""
    parents: bool = False
    exclude: tuple[str, ...] = ()
    link: bool = False
    unpack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchStep:
    """ADD of a URL. ``into_directory``: the file is named after the URL's last part."""

    line: int
    text: str
    url: str
    destination: str
    into_directory: bool = False
    checksum: str = ""
    chown: str = ""
    chmod: str = ""
    unpack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GitStep:
    """ADD of a git repository: a reference's tree (empty: HEAD), or a folder of it."""

    line: int
    text: str
    url: str
    reference: str
    folder: str
    destination: str
    keep_git_dir: bool = False
    commit: str = ""
    chown: str = ""
    chmod: str = ""
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdirStep:
    """WORKDIR makes its directory if it is not there, owned by the user of that moment."""

    line: int
    path: str
    user: str = ""


Step: TypeAlias = RunStep | CopyStep | FetchStep | GitStep | WorkdirStep
