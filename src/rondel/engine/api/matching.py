"""Finds lines of files that match a text or regular expression, with ripgrep's results.

Only a line feed ends a line. Text that is not UTF-8 never appears in a result.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from rondel.engine.api.results import SearchResult, SearchSubmatch
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

_NEWLINE = re.compile(r"(?<!\\)(?:\\\\)*\\n")
_MAY_CROSS = re.compile(r"\n|\\[nsDWHSP]|\\x0[aA]|\[\^|\(\?[a-zA-Z]*s")
_BINARY = 8192
_MEMORY = 64 << 20
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SYNTAX = re.compile(rf"{_ESCAPE.pattern}|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\[\]\\])*\]", re.DOTALL)
"""Escapes, and classes with those in them."""

_CLASSES = {"d": r"\p{Nd}", "s": r"\s\v\x{85}\pZ", "w": r"\pL\pM\p{Nd}\p{Pc}"}
"""The classes of characters that are Unicode's in ripgrep and ASCII's in RE2."""


class Matcher:
    """A search pattern. Raises EngineError for an invalid one.

    RE2 takes linear time, whatever the pattern, and lets other threads run meanwhile.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        import re2

        text = str(options["pattern"])
        literal = bool(options.get("literal"))
        multiline = bool(options.get("multiline"))
        dotall = bool(options.get("dotall"))
        if not multiline and ("\n" in text or (not literal and _NEWLINE.search(text))):
            raise EngineError(
                'ripgrep error: rg: the literal "\\n" is not allowed in a regex',
                hint="a match over several lines needs multiline",
            )
        flags = f"(?m{'i' * bool(options.get('insensitive'))}{'s' * dotall})"
        self.crosses = multiline and ("\n" in text if literal else _may_cross(text, dotall=dotall))
        memory = re2.Options()
        memory.max_mem = _MEMORY
        memory.log_errors = False
        try:
            regex = flags + (re2.escape(text) if literal else _SYNTAX.sub(_unicode, text))
            self.pattern = re2.compile(regex, memory)
        except re2.error as error:
            reason = error.args[0].decode("utf-8", "replace")
            raise EngineError(f"ripgrep error: rg: regex parse error:\n    {text}\nerror: {reason}") from None

    def results(self, path: str, file: BinaryIO) -> Iterator[SearchResult]:
        """The matches in a file, reported under a path; none in a binary file."""
        if b"\0" in file.read(_BINARY):
            return
        file.seek(0)
        yield from self._across(path, file) if self.crosses else self._by_line(path, file)

    def _by_line(self, path: str, file: BinaryIO) -> Iterator[SearchResult]:
        offset = 0
        for number, line in enumerate(file, 1):
            yield from self._found(path, number, offset, line, line.removesuffix(b"\n"))
            offset += len(line)

    def _across(self, path: str, file: BinaryIO) -> Iterator[SearchResult]:
        """Matches over several lines; those on shared or adjacent lines are merged."""
        text = file.read()
        blocks: list[list[int]] = []
        for first, last in self._spans(text):
            start = text.rfind(b"\n", 0, first) + 1
            stop = text.find(b"\n", max(last - 1, first))
            end = len(text) if stop < 0 else stop + 1
            if blocks and start <= blocks[-1][1]:
                blocks[-1][1] = max(end, blocks[-1][1])
            else:
                blocks.append([start, end])
        number, at = 1, 0
        for start, end in blocks:
            number += text.count(b"\n", at, start)
            at = start
            yield from self._found(path, number, start, text[start:end], text[start:end])

    def _spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Where the pattern matches; an empty match does not touch the one before, as in Rust."""
        before = -1
        for match in self.pattern.finditer(text):
            start, end = match.span()
            if not start == end == before:
                yield start, end
            before = end

    def _found(
        self, path: str, number: int, offset: int, lines: bytes, where: bytes
    ) -> Iterator[SearchResult]:
        """The result for some lines, if they match and are UTF-8."""
        parts = tuple(
            SearchSubmatch(where[start:end].decode("utf-8", "replace"), start, end)
            for start, end in self._spans(where)
        )
        with contextlib.suppress(UnicodeDecodeError):
            if parts:
                yield SearchResult(path, number, offset, lines.decode(), parts)


def _unicode(match: re.Match[str]) -> str:
    """A class of characters, or an escape, with what it means in Unicode."""
    if match[1] is None:
        return _ESCAPE.sub(lambda escape: _CLASSES.get(escape[1], escape[0]), match[0])
    known = _CLASSES.get(match[1].lower())
    return match[0] if known is None else f"[{'^' * match[1].isupper()}{known}]"


def _may_cross(pattern: str, *, dotall: bool) -> bool:
    """Whether a match of a regular expression may contain a line feed."""
    return _MAY_CROSS.search(pattern) is not None or (dotall and "." in pattern)
