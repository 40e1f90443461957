r"""The forms in which a secret shows up: escaped, encoded, and in parts.

A program seldom prints a secret as it is. A Python exception shows its
``repr``, a structured log its JSON, a report its HTML, a failed request its
URL-encoding, and a header has it in base64. Of a multi-line credential, a log
that is cut into lines shows one line at a time.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from rondel.secrets.names import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_PART = 6
"""Characters of a line or a member of a credential that is masked on its own."""

LARGE = 64 * 1024
"""Bytes from which a value is a file rather than a password. It gets fewer forms, to save memory."""

_SHORTEST_ENCODED = 3
_SHORTEST_EMBEDDED = 6
_WRAPPED = (76, 64)
"""How long lines of base64 are: of ``base64`` and MIME, and of PEM."""

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PLAIN = re.compile(rb"[A-Za-z0-9_.-]*")
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_UNQUOTED = re.compile(r"([^\w@%+=:,./-])")
_QUOTES = (("&quot;", "&#x27;"), ("&#34;", "&#39;"), ("&quot;", "&apos;"), ("&quot;", "'"), ('"', "'"))
_JAVASCRIPT = (("%21", "!"), ("%27", "'"), ("%28", "("), ("%29", ")"), ("%2A", "*"))
_ASSIGNMENT = re.compile(r"""^(?:export\s+)?["']?([\w.-]+)["']?\s*[:=]\s*(["']?)(.+)\2\s*,?\s*$""")
_STRUCTURE = (":", "{", "[", "(")
"""A line that ends so only introduces others: ``users:`` in YAML."""


def forms_of(value: bytes, shortest: int = 1) -> set[bytes]:
    """All forms of a secret that are masked; none if it is shorter than ``shortest`` bytes.

    White space around the value does not count.
    """
    bare = value.strip()
    if not bare or len(bare) < shortest:
        return set()
    large = len(value) > LARGE
    found = {value, bare} | _escaped(bare, large=large)
    for form in {bare} if large else {value, bare}:
        found |= _encoded(form, large=large)
    for part in _parts(bare):
        found.add(part)
        if not large:
            found |= _escaped(part)
    return found


def _parts(value: bytes) -> set[bytes]:
    """The lines of a multi-line credential, and the secrets that a JSON, YAML, INI or .env file names."""
    text = _text(value)
    if text is None:
        pieces = [line.strip() for line in value.split(b"\n")] if b"\n" in value else []
        return {line for line in pieces if len(line) >= SHORTEST_PART}
    found: set[str] = set()
    if text[0] in "{[":
        found |= set(_members(text))
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > 1:
        found |= {line for line in lines if not line.endswith(_STRUCTURE)}
        matches = (_ASSIGNMENT.match(line) for line in lines)
        found |= {match[3] for match in matches if match and is_secret(match[1])}
    return {_bytes(part) for part in found if len(part) >= SHORTEST_PART}


def _members(text: str) -> Iterator[str]:
    """The texts in a JSON document whose keys name a secret, and their lines."""
    try:
        waiting: list[tuple[Any, bool]] = [(json.loads(text), False)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value, secret = waiting.pop()
        if isinstance(value, dict):
            waiting += [(each, secret or is_secret(key)) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(each, secret) for each in value]
        elif isinstance(value, str) and secret:
            yield value.strip()
            yield from (line.strip() for line in value.splitlines())


def _escaped(value: bytes, *, large: bool = False) -> set[bytes]:
    """A value as programming languages, shells, JSON, HTML and URLs write it, as far as that differs."""
    if _PLAIN.fullmatch(value):
        return set()
    text = _text(value)
    found = {repr(value)[2:-1].encode("ascii")}
    if text is None:
        return found | (set() if large else {_bytes(form) for form in _in_url(value)})
    # With a double quote after it, repr() puts single quotes around the whole and escapes those within.
    for quoted in (repr(text + '"')[1:-2], ascii(text + '"')[1:-2]):
        found |= {_bytes(quoted), _bytes(quoted.replace("\\'", "'"))}
    for escaped in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        inner = escaped[1:-1]
        found |= {_bytes(inner), _bytes(inner.replace("/", "\\/"))}
        for mark in "<>&":  # as Go writes them
            inner = inner.replace(mark, f"\\u{ord(mark):04x}")
        found.add(_bytes(inner))
    plain = html.escape(text, quote=False)
    for double, single in _QUOTES:
        found.add(_bytes(plain.replace('"', double).replace("'", single)))
    if not large:
        found |= {_bytes(text.replace("'", mark)) for mark in ("'\\''", "'\"'\"'")}
        found.add(_bytes(_UNQUOTED.sub(r"\\\1", text)))
        found |= {_bytes(form) for form in _in_url(value)}
    return {form for form in found if form}


def _in_url(value: bytes) -> set[str]:
    """A value URL-encoded, by the rules of paths, of forms and of JavaScript, in both cases."""
    strict = quote_from_bytes(value, safe="")
    script = strict
    for code, mark in _JAVASCRIPT:
        script = script.replace(code, mark)
    found = {strict, script, strict.replace("%2F", "/"), strict.replace("%20", "+")}
    return found | {_ESCAPE.sub(lambda match: match[0].lower(), each) for each in found}


def _encoded(value: bytes, *, large: bool) -> set[bytes]:
    """A value in hex and in base64: alone, and amid something longer (``user:password``).

    There, the value may start at each of the three places of a group; the
    characters that hold bits of its neighbours are left out. Short values say
    nothing in base64 and occur by chance.
    """
    if len(value) < _SHORTEST_ENCODED:
        return set()
    whole = base64.b64encode(value)
    found = {whole.rstrip(b"=")}
    if len(value) >= _SHORTEST_EMBEDDED and not large:
        for before in range(3):
            text = base64.b64encode(bytes(before) + value)
            found.add(text[-(-before * 8 // 6) : (before + len(value)) * 8 // 6])
        for width in _WRAPPED:
            if len(whole) > width:
                lines = [whole[at : at + width] for at in range(0, len(whole), width)]
                found |= {line.rstrip(b"=") for line in lines if len(line) >= 2 * SHORTEST_PART}
    found |= {text.translate(_URL_SAFE) for text in found}
    if len(value) > _SHORTEST_ENCODED:
        found |= {value.hex().encode(), value.hex().upper().encode()}
    return found


def _text(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
