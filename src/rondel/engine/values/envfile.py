"""Env files: variables as written, and as evaluated.

A plain value is taken literally. A value with quotes, backslashes or references is read like
a shell word: quotes are removed, references are replaced, ``#`` after a space starts a comment.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPORT = re.compile(r"export\s+")
_FEATURES = re.compile(r"[`\"'\\]|\$[A-Za-z_{(]")
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?:(:?[-+?])([^}]*))?\}|([A-Za-z_]\w*))", re.ASCII)
_COMMAND = re.compile(r"(?<!\\)(?:`|\$\((?!\())")
_DELIMITER = re.compile(r"[ _.-]")
_WORD_START = re.compile(
    r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Z])(?=[A-Z][a-z])"
)


@dataclass(frozen=True, slots=True)
class EnvFile:
    """Variables in order, each with its raw text (quotes and references as written).

    ``context`` holds variables that references may use but that are not part of the file.
    """

    raw: tuple[tuple[str, str], ...] = ()
    context: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> EnvFile:
        """Parse the text of an env file. Raises EngineError with the first invalid line."""
        found = cls()
        for line in text.split("\n"):
            name, _, value = _EXPORT.sub("", line.strip()).partition("=")
            if name or value:
                found = found.with_variable(name, value)
        found.check()
        return found

    def check(self) -> None:
        """Raise EngineError with the first line that is not an assignment for a shell."""
        for name, value in self.raw:
            if not name.startswith("#"):  # a comment: like Dagger, keep it as a variable without a value
                _check(name, value)

    def with_variable(self, name: str, value: str) -> EnvFile:
        """Set a variable; a known one keeps its position. The name ends at the first ``=``."""
        name, _, value = f"{name}={value}".partition("=")
        if any(known == name for known, _ in self.raw):
            pairs = tuple((known, value if known == name else old) for known, old in self.raw)
            return replace(self, raw=pairs)
        return replace(self, raw=(*self.raw, (name, value)))

    def without_variable(self, name: str) -> EnvFile:
        """Remove a variable."""
        return replace(self, raw=tuple(pair for pair in self.raw if pair[0] != name))

    def namespace(self, prefix: str) -> EnvFile:
        """The variables whose names begin with a prefix and an underscore, without that prefix.

        A prefix of several words matches in camel case or with underscores. The other
        variables remain available to references.
        """
        words = prefix.strip()
        camel = _DELIMITER.sub("", words)
        snake = _DELIMITER.sub("_", _WORD_START.sub("_", words)).removesuffix("_")
        lengths = {f"{start}_".upper(): len(start) + 1 for start in (camel, snake)}
        inside, outside = [], list(self.context)
        for name, value in self.raw:
            cut = next((n for start, n in lengths.items() if name.upper().startswith(start)), None)
            if cut is None:
                outside.append((name, value))
            else:
                inside.append((name[cut:], value))
        return EnvFile(tuple(inside), tuple(outside))

    def evaluated(self, environ: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
        """The variables by name, quotes removed and references replaced.

        References mean other variables of the file, in any order, else variables of the client
        (``environ``). Raises EngineError for an unknown reference and for a circle.
        """
        evaluation = self._evaluation(environ)
        return tuple((name, evaluation.value(name)) for name in sorted(dict(self.raw)))

    def value(self, name: str, environ: Mapping[str, str] | None = None) -> str:
        """One variable, evaluated; empty if it does not exist. Raises EngineError."""
        return self._evaluation(environ).value(name) if name in dict(self.raw) else ""

    def _evaluation(self, environ: Mapping[str, str] | None) -> _Evaluation:
        return _Evaluation(dict(self.context) | dict(self.raw), environ or {})

    def as_text(self) -> str:
        """The file's text."""
        return "".join(f"{name}={value}\n" for name, value in self.raw)


class _Evaluation:
    """The values of an env file, each evaluated once."""

    def __init__(self, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self.raw = raw
        self.environ = environ
        self.known: dict[str, str] = {}
        self.open: list[str] = []

    def value(self, name: str) -> str:
        if name in self.known:
            return self.known[name]
        if name.startswith("#"):
            return ""
        raw = self.raw[name]
        self.open.append(name)
        try:
            found = self._words(name, raw) if _FEATURES.search(raw) else raw
        finally:
            self.open.pop()
        self.known[name] = found
        return found

    def _referred(self, name: str) -> str:
        """The value of a reference: empty for a variable that refers to itself or can't be evaluated."""
        if name not in self.raw:
            return self.environ.get(name, "")
        if name in self.open:
            return ""
        try:
            return self.value(name)
        except EngineError:
            return ""

    def _words(self, name: str, raw: str) -> str:
        """A value as a shell reads it; unlike in a shell, the words after the first one belong to it."""
        words: list[str] = []
        word: str | None = None
        at = 0
        while at < len(raw):
            char = raw[at]
            if char.isspace():
                words += [] if word is None else [word]
                word, at = None, at + 1
                continue
            if char == "#" and word is None and (words or at):
                break
            part, at = self._part(name, raw, at)
            word = (word or "") + part
        return " ".join(words if word is None else [*words, word])

    def _part(self, name: str, raw: str, at: int) -> tuple[str, int]:
        """The part of a word that begins at a position, and the position of the next part."""
        char = raw[at]
        if char in "'\"":
            end = _closing(raw, at)
            inner = raw[at + 1 : end]
            return inner if char == "'" else self._double(name, inner), end + 1
        if char == "\\":
            return raw[at + 1 : at + 2] or char, at + 2
        reference = _REFERENCE.match(raw, at)
        if reference is not None:
            return self._reference(name, reference), reference.end()
        return char, at + 1

    def _double(self, name: str, text: str) -> str:
        parts: list[str] = []
        at = 0
        while at < len(text):
            reference = _REFERENCE.match(text, at)
            if text[at] == "\\" and text[at + 1 : at + 2] in set('$"\\`'):
                parts.append(text[at + 1])
                at += 2
            elif reference is not None:
                parts.append(self._reference(name, reference))
                at = reference.end()
            else:
                parts.append(text[at])
                at += 1
        return "".join(parts)

    def _reference(self, name: str, match: re.Match[str]) -> str:
        wanted, operator, other = match[1] or match[4], match[2], match[3] or ""
        value = self._referred(wanted)  # an empty variable counts as unset
        if operator is not None and operator[-1] == "+":
            return other if value else ""
        if value:
            return value
        if operator is None:
            raise EngineError(f"{name}: {wanted}: unbound variable")
        if operator[-1] == "?":
            raise EngineError(f"{name}: {wanted}: {other}")
        return other


def _closing(raw: str, start: int) -> int:
    """Where the quoted part that begins at ``start`` ends; the text's end if it is not closed."""
    at = start + 1
    while at < len(raw) and raw[at] != raw[start]:
        at += 2 if raw[at] == "\\" and raw[start] == '"' else 1
    return min(at, len(raw))


def _check(name: str, value: str) -> None:
    """Raise EngineError for a line that is no assignment, an open quote, or a command substitution."""
    line = f"{name}={value}"
    if not _NAME.fullmatch(name):
        raise EngineError(f"parse error: {_quoted(line)}: not a bare assignment")
    at = 0
    while at < len(value):
        end = _closing(value, at) if value[at] in "'\"" else at
        if end == len(value):
            text = f"1:{len(name) + 2 + at}: reached EOF without closing quote `{value[at]}`"
            raise EngineError(f"parse error: {_quoted(line)}: {text}")
        command = _COMMAND.search(value, at, end + 2) if value[at] != "'" else None
        if command is not None:
            column = len(name) + 2 + command.start()
            raise EngineError(f"{name}: unexpected command substitution at 1:{column}")
        at = end + (2 if value[at] == "\\" else 1)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
