"""``WWW-Authenticate`` (RFC 9110, 11.6.1), as registries use it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*(,|$)?')
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: ``scheme`` in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Every challenge of the header; parsing stops at the first invalid one."""
    found = []
    position = 0
    while (scheme := _SCHEME.match(header, position)) is not None:
        position = scheme.end()
        parameters: dict[str, str] = {}
        while (match := _PARAMETER.match(header, position)) is not None:
            value = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
            parameters[match[1].lower()] = value
            position = match.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return tuple(found)
