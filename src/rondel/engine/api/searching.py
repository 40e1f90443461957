"""Searches files for a text or regular expression."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from rondel.engine.api.values import SearchResult, SearchSubmatch
from rondel.engine.evaluate.execs import decode
from rondel.engine.evaluate.filters import Filter, walk
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.engine.store import Entry, View


def search_tree(
    view: View, root: str, paths: Sequence[str], globs: Sequence[str], options: Mapping[str, Any]
) -> list[SearchResult]:
    """All matches below a directory, by path and line. ``options`` are those of the API field.

    Raises EngineError for a pattern that is none.
    """
    pattern = _compile(options)
    limit = options.get("limit")
    found: list[SearchResult] = []
    for path, entry in _files(view, root, paths, globs, options):
        data = view.read(entry.path)
        if b"\0" in data[:8192]:
            continue
        for result in _matches(path, data, pattern, multiline=bool(options.get("multiline"))):
            found.append(SearchResult(path, 0, 0, "", ()) if options.get("files_only") else result)
            if limit is not None and len(found) >= limit:
                return found
            if options.get("files_only"):
                break
    return found


_NEWLINE = re.compile(r"(?<!\\)(?:\\\\)*\\n")
_BRACES = re.compile(r"\{([^{}]*)\}")


def _compile(options: Mapping[str, Any]) -> re.Pattern[bytes]:
    text = str(options["pattern"])
    if not options.get("multiline") and (
        "\n" in text or (not options.get("literal") and _NEWLINE.search(text))
    ):
        raise EngineError(
            'ripgrep error: rg: the literal "\\n" is not allowed in a regex',
            hint="a match over several lines needs multiline",
        )
    flags = re.MULTILINE
    if options.get("insensitive"):
        flags |= re.IGNORECASE
    if options.get("dotall"):
        flags |= re.DOTALL
    try:
        return re.compile((re.escape(text) if options.get("literal") else text).encode(), flags)
    except re.error as error:
        raise EngineError(f"ripgrep error: rg: regex parse error: {error}") from None


def _files(
    view: View, root: str, paths: Sequence[str], globs: Sequence[str], options: Mapping[str, Any]
) -> list[tuple[str, Entry]]:
    chosen = Filter(gitignore=bool(options.get("skip_ignored")))
    wanted = _Globs(globs)
    found: list[tuple[str, Entry]] = []

    def ignore_file(prefix: str) -> str | None:
        entry = view.lookup(posixpath.join(root, prefix, ".gitignore"))
        return decode(view.read(entry.path)) if entry is not None and entry.is_file else None

    def scan(prefix: str) -> list[Entry]:
        return view.scandir(posixpath.join(root, prefix.rstrip("/")))

    starts = [_start(view, root, path) for path in paths] or ["."]
    for path, entry in walk(chosen, chosen.root(), scan, lambda e: e.is_dir, ignore_file):
        inside = any(s in (".", path) or path.startswith(f"{s}/") for s in starts)
        hidden = options.get("skip_hidden") and any(part.startswith(".") for part in path.split("/"))
        if entry.is_file and inside and not hidden and wanted.keep(path):
            found.append((path, entry))
    return found


def _start(view: View, root: str, path: str) -> str:
    """A path to search, relative to the directory. Raises EngineError for one that is not in it."""
    clean = posixpath.normpath(path.removeprefix("/"))
    if clean == ".." or clean.startswith(("../", "/")):
        raise EngineError(f"path cannot escape directory: {path}")
    if view.lookup(posixpath.join(root, clean)) is None:
        text = f"IO error for operation on {clean}: No such file or directory (os error 2)"
        raise EngineError(f"ripgrep error: rg: {clean}: {text}")
    return clean


class _Globs:
    """Globs with the rules of .gitignore, and braces: the last one that matches a path decides.

    One after ``!`` leaves out; without any other, all that none leaves out is kept.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        from pathspec import GitIgnoreSpec

        self.only_exceptions = all(glob.startswith("!") for glob in globs)
        self.rules = [
            (not glob.startswith("!"), GitIgnoreSpec.from_lines(_braces(glob.removeprefix("!"))))
            for glob in globs
        ]

    def keep(self, path: str) -> bool:
        """Whether a file is searched."""
        verdict = next((keep for keep, spec in reversed(self.rules) if spec.match_file(path)), None)
        return self.only_exceptions if verdict is None else verdict


def _braces(glob: str) -> list[str]:
    """The globs that ``{a,b}`` in one stands for."""
    match = _BRACES.search(glob)
    if match is None:
        return [glob]
    head, tail = glob[: match.start()], glob[match.end() :]
    return [one for choice in match[1].split(",") for one in _braces(head + choice + tail)]


def _matches(path: str, data: bytes, pattern: re.Pattern[bytes], *, multiline: bool) -> list[SearchResult]:
    found: list[SearchResult] = []
    if multiline:
        for match in pattern.finditer(data):
            start = data.rfind(b"\n", 0, match.start()) + 1
            stop = data.find(b"\n", max(match.end() - 1, match.start()))
            lines = data[start : len(data) if stop < 0 else stop + 1]
            part = SearchSubmatch(decode(match[0]), match.start() - start, match.end() - start)
            number = data.count(b"\n", 0, start) + 1
            found.append(SearchResult(path, number, start, decode(lines), (part,)))
        return found
    offset = 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        parts = tuple(
            SearchSubmatch(decode(m[0]), m.start(), m.end()) for m in pattern.finditer(line.rstrip(b"\r\n"))
        )
        if parts:
            found.append(SearchResult(path, number, offset, decode(line), parts))
        offset += len(line)
    return found
