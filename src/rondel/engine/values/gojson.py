"""Reads and writes JSON like Go's standard library, whose error texts and number format the API uses."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from json.decoder import JSONDecodeError
from typing import Any

from rondel.errors import EngineError

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_LITERALS = ("true", "false", "null")
_POSITIONS = {
    "Expecting property name": "looking for beginning of object key string",
    "Illegal trailing comma": "looking for beginning of value",
    "Expecting value": "looking for beginning of value",
    "Unexpected UTF-8 BOM": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}
_SMALL = re.compile(rf"{_TEXT.pattern}|[\d.]+e-\d+", re.DOTALL)
_LONGEST, _SHORTEST = 1e21, Decimal("1e-6")
"""Go writes numbers between these bounds without an exponent."""

_UNSAFE = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029]")


def loads(text: str) -> Any:
    """Parse a text; numbers are read as in Go. Raises EngineError with Go's error text."""
    try:
        return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_no_constant)
    except JSONDecodeError as error:
        raise EngineError(_complaint(text, error)) from None
    except _NoConstant as error:
        at = text.index(error.args[0])
        found = JSONDecodeError("Expecting value", text, at)
        raise EngineError(_complaint(text, found)) from None
    except RecursionError:
        raise EngineError("exceeded max depth") from None


def dumps(value: Any, *, indent: str | None = None) -> str:
    """Serialise a value: members sorted, Go's number format, HTML's special characters escaped."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent, separators=separators)
    text = _SMALL.sub(_small, text)
    return _ESCAPED.sub(lambda match: _UNSAFE[match[0]], text)


class _NoConstant(Exception):
    """NaN or Infinity, which only Python accepts as JSON."""


def _no_constant(name: str) -> Any:
    raise _NoConstant(name)


def _number(text: str) -> float:
    """A number as Go reads it, a float; without a fraction it becomes an int."""
    number = float(text)
    if math.isinf(number):
        raise EngineError(f"json: cannot unmarshal number {text} into Go value of type float64")
    whole = number.is_integer() and abs(number) < _LONGEST
    return int(Decimal(repr(number))) if whole else number


def _small(match: re.Match[str]) -> str:
    """A number near zero in Go's format; a text is returned as it is."""
    text = match[0]
    if text.startswith('"'):
        return text
    number = Decimal(text)
    return format(number, "f") if abs(number) >= _SHORTEST else text.replace("e-0", "e-")


def _complaint(text: str, error: JSONDecodeError) -> str:
    """Go's error text for the position at which Python stopped."""
    at = error.pos
    literal = next(
        (word for word in _LITERALS if error.msg == "Expecting value" and text[at : at + 1] == word[0]), ""
    )
    same = 0
    while literal and text[at : at + 1] == literal[same]:
        at, same = at + 1, same + 1
    if literal:
        where = f"in literal {literal} (expecting {_shown(literal[same])})"
        text += " "  # Go reads one character further to see the literal's end
    elif error.msg.startswith("Unterminated string") or at >= len(text):
        return "unexpected end of JSON input"
    elif error.msg.startswith("Expecting ',' delimiter"):
        where = "after object key:value pair" if _in_object(text[:at]) else "after array element"
    else:
        where = next((words for start, words in _POSITIONS.items() if error.msg.startswith(start)), error.msg)
    if where.startswith("in string escape"):
        at += 1
    return f"invalid character {_shown(text[at])} {where}"


def _in_object(text: str) -> bool:
    """Whether the innermost open bracket at the text's end is a brace."""
    open_brackets: list[str] = []
    for char in _TEXT.sub("", text):
        if char in "{[":
            open_brackets.append(char)
        elif char in "}]":
            open_brackets.pop()
    return open_brackets[-1:] == ["{"]


def _shown(char: str) -> str:
    """A character as Go quotes it; beyond ASCII, Go has read only the first byte."""
    first = char.encode("utf-8", "surrogatepass")[:1].decode("latin-1")
    if first in "\"'":
        return {"'": r"'\''", '"': "'\"'"}[first]
    return "'" + first.encode("unicode_escape").decode() + "'" if not first.isprintable() else f"'{first}'"
