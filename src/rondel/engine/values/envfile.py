"""Env files: variables as written, and as evaluated."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from rondel.errors import EngineError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\\(.)|\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """Variables in order, each with its raw text (quotes and references as written)."""

    raw: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> EnvFile:
        """The env file of a text. Raises EngineError naming the first line that is none."""
        found = cls()
        for line in text.splitlines():
            bare = line.strip()
            if not bare or bare.startswith("#"):
                continue
            bare = bare.removeprefix("export ").lstrip()
            name, equals, value = bare.partition("=")
            if equals and not _NAME.fullmatch(name):
                raise EngineError(f'parse error: "{bare}": not a bare assignment')
            if equals:
                found = found.with_variable(name, value)
        return found

    def with_variable(self, name: str, value: str) -> EnvFile:
        """With a variable set; it goes to the end."""
        return replace(self, raw=(*(pair for pair in self.raw if pair[0] != name), (name, value)))

    def without_variable(self, name: str) -> EnvFile:
        """Without a variable."""
        return replace(self, raw=tuple(pair for pair in self.raw if pair[0] != name))

    def namespace(self, prefix: str) -> EnvFile:
        """The variables whose names begin with a prefix and an underscore, without that."""
        start = prefix.removesuffix("_").upper() + "_" if prefix else ""
        return replace(
            self,
            raw=tuple(
                (name[len(start) :], value) for name, value in self.raw if name.upper().startswith(start)
            ),
        )

    def evaluated(self) -> tuple[tuple[str, str], ...]:
        """The variables with quotes removed and references to earlier ones put in."""
        values: dict[str, str] = {}
        for name, raw in self.raw:
            values[name] = _evaluate(raw, values)
        return tuple(values.items())

    def as_text(self) -> str:
        """The file's text."""
        return "".join(f"{name}={value}\n" for name, value in self.raw)


def _evaluate(raw: str, known: dict[str, str]) -> str:
    """A value as a shell would read it, one quoted part after the other."""
    parts: list[str] = []
    at = 0
    while at < len(raw):
        quote = raw[at]
        if quote in "'\"":
            end = _closing(raw, at)
            inner = raw[at + 1 : end]
            parts.append(inner if quote == "'" else _references(inner, known))
            at = end + 1
            continue
        end = min((i for i in (raw.find("'", at), raw.find('"', at)) if i >= 0), default=len(raw))
        parts.append(_references(raw[at:end], known))
        at = end
    return "".join(parts)


def _closing(raw: str, start: int) -> int:
    """Where the quoted part that begins at ``start`` ends; the text's end if it is left open."""
    at = start + 1
    while at < len(raw) and raw[at] != raw[start]:
        at += 2 if raw[at] == "\\" and raw[start] == '"' else 1
    return min(at, len(raw))


def _references(text: str, known: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1] if match[1] in '$"\\`' else match[0]
        return known.get(match[2] or match[4]) or match[3] or ""

    return _REFERENCE.sub(value, text)
