"""Finds lines of files that match a text or regular expression, with ripgrep's results.

Only a line feed ends a line. Text that is not UTF-8 never appears in a result.
"""

from __future__ import annotations

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
_SYNTAX = re.compile(
    r"\\(?P<escaped>.)"
    r"|(?P<look>\(\?<?[=!])"
    r"|(?P<named>\(\?<)"
    r"|(?P<class>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\[\]\\])*\])",
    re.DOTALL,
)
"""Syntax of Rust's regular expressions (ripgrep's) that Python writes differently or lacks."""

_POSIX_CLASS = re.compile(r"\[:(\w+):\]")
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "blank": r"\t ", "digit": "0-9", "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip


class Matcher:
    """A search pattern. Raises EngineError for an invalid one."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        text = str(options["pattern"])
        literal = bool(options.get("literal"))
        multiline = bool(options.get("multiline"))
        dotall = bool(options.get("dotall"))
        if not multiline and ("\n" in text or (not literal and _NEWLINE.search(text))):
            raise EngineError(
                'ripgrep error: rg: the literal "\\n" is not allowed in a regex',
                hint="a match over several lines needs multiline",
            )
        flags = re.MULTILINE
        flags |= re.IGNORECASE if options.get("insensitive") else 0
        flags |= re.DOTALL if dotall else 0
        self.crosses = multiline and ("\n" in text if literal else _may_cross(text, dotall=dotall))
        try:
            self.pattern = re.compile(re.escape(text) if literal else _in_python(text), flags)
        except re.error as error:
            raise EngineError(f"ripgrep error: rg: regex parse error: {error}") from None

    def results(self, path: str, file: BinaryIO) -> Iterator[SearchResult]:
        """The matches in a file, reported under a path; none in a binary file."""
        if b"\0" in file.read(_BINARY):
            return
        file.seek(0)
        yield from self._across(path, file) if self.crosses else self._by_line(path, file)

    def _by_line(self, path: str, file: BinaryIO) -> Iterator[SearchResult]:
        offset = 0
        for number, data in enumerate(file, 1):
            line = _text(data)
            if line is not None:
                parts = _submatches(self.pattern, line.removesuffix("\n"))
                if parts:
                    yield SearchResult(path, number, offset, line, parts)
            offset += len(data)

    def _across(self, path: str, file: BinaryIO) -> Iterator[SearchResult]:
        """Matches over several lines; those on shared or adjacent lines are merged."""
        text = file.read().decode("utf-8", "surrogateescape")
        blocks: list[list[int]] = []
        for match in self.pattern.finditer(text):
            start = text.rfind("\n", 0, match.start()) + 1
            stop = text.find("\n", max(match.end() - 1, match.start()))
            end = len(text) if stop < 0 else stop + 1
            if blocks and start <= blocks[-1][1]:
                blocks[-1][1] = max(end, blocks[-1][1])
            else:
                blocks.append([start, end])
        number, offset, at = 1, 0, 0
        for start, end in blocks:
            number += text.count("\n", at, start)
            offset += len(text[at:start].encode("utf-8", "surrogateescape"))
            at = start
            lines = text[start:end]
            if lines.isascii() or _text(lines.encode("utf-8", "surrogateescape")) is not None:
                yield SearchResult(path, number, offset, lines, _submatches(self.pattern, lines))


def _in_python(text: str) -> str:
    """A Rust regular expression in Python's syntax. Raises EngineError for what Rust does not support."""

    def replaced(match: re.Match[str]) -> str:
        if match["look"]:
            refused = "look-around, including look-ahead and look-behind, is not supported"
        elif match["escaped"] and match["escaped"] in "123456789":
            refused = "backreferences are not supported"
        elif match["class"]:
            inner = match["class"][1:-1]
            return f"[{_POSIX_CLASS.sub(lambda found: _POSIX.get(found[1], found[0]), inner)}]"
        else:
            return "(?P<" if match["named"] else match[0]
        mark = " " * (match.start() + 7) + "^" * len(match[0])
        raise EngineError(
            f"ripgrep error: rg: regex parse error:\n    (?:{text})\n{mark}\nerror: {refused}\n"
        )

    return _SYNTAX.sub(replaced, text)


def _may_cross(pattern: str, *, dotall: bool) -> bool:
    """Whether a match of a regular expression may contain a line feed."""
    return _MAY_CROSS.search(pattern) is not None or (dotall and "." in pattern)


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _submatches(pattern: re.Pattern[str], text: str) -> tuple[SearchSubmatch, ...]:
    """The matches in some lines, with offsets in bytes."""
    found = []
    for match in pattern.finditer(text):
        start = match.start() if text.isascii() else len(text[: match.start()].encode())
        found.append(SearchSubmatch(match[0], start, start + len(match[0].encode())))
    return tuple(found)
