"""Searches the files of a directory for a text or regular expression, with ripgrep's file selection."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.engine.api.matching import Matcher
from rondel.engine.api.results import SearchResult
from rondel.engine.evaluate.filters import Filter, ignore_spec
from rondel.errors import EngineError
from rondel.files.text import whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rondel.engine.evaluate.filters import State
    from rondel.engine.store import TreeEntry, View

_BRACES = re.compile(r"\{([^{}]*)\}")
_MOST_GLOBS = 1_000
_IGNORE_FILES = (".gitignore", ".ignore", ".rgignore")
"""The names of ignore files, by increasing priority; the first one counts in a repository only."""


def search_tree(
    view: View, root: str, paths: Sequence[str], globs: Sequence[str], options: Mapping[str, Any]
) -> list[SearchResult]:
    """All matches below a directory, by path and line. ``options`` are those of the API field.

    Raises EngineError for an invalid pattern, and for a file that does not fit into memory.
    """
    matcher = Matcher(options)
    only_names = bool(options.get("files_only"))
    limit = None if only_names else options.get("limit")
    found: list[SearchResult] = []
    for path, entry in _Files(view, root, globs, options).below(paths):
        try:
            with view.open(entry.path) as file:
                for result in matcher.results(path, file):
                    found.append(SearchResult(path, 0, 0, "", ()) if only_names else result)
                    if limit is not None and len(found) >= limit:
                        return found
                    if only_names:
                        break
        except MemoryError:
            raise EngineError(
                f"search: not enough memory for {path}",
                hint="leave it out with globs, or search line by line, without multiline",
            ) from None
    return found


class _Files:
    """Selects the files to search, by default neither hidden nor ignored ones.

    A file that is requested by name is always searched.
    """

    def __init__(self, view: View, root: str, globs: Sequence[str], options: Mapping[str, Any]) -> None:
        self.view = view
        self.root = root
        self.globs = _Globs(globs)
        self.skip_hidden = bool(options.get("skip_hidden"))
        self.ignoring = Filter(gitignore=bool(options.get("skip_ignored")))

    def below(self, paths: Sequence[str]) -> Iterator[tuple[str, TreeEntry]]:
        """The files at and below some paths; without paths, all files."""
        for path in paths or ["."]:
            start, entry = self._start(path)
            if entry.is_file:
                yield start, entry
            elif entry.is_dir:
                whole = start == "."
                shown = (
                    "./" if whole and paths else ""
                )  # for files, too, if the directory itself is requested by name
                yield from ((shown + name, found) for name, found in self._walk("" if whole else f"{start}/"))

    def _start(self, path: str) -> tuple[str, TreeEntry]:
        """A path to search, links followed. Raises EngineError if it is outside of the directory."""
        clean = posixpath.normpath(path.removeprefix("/"))
        if clean == ".." or clean.startswith(("../", "/")):
            raise EngineError(f"path cannot escape directory: {path}")
        entry = self.view.lookup(posixpath.join(self.root, clean))
        if entry is None:
            text = f"IO error for operation on {clean}: No such file or directory (os error 2)"
            raise EngineError(f"ripgrep error: rg: {clean}: {text}\n")
        return posixpath.relpath(entry.path, self.root), entry

    def _walk(self, prefix: str) -> Iterator[tuple[str, TreeEntry]]:
        """The files below a directory, sorted within each."""
        stack = [iter(self._entries(self._state(prefix)))]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
                continue
            state, entry = found
            path = state.prefix + entry.name
            if self.skip_hidden and entry.name.startswith("."):
                continue
            verdict = self.ignoring.judge(state, entry.name, is_dir=entry.is_dir)
            if entry.is_dir and verdict.state is not None and not self.globs.leave_out(path):
                stack.append(iter(self._entries(verdict.state)))
            elif entry.is_file and verdict.keep and self.globs.keep(path):
                yield path, entry

    def _entries(self, state: State) -> list[tuple[State, TreeEntry]]:
        entries = self.view.scandir(posixpath.join(self.root, state.prefix.rstrip("/")))
        if self.ignoring.gitignore:
            text = self._rules(state.prefix)
            state = self.ignoring.with_ignore_file(state, text) if text else state
        return [(state, entry) for entry in entries]

    def _state(self, prefix: str) -> State:
        """The ignore rules that apply from the directories above."""
        state = self.ignoring.root()
        parts = prefix.rstrip("/").split("/") if prefix else []
        for number in range(len(parts)):
            above = "".join(f"{part}/" for part in parts[:number])
            if self.ignoring.gitignore:
                state = self.ignoring.with_ignore_file(state, self._rules(above))
            state = replace(state, prefix=above + f"{parts[number]}/")
        return state

    def _rules(self, prefix: str) -> str:
        """The ignore rules in a directory's files."""
        names = _IGNORE_FILES if self._in_repository(prefix) else _IGNORE_FILES[1:]
        files = [posixpath.join(self.root, prefix, name) for name in names]
        entries = [entry for file in files if (entry := self.view.lookup(file)) and entry.is_file]
        return "\n".join(self.view.read(entry.path).decode("utf-8", "replace") for entry in entries)

    def _in_repository(self, prefix: str) -> bool:
        folder = posixpath.join(self.root, prefix).rstrip("/")
        while True:
            if self.view.lookup(f"{folder}/.git") is not None:
                return True
            if not folder:
                return False
            folder = posixpath.dirname(folder).rstrip("/")


class _Globs:
    """Globs with the rules of .gitignore, and braces: the last one that matches a path decides.

    A glob after ``!`` excludes; if all globs exclude, everything else is kept.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        self.only_exceptions = all(glob.startswith("!") for glob in globs)
        self.rules = [
            (not glob.startswith("!"), ignore_spec(_braces(glob.removeprefix("!")))) for glob in globs
        ]

    def keep(self, path: str) -> bool:
        """Whether a file is searched."""
        verdict = self._verdict(path)
        return self.only_exceptions if verdict is None else verdict

    def leave_out(self, path: str) -> bool:
        """Whether a directory is skipped with its content."""
        return self._verdict(f"{path}/") is False

    def _verdict(self, path: str) -> bool | None:
        path = whole(path)
        return next((keep for keep, spec in reversed(self.rules) if spec.match_file(path)), None)


def _braces(glob: str) -> list[str]:
    """The globs that ``{a,b}`` in one expands to. Raises EngineError if they are too many."""
    found, waiting = [], [glob]
    while waiting:
        one = waiting.pop()
        match = _BRACES.search(one)
        if match is None:
            found.append(one)
        else:
            head, tail = one[: match.start()], one[match.end() :]
            waiting += [head + choice + tail for choice in match[1].split(",")]
        if len(found) + len(waiting) > _MOST_GLOBS:
            raise EngineError(f"search: the braces of a glob stand for more than {_MOST_GLOBS} globs")
    return found
