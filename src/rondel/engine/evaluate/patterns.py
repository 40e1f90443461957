"""Path patterns with the rules of Docker's ``patternmatcher``, for include, exclude and glob.

``*`` and ``?`` stay within a name, ``**`` crosses directories, ``!`` makes an exception; a
pattern that matches a directory also holds for everything below it (not so for ``glob``).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CLASS = re.compile(r"\[\^?(?:\\.|[^\]\\])(?:\\.|[^\]\\])*\]")


_LONE_MARK = 'illegal exclusion pattern: "!"'
_SPECIAL = re.compile(r"[*?\[\]\\]")


@lru_cache(4096)
def regex_of(pattern: str) -> str:
    """The pattern as a regular expression for a whole relative path. Raises EngineError."""
    clean = posixpath.normpath(pattern) if pattern else pattern
    if not clean:
        raise EngineError("empty pattern")
    if clean.startswith("**") and not _SPECIAL.search(clean, 2) and clean[2:3] != "/":
        return ".*" + re.escape(clean[2:])  # `**.py` is any name with that end, at any depth
    parts: list[str] = []
    at = 0
    while at < len(clean):
        char = clean[at]
        at += 1
        if char == "*" and clean[at : at + 1] == "*":
            at += 2 if clean[at + 1 : at + 2] == "/" else 1
            parts.append(".*" if at >= len(clean) else "(?:.*/)?")
        elif char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\":
            if at >= len(clean):
                raise EngineError("syntax error in pattern")
            parts.append(re.escape(clean[at]))
            at += 1
        elif char == "[":
            found = _CLASS.match(clean, at - 1)
            if found is None:
                raise EngineError("syntax error in pattern")
            parts.append("(?!/)" + found[0].replace("&&", r"&\&").replace("||", r"|\|"))
            at = found.end()
        else:
            parts.append(re.escape(char))
    return "".join(parts)


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """The matcher of one pattern, without the rule about parents. Raises EngineError.

    A pattern that begins with ``!`` matches nothing.
    """
    text = pattern.strip()
    if text == "!":
        raise EngineError(f"failed to create glob pattern matcher: {_LONE_MARK}")
    try:
        regex = re.compile(regex_of(text.removeprefix("!")), re.DOTALL)
    except (EngineError, re.error) as error:
        text = error.what if isinstance(error, EngineError) else "syntax error in pattern"
        raise EngineError(f"failed to create glob pattern matcher: {text}") from None
    return lambda path: not text.startswith("!") and regex.fullmatch(path) is not None


_HIT, _MISS = (True,), (False,)


@dataclass(frozen=True, slots=True)
class Patterns:
    """An ordered list of patterns; neighbours of one polarity are one expression."""

    groups: tuple[tuple[bool, re.Pattern[str]], ...] = ()

    @classmethod
    def of(cls, patterns: Sequence[str]) -> Patterns:
        """The matcher of a list; blank patterns are left out. Raises EngineError for a bad one."""
        runs: list[tuple[bool, list[str]]] = []
        for text in patterns:
            pattern = text.strip()
            exception = pattern.startswith("!")
            pattern = pattern[1:].strip() if exception else pattern
            if exception and not pattern:
                raise EngineError(_LONE_MARK)
            if not pattern:
                continue
            if not runs or runs[-1][0] != exception:
                runs.append((exception, []))
            runs[-1][1].append(regex_of(pattern))
        try:
            return cls(
                tuple((e, re.compile("|".join(f"(?:{r})" for r in run), re.DOTALL)) for e, run in runs)
            )
        except re.error:
            raise EngineError("syntax error in pattern") from None

    @property
    def start(self) -> tuple[bool, ...]:
        """What holds for the root: no group matched so far."""
        return (False,) * len(self.groups)

    @property
    def has_exceptions(self) -> bool:
        """Whether something below a matched directory may be unmatched again."""
        return any(exception for exception, _ in self.groups)

    def match(self, path: str, parent: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path matches, and which groups matched it or a directory above it.

        ``parent`` is what this answered for the directory that holds the path.
        """
        if len(self.groups) == 1:  # the usual case, 50,000 times
            exception, regex = self.groups[0]
            hit = parent[0] or regex.fullmatch(path) is not None
            return hit and not exception, _HIT if hit else _MISS
        groups = tuple(
            known or regex.fullmatch(path) is not None
            for known, (_, regex) in zip(parent, self.groups, strict=True)
        )
        matched = False
        for hit, (exception, _) in zip(groups, self.groups, strict=True):
            if hit:
                matched = not exception
        return matched, groups
