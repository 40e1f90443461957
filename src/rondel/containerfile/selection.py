"""Which files a COPY takes and where they go: BuildKit's rules, over any tree that can be read."""

from __future__ import annotations

import itertools
import posixpath
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rondel.containerfile.syntax import ContainerfileError
from rondel.errors import EngineError
from rondel.files.patterns import Patterns, clean, matcher_of, regex_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rondel.containerfile.steps import CopyStep
    from rondel.files.patterns import Match

_WILDCARDS = frozenset("*?[")


class SourceMissing(EngineError):
    """A source that is not there, or that .dockerignore leaves out; in Go's words, which pipelines match."""

    def __init__(self, source: str, *, ignored: bool = False) -> None:
        super().__init__(f"lstat /{source}: no such file or directory")
        self.source = source
        self.ignored = ignored


class ContextEntry(Protocol):
    """A name in a tree."""

    @property
    def path(self) -> str:
        """Its path from the tree's root, with a slash in front."""
        ...

    @property
    def name(self) -> str:
        """The last part of the path."""
        ...

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        ...


E = TypeVar("E", bound=ContextEntry)
E_co = TypeVar("E_co", bound=ContextEntry, covariant=True)


class Tree(Protocol[E_co]):
    """What a build copies from: an engine's snapshot or a directory of this machine."""

    def lookup(self, path: str, *, follow: bool = True) -> E_co | None:
        """The entry at a path, or None; ``follow`` is about a link at its end."""
        ...

    def scandir(self, path: str) -> Sequence[E_co]:
        """A directory's entries, sorted by name."""
        ...


@dataclass(frozen=True, slots=True)
class Item(Generic[E]):
    """One source file or directory; ``target`` is its path below the destination ("" is the destination).

    ``explicit`` items are what the instruction named; a directory's content follows it.
    """

    entry: E
    target: str
    explicit: bool = False


def read_ignore(read: Callable[[str], str | None], containerfile: str) -> Patterns:
    """What a build with this Containerfile does not see of its context.

    ``read`` gives the text of a file of the context. ``FILE.dockerignore`` counts before
    ``.dockerignore``, and an empty one counts as none. Raises ContainerfileError for a bad pattern.
    """
    for name in (f"{containerfile}.dockerignore", ".dockerignore"):
        if text := read(name):
            return ignore_rules(text, name)
    return Patterns()


def ignore_rules(text: str, file: str = ".dockerignore") -> Patterns:
    """The patterns of an ignore file: comments are dropped, and paths are relative to the context.

    https://github.com/moby/patternmatcher/blob/main/ignorefile/ignorefile.go
    """
    patterns: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        written = "" if line.startswith("#") else line.strip()
        if not written:
            continue
        path = written.removeprefix("!").strip()
        mark = "!" if written.startswith("!") else ""
        patterns.append(mark + (clean(path).removeprefix("/") or "/" if path else ""))
        try:
            Patterns.of(patterns[-1:])
        except EngineError as error:
            raise ContainerfileError(f"{written}: {error.what}", file=file, line=number) from None
    return Patterns.of(patterns)


def select(tree: Tree[E], root: str, step: CopyStep, ignore: Patterns) -> Iterator[Item[E]]:
    """What a step copies from below ``root``, parents before children.

    An explicit file has the target "" when it may take the destination's own name.
    Raises SourceMissing for a source that is missing or ignored.
    """
    base = _there(tree, root).path
    sources = [match for source in step.sources for match in _matches(tree, base, source, ignore)]
    one = len(sources) + len(step.files) == 1
    exclude = Patterns.of(step.exclude)
    for relative in sources:
        yield from _items(tree, base, relative, step, (ignore, exclude), one=one)


def _there(tree: Tree[E], path: str) -> E:
    entry = tree.lookup(path)
    if entry is None:
        raise SourceMissing(path.lstrip("/"))
    return entry


def _items(
    tree: Tree[E], base: str, relative: str, step: CopyStep, rules: tuple[Patterns, Patterns], *, one: bool
) -> Iterator[Item[E]]:
    ignore, exclude = rules
    kept = _pivoted(relative)[1] if step.parents else ""
    source = posixpath.normpath("/" + relative).lstrip("/")
    entry = _there(tree, posixpath.join(base, source) if source else base)
    top = posixpath.normpath(kept) if kept.strip("/.") else ""
    name = posixpath.basename(source)
    # With --parents, patterns of --exclude see the path that is kept; else what is below a directory.
    excluded = exclude.matches(top if step.parents or entry.is_dir else name)
    if not entry.is_dir:
        if not excluded:
            target = top if step.parents else name if step.into_directory or not one else ""
            yield Item(entry, target, explicit=True)
        return
    content = _below(tree, entry, top, (_Rules.at(ignore, source), _Rules.at(exclude, top)))
    if excluded:
        first = next(content, None) if exclude.excepts_below(top) else None
        if first is None:
            return
        content = itertools.chain((first,), content)
    yield Item(entry, top, explicit=True)
    yield from content


def _pivoted(source: str) -> tuple[str, str]:
    """The two parts of a source: before ``/./``, which --parents drops, and after it. Often all is after."""
    source = source.lstrip("/")
    while source.startswith("./"):
        source = source[2:].lstrip("/")
    before, pivot, after = source.partition("/./")
    return (before, after) if pivot else ("", source)


@dataclass(frozen=True, slots=True)
class _Rules:
    """Patterns in a directory: ``prefix`` is its path with a slash, ``groups`` what matched so far."""

    patterns: Patterns
    prefix: str
    groups: tuple[bool, ...]

    @classmethod
    def at(cls, patterns: Patterns, path: str) -> _Rules:
        return cls(patterns, f"{path}/" if path else "", patterns.below(path)[1])

    def child(self, name: str) -> tuple[bool, _Rules]:
        path = self.prefix + name
        matched, groups = self.patterns.match(path, self.groups)
        return matched, _Rules(self.patterns, f"{path}/", groups)

    @property
    def may_return(self) -> bool:
        """Whether an exception may take back something in the directory."""
        return self.patterns.excepts_below(self.prefix.rstrip("/"))


def _below(tree: Tree[E], folder: E, target: str, rules: tuple[_Rules, ...]) -> Iterator[Item[E]]:
    for child in tree.scandir(folder.path):
        found = [each.child(child.name) for each in rules if each.patterns]
        dropped = [deeper for matched, deeper in found if matched]
        if dropped and not (child.is_dir and all(deeper.may_return for deeper in dropped)):
            continue
        item = Item(child, posixpath.join(target, child.name))
        if not child.is_dir:
            yield item
            continue
        content = _below(tree, child, item.target, tuple(deeper for _, deeper in found))
        if dropped:  # such a directory is there only for what comes back in it
            first = next(content, None)
            if first is None:
                continue
            content = itertools.chain((first,), content)
        yield item
        yield from content


def _matches(tree: Tree[E], base: str, source: str, ignore: Patterns) -> list[str]:
    """The paths below ``base`` that a source names; one that has wildcards may name none."""
    # What lies above the context does not exist: "../x" is "x", as Docker has it.
    path = posixpath.normpath("/" + source).lstrip("/")

    def ignored(path: str, entry: E) -> bool:
        return ignore.matches(path) and not (entry.is_dir and ignore.excepts_below(path))

    if not _WILDCARDS & set(path):
        entry = tree.lookup(posixpath.join(base, path) if path else base)
        if entry is None or (path and ignored(path, entry)):
            raise SourceMissing(path, ignored=entry is not None)
        return [source]
    before = len([part for part in _pivoted(source)[0].split("/") if part not in ("", ".")])
    found = [""]
    for part in path.split("/"):
        matches = _matcher(part)
        found = [
            posixpath.join(holder, child.name)
            for holder in found
            if (entry := tree.lookup(posixpath.join(base, holder))) is not None and entry.is_dir
            for child in tree.scandir(entry.path)
            if matches(child.name)
        ]
    kept = []
    for path in found:
        entry = tree.lookup(posixpath.join(base, path), follow=False)
        if entry is not None and not ignored(path, entry):
            parts = path.split("/")
            kept.append("/".join([*parts[:before], ".", *parts[before:]]) if before else path)
    return kept


@cache
def _matcher(part: str) -> Match:
    """One part of a path in the syntax of Go's filepath.Match, to which ``**`` is ``*``."""
    try:
        return matcher_of([regex_of(re.sub(r"\*+", "*", part))])
    except EngineError:
        return matcher_of([re.escape(part)])
