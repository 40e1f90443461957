"""Selects entries of a tree: include, exclude, and .gitignore files.

The caller walks the tree; a :class:`State` belongs to a directory and holds the decisions
above it. A directory that is not kept itself but may contain kept entries is entered, and
kept if it contains one.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rondel.errors import EngineError
from rondel.files.patterns import Patterns
from rondel.files.text import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class _Ignore:
    """A .gitignore file: the path of its directory, and its rules."""

    prefix: str
    cut: int
    spec: Any


@dataclass(frozen=True, slots=True)
class State:
    """The filter's state in a directory: its path with a slash ("" for the root), and matches above."""

    prefix: str
    include: tuple[bool, ...]
    exclude: tuple[bool, ...]
    ignores: tuple[_Ignore, ...]


@dataclass(frozen=True, slots=True)
class FilterDecision:
    """Whether an entry is kept for itself, and whether to look into it if it is a directory."""

    keep: bool
    enter: bool
    state: State | None = None


class Filter:
    """A selection by patterns; ``gitignore`` also applies .gitignore files on the way."""

    def __init__(
        self, include: Sequence[str] = (), exclude: Sequence[str] = (), *, gitignore: bool = False
    ) -> None:
        self.include = Patterns.of(include)
        self.exclude = Patterns.of(exclude)
        self.gitignore = gitignore
        self._chooses_nothing = bool(include) and not self.include  # only empty patterns

    @property
    def trivial(self) -> bool:
        """Whether everything is kept."""
        return not (self.include or self.exclude or self.gitignore or self._chooses_nothing)

    def root(self, above: Sequence[tuple[str, str]] = ()) -> State:
        """The state of the root. ``above`` holds the .gitignore texts of its parent directories,
        outermost first, each with the root's path relative to that directory.
        """
        ignores = tuple(_Ignore(f"{below}/" if below else "", 0, _spec(text)) for below, text in above)
        return State("", self.include.start, self.exclude.start, ignores)

    def with_ignore_file(self, state: State, text: str) -> State:
        """The state of a directory that contains a .gitignore."""
        own = _Ignore("", len(state.prefix), _spec(text))
        return State(state.prefix, state.include, state.exclude, (*state.ignores, own))

    def judge(self, state: State, name: str, *, is_dir: bool) -> FilterDecision:
        """The verdict on an entry of a directory."""
        path = state.prefix + name
        if self._chooses_nothing:
            return _NO
        if self.gitignore and state.ignores and _ignored(state.ignores, path, is_dir=is_dir):
            return _NO
        keep, enter, include, exclude = True, is_dir, state.include, state.exclude
        if self.include:
            keep, include = self.include.match(path, state.include)
        if self.exclude:
            excluded, exclude = self.exclude.match(path, state.exclude)
            if excluded:
                keep = False
                enter = is_dir and self.exclude.excepts_below(path)
        if not is_dir:
            return _YES if keep else _NO
        return FilterDecision(
            keep, enter, State(path + "/", include, exclude, state.ignores) if enter else None
        )


_YES = FilterDecision(keep=True, enter=False)
_NO = FilterDecision(keep=False, enter=False)


def ignore_spec(lines: Iterable[str]) -> Any:
    """The matcher of lines of a .gitignore; pathspec uses RE2. Raises EngineError for a bad one."""
    import re2
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error, re2.error):
        raise EngineError("syntax error in pattern") from None


def _spec(text: str) -> Any:
    """The matcher of a .gitignore. A bad pattern matches nothing, as in git."""
    lines = text.splitlines()
    try:
        return ignore_spec(lines)
    except EngineError:
        return ignore_spec(filter(_is_pattern, lines))


def _is_pattern(line: str) -> bool:
    with contextlib.suppress(EngineError):
        return bool(ignore_spec([line]))
    return False


def is_ignored(above: Sequence[tuple[str, str]]) -> bool:
    """Whether .gitignore files above a directory ignore it or one of its parents.

    They are given outermost first, each text with the directory's path relative to its file.
    """
    if not above:
        return False
    whole = above[0][0]
    ignores = tuple(_Ignore("", len(whole) - len(below), _spec(text)) for below, text in above)
    ends = [at for at, char in enumerate(f"{whole}/") if char == "/"]
    return any(_ignored(tuple(i for i in ignores if i.cut < end), whole[:end], is_dir=True) for end in ends)


def _ignored(ignores: tuple[_Ignore, ...], path: str, *, is_dir: bool) -> bool:
    """Whether git would ignore a path; the nearest .gitignore decides."""
    path = whole(path) + ("/" if is_dir else "")
    verdict = False
    for ignore in ignores:
        found = ignore.spec.check_file(f"{ignore.prefix}{path[ignore.cut :]}").include
        if found is not None:
            verdict = found
    return verdict


class WalkedEntry(Protocol):
    """One entry of a tree that is walked."""

    @property
    def name(self) -> str:
        """Its name."""
        ...


E2 = TypeVar("E2", bound=WalkedEntry)


def walk(
    chosen: Filter,
    state: State,
    scan: Callable[[str], list[E2]],
    is_dir: Callable[[E2], bool],
    read_ignore: Callable[[str], str | None],
) -> Iterator[tuple[str, E2]]:
    """The kept entries by relative path, parents first, sorted within each directory.

    ``scan`` lists a directory by its relative path ("" or with a slash at its end), ``read_ignore``
    returns a directory's .gitignore, if it has one.
    """
    waiting: list[tuple[str, E2]] = []  # entered directories that are not kept for themselves
    stack: list[Iterator[tuple[State, E2]]] = [_entries(chosen, state, scan, read_ignore)]
    depth_of: list[int] = [0]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            del waiting[depth_of.pop() :]
            continue
        holder, entry = found
        path = holder.prefix + entry.name
        directory = is_dir(entry)
        verdict = chosen.judge(holder, entry.name, is_dir=directory)
        if verdict.keep:
            yield from waiting
            waiting.clear()
            depth_of[:] = [0] * len(depth_of)
            yield path, entry
        if verdict.enter and verdict.state is not None:
            depth_of.append(len(waiting))
            if not verdict.keep:
                waiting.append((path, entry))
            stack.append(_entries(chosen, verdict.state, scan, read_ignore))


def _entries(
    chosen: Filter,
    state: State,
    scan: Callable[[str], list[E2]],
    read_ignore: Callable[[str], str | None],
) -> Iterator[tuple[State, E2]]:
    entries = scan(state.prefix)
    if chosen.gitignore and any(entry.name == ".gitignore" for entry in entries):
        text = read_ignore(state.prefix)
        if text is not None:
            state = chosen.with_ignore_file(state, text)
    return iter([(state, entry) for entry in entries])
