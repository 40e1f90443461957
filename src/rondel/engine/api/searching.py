"""Searches files for a text or regular expression."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from rondel.engine.api.values import SearchResult, SearchSubmatch
from rondel.engine.evaluate.execs import decode
from rondel.engine.evaluate.filters import Filter, walk
from rondel.engine.evaluate.patterns import Patterns
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


def _compile(options: Mapping[str, Any]) -> re.Pattern[bytes]:
    text = str(options["pattern"])
    flags = re.MULTILINE
    if options.get("insensitive"):
        flags |= re.IGNORECASE
    if options.get("dotall"):
        flags |= re.DOTALL
    try:
        return re.compile((re.escape(text) if options.get("literal") else text).encode(), flags)
    except re.error as error:
        raise EngineError(f"regex parse error: {error}") from None


def _files(
    view: View, root: str, paths: Sequence[str], globs: Sequence[str], options: Mapping[str, Any]
) -> list[tuple[str, Entry]]:
    chosen = Filter(gitignore=bool(options.get("skip_ignored")))
    wanted = Patterns.of(globs)
    found: list[tuple[str, Entry]] = []

    def ignore_file(prefix: str) -> str | None:
        entry = view.lookup(posixpath.join(root, prefix, ".gitignore"))
        return decode(view.read(entry.path)) if entry is not None and entry.is_file else None

    def scan(prefix: str) -> list[Entry]:
        return view.scandir(posixpath.join(root, prefix.rstrip("/")))

    starts = [posixpath.normpath(path).lstrip("/") for path in paths] or ["."]
    for path, entry in walk(chosen, chosen.root(), scan, lambda e: e.is_dir, ignore_file):
        inside = any(s in (".", path) or path.startswith(f"{s}/") for s in starts)
        hidden = options.get("skip_hidden") and any(part.startswith(".") for part in path.split("/"))
        if entry.is_file and inside and not hidden and (not globs or _globbed(wanted, path)):
            found.append((path, entry))
    return found


def _globbed(wanted: Patterns, path: str) -> bool:
    """Globs without a slash hold for names at any depth."""
    return any(wanted.match(text, wanted.start)[0] for text in {path, posixpath.basename(path)})


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
