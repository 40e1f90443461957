"""What a build reads of its context, known before its base images are.

A variable that a base image may set has no known value here. A path that contains one could be any
path, so the whole context counts in its place.
"""

from __future__ import annotations

import os
import platform as machine
import posixpath
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rondel.containerfile.copying import copy_steps
from rondel.containerfile.flags import context_path
from rondel.containerfile.outline import BuildStage, Outline, outline
from rondel.containerfile.selection import read_ignore, select
from rondel.containerfile.steps import ContextSource, CopyStep, StageSource
from rondel.containerfile.syntax import Instruction, Words
from rondel.containerfile.variables import declare, pairs, trigger_of, triggered
from rondel.files.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

UNSEEN = (".git", ".rondel", ".venv", ".dvc", "__pycache__")
"""Directories that are left out of every build, at any depth, unless the Containerfile names them."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7"}
_METADATA_FLAGS = ("--chown", "--chmod", "--checksum")  # none of them chooses files
_UNKNOWN = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """The part of a directory that building the target of a Containerfile reads.

    ``include`` and ``exclude`` choose it for an upload, in the patterns of a Dagger engine;
    :meth:`files` lists it.
    """

    root: Path
    outline: Outline
    copies: tuple[CopyStep, ...]
    ignore: Patterns

    @property
    def sources(self) -> tuple[str, ...]:
        """The paths and wildcard patterns that COPY, ADD and bind mounts name, "." for all of it."""
        written = (source for copy in self.copies for source in copy.sources)
        return tuple(dict.fromkeys(posixpath.normpath("/" + source).lstrip("/") or "." for source in written))

    @property
    def include(self) -> list[str]:
        """Patterns of what the build reads; an empty list means everything."""
        if "." in self.sources:
            return []
        tree = _Directory(self.root)
        targets = (tree.target(source) for source in self.sources)
        paths = dict.fromkeys((*self.sources, *(target for target in targets if target)))
        return [*self._own, *(_as_pattern(path) for path in paths)]

    @property
    def exclude(self) -> list[str]:
        """Patterns of what the build must not see. The Containerfile and ignore files are always sent."""
        return [*self.ignore.texts, *(f"!{name}" for name in self._own if self.ignore.matches(name))]

    @property
    def _own(self) -> tuple[str, ...]:
        name = posixpath.normpath(self.outline.file)
        return (name, f"{name}.dockerignore", ".dockerignore")

    def files(self) -> list[str]:
        """The files and links that the build copies or mounts, by their paths in the context, sorted.

        Raises SourceMissing for a source that is not there, or that .dockerignore leaves out.
        """
        tree = _Directory(self.root)
        items = (item for copy in self.copies for item in select(tree, "/", copy, self.ignore))
        return sorted({item.entry.path.lstrip("/") for item in items if not item.entry.is_dir})


def read_context(
    root: Path, containerfile: str, text: str, *, target: str = "", build_args: Iterable[tuple[str, str]] = ()
) -> BuildContext:
    """What building ``target`` of a Containerfile with this text reads of the directory ``root``.

    Raises ContainerfileError with the line of what is wrong with it.
    """

    def read(name: str) -> str | None:
        try:
            return (root / name).read_text("utf-8", "replace")
        except OSError:
            return None

    file = read_outline(text, file=containerfile, target=target, build_args=build_args)
    copies = tuple(_copies(file))
    named = {part for copy in copies for source in copy.sources for part in source.split("/")}
    unseen = [f"**/{name}" for name in UNSEEN if name not in named]
    ignore = Patterns.of([*read_ignore(read, containerfile).texts, *unseen])
    return BuildContext(root=root, outline=file, copies=copies, ignore=ignore)


def read_outline(
    text: str, *, file: str = "Containerfile", target: str = "", build_args: Iterable[tuple[str, str]] = ()
) -> Outline:
    """The stages of a Containerfile for a build on this machine's platform. Raises ContainerfileError."""
    name = machine.machine().lower()
    platform = f"linux/{_ARCHITECTURES.get(name, name)}"
    return outline(text, file=file, target=target, build_args=dict(build_args), platform=platform)


class _Open(dict[str, str]):
    """Variables of a stage on an image: the image may set more of them."""

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return super().get(name, _UNKNOWN if default is None else default)


@dataclass(frozen=True, slots=True)
class _End:
    """The variables and ONBUILD triggers that a stage hands to stages based on it."""

    scope: dict[str, str]
    triggers: tuple[Instruction, ...]


def _copies(file: Outline) -> Iterator[CopyStep]:
    """The steps of the needed stages that read the context; a bind mount counts as a copy."""
    ends: dict[int, _End] = {}
    for stage in file.needed:
        if isinstance(stage.base, StageSource):
            under = ends[stage.base.index]
        else:
            under = _End({} if stage.base is None else _Open(), ())
        scope = type(under.scope)(under.scope)
        triggers: list[Instruction] = []
        for at in (*under.triggers, *stage.instructions):
            words = Words(file.escape, scope)
            if at.name == "ARG":
                declare(at, scope, file.build_args, file.global_args, words)
            elif at.name == "ENV":
                scope |= pairs(at, words)
            elif at.name == "ONBUILD":
                triggers.append(triggered(trigger_of(at), at))
            elif at.name in ("COPY", "ADD", "RUN"):
                yield from _known(_steps(at, words, file, stage))
        ends[stage.index] = _End(scope, tuple(triggers))


def _steps(at: Instruction, words: Words, file: Outline, stage: BuildStage) -> Iterator[CopyStep]:
    if at.name == "RUN":
        mounts = [flag.partition("=")[2] for flag in at.flags if flag.startswith("--mount=")]
        for mount in mounts:
            path = context_path(mount, at, lambda word: words.word(word, at))
            if path is not None:
                sources = (path.lstrip("/") or ".",)
                yield CopyStep(line=at.line, text=at.source, sources=sources, destination="/")
        return
    flags = tuple(flag for flag in at.flags if flag.partition("=")[0] not in _METADATA_FLAGS)
    steps = copy_steps(
        replace(at, flags=flags), words, "/", lambda name: file.source_of(name, stage.index, at)
    )
    for step in steps:
        if isinstance(step, CopyStep) and isinstance(step.origin, ContextSource):
            yield step


def _known(steps: Iterable[CopyStep]) -> Iterator[CopyStep]:
    """The same steps, with the whole context in place of paths that contain unknown variables."""
    for step in steps:
        if any(_UNKNOWN in text for text in (*step.sources, *step.exclude)):
            yield replace(step, sources=(".",), exclude=(), parents=False)
        else:
            yield step


def _as_pattern(path: str) -> str:
    """A source as a pattern that matches it, with characters escaped that mean something else there."""
    if not set("*?[") & set(path):
        path = path.replace("\\", "\\\\")
    if path.startswith(("!", " ")):
        path = f"\\{path}"
    return f"{path[:-1]}?" if path.endswith(" ") else path


@dataclass(frozen=True, slots=True)
class _File:
    """An entry of a directory of this machine; ``path`` starts at that directory."""

    path: str
    is_dir: bool

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class _Directory:
    """A directory of this machine as a tree to copy from. A link out of it counts as missing."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)

    def _real(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def _inside(self, real: str) -> bool:
        return real == self._root or real.startswith(f"{self._root}/")

    def target(self, path: str) -> str | None:
        """The path with its links resolved, if that is another path of the directory."""
        plain = os.path.normpath(self._real(path))
        real = os.path.realpath(plain)
        return os.path.relpath(real, self._root) if real != plain and self._inside(real) else None

    def lookup(self, path: str, *, follow: bool = True) -> _File | None:
        real = self._real(path)
        try:
            found = os.stat(real) if follow else os.lstat(real)
        except (OSError, ValueError):
            return None
        holder = real if follow else os.path.dirname(real)
        if not self._inside(os.path.realpath(holder)):
            return None
        return _File(path, stat.S_ISDIR(found.st_mode))

    def scandir(self, path: str) -> list[_File]:
        """The entries that an upload takes: no sockets and pipes, and nothing that can't be read."""
        found: list[_File] = []
        try:
            with os.scandir(self._real(path)) as entries:
                for entry in entries:
                    is_dir = entry.is_dir(follow_symlinks=False)
                    if is_dir or entry.is_symlink() or entry.is_file(follow_symlinks=False):
                        found.append(_File(posixpath.join(path, entry.name), is_dir))
        except OSError:
            return []
        return sorted(found, key=lambda entry: entry.path)
