"""Env files: variables as written, and as evaluated.

A plain value is taken as it stands. One with quotes, backslashes or references is read as a
shell reads a word: quotes go, references are put in, a ``#`` after a space begins a comment.
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
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?:(:?[-+])([^}]*))?\}|([A-Za-z_]\w*))", re.ASCII)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """Variables in order, each with its raw text (quotes and references as written).

    ``context`` holds variables that references may mean, and that do not belong to the file.
    """

    raw: tuple[tuple[str, str], ...] = ()
    context: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> EnvFile:
        """The env file of a text. Raises EngineError naming the first line that is none."""
        found = cls()
        for line in text.split("\n"):
            bare = (
                _EXPORT.sub("", line.strip(), count=1) if line.strip().startswith("export") else line.strip()
            )
            if not bare or bare.startswith("#"):
                continue
            bare = bare if "=" in bare else f"{bare}="  # a name alone is a variable without a value
            name, _, value = bare.partition("=")
            if not _NAME.fullmatch(name):
                raise EngineError(f"parse error: {_quoted(bare)}: not a bare assignment")
            _check_quotes(bare, value)
            found = found.with_variable(name, value)
        return found

    def with_variable(self, name: str, value: str) -> EnvFile:
        """With a variable set; one that is there keeps its place."""
        if any(known == name for known, _ in self.raw):
            pairs = tuple((known, value if known == name else old) for known, old in self.raw)
            return replace(self, raw=pairs)
        return replace(self, raw=(*self.raw, (name, value)))

    def without_variable(self, name: str) -> EnvFile:
        """Without a variable."""
        return replace(self, raw=tuple(pair for pair in self.raw if pair[0] != name))

    def namespace(self, prefix: str) -> EnvFile:
        """The variables whose names begin with a prefix and an underscore, without that.

        The others stay in the background, for references.
        """
        starts = {prefix.removesuffix("_") + "_", _WORD_START.sub("_", prefix).removesuffix("_") + "_"}
        lengths = {start.upper(): len(start) for start in starts} if prefix else {"": 0}
        inside, outside = [], list(self.context)
        for name, value in self.raw:
            cut = next((n for start, n in lengths.items() if name.upper().startswith(start)), None)
            if cut is None:
                outside.append((name, value))
            else:
                inside.append((name[cut:], value))
        return EnvFile(tuple(inside), tuple(outside))

    def evaluated(self, environ: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
        """The variables by name, quotes removed and references put in.

        References mean other variables of the file, wherever they stand, or else the client's
        own (``environ``). Raises EngineError for one that means nothing, or itself.
        """
        evaluation = _Evaluation(dict(self.context) | dict(self.raw), environ or {})
        return tuple((name, evaluation.value(name)) for name in sorted(dict(self.raw)))

    def value(self, name: str, environ: Mapping[str, str] | None = None) -> str:
        """One variable, evaluated; empty when it is not there. Raises EngineError."""
        if name not in dict(self.raw):
            return ""
        return _Evaluation(dict(self.context) | dict(self.raw), environ or {}).value(name)

    def as_text(self) -> str:
        """The file's text."""
        return "".join(f"{name}={value}\n" for name, value in self.raw)


class _Evaluation:
    """The values of an env file, each made once."""

    def __init__(self, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self.raw = raw
        self.environ = environ
        self.known: dict[str, str] = {}
        self.open: list[str] = []

    def value(self, name: str) -> str:
        if name in self.known:
            return self.known[name]
        if name in self.open:
            raise EngineError(f"circular dependency detected: {' -> '.join([*self.open, name])}")
        raw = self.raw[name]
        self.open.append(name)
        found = self._words(name, raw) if _FEATURES.search(raw) else raw
        self.open.pop()
        self.known[name] = found
        return found

    def _words(self, name: str, raw: str) -> str:
        """A value as a shell would read it: the words after the first one belong to it, too."""
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
        """One part of a word that begins at a place, and where the next one does."""
        char = raw[at]
        if char in "'\"":
            end = _closing(raw, at)
            inner = raw[at + 1 : end]
            return inner if char == "'" else self._double(name, inner), end + 1
        if char == "\\":
            return raw[at + 1 : at + 2], at + 2
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
        value = self.value(wanted) if wanted in self.raw else self.environ.get(wanted)
        missing = value is None or (operator is not None and operator[0] == ":" and not value)
        if operator is not None and operator[-1] == "+":
            return "" if missing else other
        if not missing and value is not None:
            return value
        if operator is None:
            raise EngineError(f"{name}: {wanted}: unbound variable")
        return other


def _closing(raw: str, start: int) -> int:
    """Where the quoted part that begins at ``start`` ends; the text's end if it is left open."""
    at = start + 1
    while at < len(raw) and raw[at] != raw[start]:
        at += 2 if raw[at] == "\\" and raw[start] == '"' else 1
    return min(at, len(raw))


def _check_quotes(line: str, value: str) -> None:
    """Raise EngineError for a quote that is not closed."""
    at = 0
    while at < len(value):
        if value[at] in "'\"":
            end = _closing(value, at)
            if end == len(value):
                column = len(line) - len(value) + at + 1
                text = f"reached EOF without closing quote {value[at]}"
                raise EngineError(f"parse error: {_quoted(line)}: 1:{column}: {text}")
            at = end + 1
        else:
            at += 2 if value[at] == "\\" else 1


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
