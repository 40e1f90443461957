"""Path patterns with Docker's semantics, for include, exclude, glob and ``.dockerignore``.

``*`` and ``?`` stay within a name, ``**`` crosses directories, ``!`` makes an exception; a
pattern that matches a directory also holds for everything below it (not so for ``glob``).
The rules are those of ``New``, ``compile`` and ``MatchesUsingParentResults`` in
https://github.com/moby/patternmatcher, which BuildKit and Dagger use for every list of patterns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from posixpath import normpath
from typing import TYPE_CHECKING

from rondel.errors import EngineError
from rondel.files.text import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Match = Callable[[str], bool]

_CHAR = r"(?:\\.|[^\]\\-])"
_CLASS = re.compile(rf"\[\^?(?:{_CHAR}(?:-{_CHAR})?)+\]", re.DOTALL)
_RESERVED = re.compile(r"\\.|[\[&|~]", re.DOTALL)
_LONE_MARK = 'illegal exclusion pattern: "!"'
_SPECIAL = re.compile(r"[*?\[\]\\]")
_MEMORY = 256 << 20
"""How much the expression of a long list may occupy; a short one occupies little."""


def clean(path: str) -> str:
    """The shortest spelling of a path, as Go's ``filepath.Clean`` gives it."""
    return normpath(f"/{path.lstrip('/')}" if path.startswith("/") else path)


@lru_cache(4096)
def regex_of(pattern: str) -> str:
    """A clean pattern as a regular expression for a whole relative path. Raises EngineError."""
    if pattern.startswith("**") and not _SPECIAL.search(pattern, 2) and pattern[2:3] != "/":
        return ".*" + re.escape(pattern[2:])  # `**.py` is any name with that end, at any depth
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*" and pattern[at : at + 1] == "*":
            at += 2 if pattern[at + 1 : at + 2] == "/" else 1
            parts.append(".*" if at >= len(pattern) else "(?:.*/)?")
        elif char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\":
            if at >= len(pattern):
                raise EngineError("syntax error in pattern")
            parts.append(re.escape(pattern[at]))
            at += 1
        elif char == "[":
            found = _CLASS.match(pattern, at - 1)
            if found is None:
                raise EngineError("syntax error in pattern")
            # `[`, `&`, `|` and `~` mean themselves.
            parts.append("[" + _RESERVED.sub(lambda match: re.escape(match[0][-1]), found[0][1:-1]) + "]")
            at = found.end()
        else:
            parts.append(re.escape(char))
    return "".join(parts)


def matcher_of(regexes: Iterable[str]) -> Match:
    """Whether a whole path matches one of some regular expressions. Raises EngineError for a bad one.

    RE2 takes linear time, whatever the pattern. A byte that is not UTF-8 is one unknown character.
    """
    import re2

    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        union = whole("|".join(f"(?:{regex})" for regex in regexes))
        fullmatch = re2.compile(union, options).fullmatch
    except re2.error:
        raise EngineError("syntax error in pattern") from None
    return lambda path: fullmatch(whole(path).encode()) is not None


def compile_glob(pattern: str) -> Match:
    """The matcher of one pattern, without the rule about parents. Raises EngineError.

    A pattern that begins with ``!`` matches nothing.
    """
    text = pattern.strip()
    body = text.removeprefix("!")
    if not body:
        reason = _LONE_MARK if text else "empty pattern"
        raise EngineError(f"failed to create glob pattern matcher: {reason}")
    try:
        matches = matcher_of([regex_of(clean(body))])
    except EngineError as error:
        raise EngineError(f"failed to create glob pattern matcher: {error.what}") from None
    return lambda path: body == text and matches(path)


_HIT, _MISS = (True,), (False,)


@dataclass(frozen=True, slots=True)
class Patterns:
    """An ordered list of patterns. ``texts`` are the patterns, cleaned.

    Neighbours of one polarity are one expression in ``groups``: Docker's matcher asks each pattern
    in turn, and the answer is the same, because an exception is only asked about what matches so
    far and a pattern only about what does not.
    """

    texts: tuple[str, ...] = ()
    groups: tuple[tuple[bool, Match], ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Patterns:
        """The matcher of a list; blank patterns are left out. Raises EngineError for a bad one."""
        texts: list[str] = []
        runs: list[tuple[bool, list[str]]] = []
        for written in patterns:
            if not written.strip():
                continue
            text = clean(written.strip())
            exception = text.startswith("!")
            if text == "!":
                raise EngineError(_LONE_MARK)
            if not runs or runs[-1][0] != exception:
                runs.append((exception, []))
            runs[-1][1].append(regex_of(text.removeprefix("!")))
            texts.append(text)
        return cls(tuple(texts), tuple((exception, matcher_of(run)) for exception, run in runs))

    def __bool__(self) -> bool:
        return bool(self.groups)

    @property
    def start(self) -> tuple[bool, ...]:
        """What holds for the root: no group matched so far."""
        return (False,) * len(self.groups)

    def match(self, path: str, parent: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path matches, and which groups matched it or a directory above it.

        ``parent`` is the second answer for the directory that holds the path.
        """
        if len(self.groups) == 1:  # the usual case, 50,000 times
            exception, matches = self.groups[0]
            hit = not exception and (parent[0] or matches(path))
            return hit, _HIT if hit else _MISS
        matched = False
        groups: list[bool] = []
        for known, (exception, matches) in zip(parent, self.groups, strict=True):
            hit = known or (exception == matched and matches(path))
            groups.append(hit)
            if hit:
                matched = not exception
        return matched, tuple(groups)

    def below(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """The answer of :meth:`match` for a path of which nothing is known; "" is the root."""
        matched, groups = False, self.start
        for end in [at for at, char in enumerate(f"{path}/") if char == "/" and at]:
            matched, groups = self.match(path[:end], groups)
        return matched, groups

    def matches(self, path: str) -> bool:
        """Whether a path or, unless an exception takes it back, a directory above it matches."""
        return self.below(path)[0]

    def excepts_below(self, directory: str) -> bool:
        """Whether an exception may hold for something in a directory that matches; "" is the root."""
        parts = directory.split("/") if directory else []
        return any(_may_lead_below(text[1:].split("/"), parts) for text in self.texts if text[0] == "!")


def _may_lead_below(pattern: list[str], directory: list[str]) -> bool:
    for wanted, part in zip(pattern, directory, strict=False):
        if "**" in wanted or "[" in wanted:  # `[^a]` matches a slash, too
            return True
        if wanted != part and not _SPECIAL.search(wanted):
            return False
    return len(pattern) > len(directory)
